// An echo server with npm's ws, as websocket.py compares with. Prints its port.
const { WebSocketServer } = require("ws");

const server = new WebSocketServer({ port: 0, host: "127.0.0.1", perMessageDeflate: false });
server.on("connection", (link) => link.on("message", (data, binary) => link.send(data, { binary })));
server.on("listening", () => console.log(`listening on 127.0.0.1:${server.address().port}`));
