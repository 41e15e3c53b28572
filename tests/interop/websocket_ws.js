// npm's ws as a server or a client, driven by websocket_test.py.
//
//   websocket_ws.js serve        echoes; pings its clients; a text `close CODE WORDS` is obeyed; `fragments` is
//                                answered in fragments with a ping between them
//   websocket_ws.js check URL    tries out an echo server; says `ok NAME` for each step
const { WebSocket, WebSocketServer } = require("ws");

const say = (line) => console.log(line);

function serve() {
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1", handleProtocols: (offered) =>
    offered.has("cohort.1") ? "cohort.1" : false });
  server.on("listening", () => say(`listening on 127.0.0.1:${server.address().port}`));
  server.on("connection", (link) => {
    link.on("error", (error) => say(`error ${error.message}`));
    link.on("close", (code, reason) => say(`closed ${code} ${reason}`));
    link.on("pong", (data) => say(`pong ${data}`));
    link.ping("are you there");
    link.on("message", (data, binary) => {
      const text = binary ? "" : data.toString();
      if (text.startsWith("close ")) {
        const [, code, words] = text.match(/close (\d+) ?(.*)/);
        link.close(Number(code), words);
      } else if (text === "fragments") {
        link.send("in ", { fin: false });
        link.ping("between");
        link.send("two parts", { fin: true });
      } else {
        link.send(data, { binary });
      }
    });
  });
}

function opened(url, protocols = []) {
  return new Promise((resolve, reject) => {
    const link = new WebSocket(url, protocols);
    link.on("open", () => resolve(link));
    link.on("error", reject);
  });
}

const next = (link, event) => new Promise((resolve) => link.once(event, (...all) => resolve(all)));

async function echoes(link, message) {
  link.send(message);
  const [data, binary] = await next(link, "message");
  const sent = Buffer.from(message);
  if (binary !== (typeof message !== "string") || !data.equals(sent)) throw new Error("another message came back");
}

async function check(url) {
  const link = await opened(url, ["other", "cohort.1"]);
  if (link.protocol !== "cohort.1") throw new Error(`protocol ${link.protocol}`);
  if (link.extensions !== "") throw new Error(`extensions ${link.extensions}`);
  say("ok connected");
  for (const size of [0, 1, 125, 126, 65535, 65536, 1000000]) {
    await echoes(link, "κ".repeat(size / 2));
    await echoes(link, Buffer.alloc(size, 7));
  }
  say("ok texts and bytes of all sizes");

  link.send("in ", { fin: false });
  link.ping("between");
  const pong = next(link, "pong");
  link.send("three ", { fin: false });
  const message = next(link, "message");
  link.send("parts", { fin: true });
  if ((await pong)[0].toString() !== "between") throw new Error("another pong");
  if ((await message)[0].toString() !== "in three parts") throw new Error("fragments");
  say("ok fragments with a ping between them");

  const many = 20000;
  const all = new Promise((resolve, reject) => {
    let count = 0;
    link.on("message", (data) => {
      if (data.toString() !== `message ${count++}`) reject(new Error("out of order"));
      if (count === many) resolve();
    });
  });
  for (let i = 0; i < many; ++i) link.send(`message ${i}`);
  await all;
  say("ok many messages in order");

  link.close(4321, "Gründe");
  const [code, words] = await next(link, "close");
  if (code !== 4321) throw new Error(`closed with ${code} ${words}`);
  say("ok our code");

  const other = await opened(url);
  other.send("close 4001 enough");
  const [theirs, reason] = await next(other, "close");
  if (theirs !== 4001 || reason.toString() !== "enough") throw new Error(`closed with ${theirs} ${reason}`);
  say("ok the server's code and words");

  const third = await opened(url);
  third.on("error", () => {});
  third.send(Buffer.alloc(1024 * 1024 + 1));
  const [refused] = await next(third, "close");
  if (refused !== 1009) throw new Error(`closed with ${refused}`);
  say("ok too long a message");
}

const [what, url] = process.argv.slice(2);
if (what === "serve") serve();
else check(url).catch((error) => { console.error(error); process.exit(1); });
