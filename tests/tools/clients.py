"""The BitTorrent programs that people run, on loopback and without DHT, local discovery, uTP and port mapping.

All else is as it comes: what they do about encryption, for one, is their own default.
"""

import contextlib
import json
import os
import shutil
import socket
import urllib.error
import urllib.request

import testing
from roles import free_port


def need(program):
    """Skips the case where the program is not installed."""
    if not shutil.which(program):
        raise testing.Skip(f"{program} is not installed")


def accepts(port, host="127.0.0.1"):
    with contextlib.suppress(OSError), socket.create_connection((host, port), 5):
        return True
    return False


# ---- libtorrent


def libtorrent():
    try:
        import libtorrent
    except ImportError:
        raise testing.Skip("python3-libtorrent is not installed") from None
    return libtorrent


class Libtorrent:
    """One libtorrent session with one torrent; use as a context manager."""

    def __init__(self, torrent, folder, seed=False, host="127.0.0.1", **settings):
        lt = libtorrent()
        listen = f"[{host}]:0" if ":" in host else f"{host}:0"
        self.session = lt.session({
            "listen_interfaces": listen, "enable_dht": False, "enable_lsd": False, "enable_upnp": False,
            "enable_natpmp": False, "enable_incoming_utp": False, "enable_outgoing_utp": False,
            "allow_multiple_connections_per_ip": True, "stop_tracker_timeout": 1,
            "alert_mask": lt.alert.category_t.error_notification, **settings})
        self.host = host
        self.port = testing.until(self.session.listen_port, 10, "libtorrent's port")
        parameters = {"ti": lt.torrent_info(str(torrent)), "save_path": str(folder)}
        if seed:
            parameters["flags"] = lt.torrent_flags.seed_mode
        self.torrent = self.session.add_torrent(parameters)
        self.torrent.unset_flags(lt.torrent_flags.auto_managed)
        self.torrent.resume()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.session.remove_torrent(self.torrent)
        del self.torrent, self.session

    def dial(self, peer):
        self.torrent.connect_peer((getattr(peer, "host", "127.0.0.1"), getattr(peer, "port", peer)))

    def leave(self):
        """Ends all transfers and says `stopped` to the trackers; ending the session alone does not wait for that."""
        self.session.pause()

    def complete(self):
        return self.torrent.status().is_seeding

    def wait_complete(self, timeout=45):
        try:
            testing.until(self.complete, timeout, "libtorrent's download")
        except testing.Failure as late:
            status = self.torrent.status()
            said = [alert.message() for alert in self.session.pop_alerts()][-5:]
            raise testing.Failure(f"{late}: {status.progress:.0%}, {status.num_peers} peers, {said}") from None


# ---- aria2


def start_aria2(t, torrent, folder, seed=False, dht=False, more=()):
    """aria2 as a leecher that ends when complete, or as a seeder that stays. `port` is where it listens."""
    need("aria2c")
    port = free_port()
    # aria2 has UDP trackers only with its DHT; without an entry point, and for private torrents, that talks to nobody.
    dht_flags = ["--enable-dht=true", f"--dht-listen-port={port}", f"--dht-file-path={t.folder / 'dht.dat'}"]
    process = t.start(
        "aria2c", "--no-conf=true", "--disable-ipv6=true", f"--listen-port={port}", f"--dir={folder}",
        "--enable-dht6=false", "--bt-enable-lpd=false", "--enable-peer-exchange=false",
        *(dht_flags if dht else ["--enable-dht=false"]), "--file-allocation=none", "--summary-interval=0",
        *(["--seed-ratio=0.0", "--check-integrity=true", "--bt-hash-check-seed=true", "--allow-overwrite=true"]
          if seed else ["--seed-time=0"]),
        *more, torrent, cwd=t.folder)
    process.port = port
    process.host = "127.0.0.1"
    testing.until(lambda: accepts(port) or process.code is not None, 20, "aria2's port")
    t.check(process.code is None or not seed, process.tail())
    return process


# ---- transmission


class Transmission:
    """transmission-daemon, ruled over its RPC. It never dials loopback addresses: the other side has to."""

    def __init__(self, t, folder, more=()):
        need("transmission-daemon")
        self.folder = folder
        config = t.folder / f"transmission-{len(t.processes)}"
        config.mkdir()
        self.port, self.rpc_port = free_port(), free_port()
        self.host = "127.0.0.1"
        (config / "settings.json").write_text(json.dumps({
            "bind-address-ipv4": "127.0.0.1", "bind-address-ipv6": "::1", "peer-port": self.port,
            "dht-enabled": False, "lpd-enabled": False, "utp-enabled": False, "port-forwarding-enabled": False,
            "pex-enabled": False, "rpc-bind-address": "127.0.0.1", "rpc-port": self.rpc_port,
            "rpc-host-whitelist-enabled": False, "rpc-authentication-required": False, "download-dir": str(folder),
            "incomplete-dir-enabled": False, "rename-partial-files": False, "trash-original-torrent-files": False,
        }))
        environment = dict(os.environ, HOME=str(config), TR_CURL_VERBOSE="")
        self.process = t.start("transmission-daemon", "--foreground", "--config-dir", config, "--log-error", *more,
                               env=environment, cwd=config)
        self.session = ""
        testing.until(self._answers, 20, "transmission's RPC")

    def _answers(self):
        if self.process.code is not None:
            raise testing.Failure(f"transmission-daemon ended: {self.process.tail()}")
        return accepts(self.rpc_port) and self.call("session-get")

    def call(self, method, **arguments):
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.rpc_port}/transmission/rpc",
            json.dumps({"method": method, "arguments": arguments}).encode(),
            {"X-Transmission-Session-Id": self.session})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                said = json.loads(answer.read())
        except urllib.error.HTTPError as refused:
            if refused.code != 409:
                raise
            self.session = refused.headers["X-Transmission-Session-Id"]
            return self.call(method, **arguments)
        if said["result"] != "success":
            raise testing.Failure(f"transmission refuses {method}: {said['result']}")
        return said["arguments"]

    def add(self, torrent):
        """Adds a torrent; what of it is in the folder already is checked."""
        self.call("torrent-add", filename=str(torrent), **{"download-dir": str(self.folder)})

    def torrents(self, *fields):
        return self.call("torrent-get", fields=list(fields))["torrents"]

    def wait_complete(self, timeout=45):
        # Status 5 and 6 are waiting to seed and seeding.
        def complete():
            return all(torrent["percentDone"] == 1 and torrent["status"] in (5, 6)
                       for torrent in self.torrents("percentDone", "status"))

        try:
            testing.until(complete, timeout, "transmission's download")
        except testing.Failure as late:
            raise testing.Failure(f"{late}: {self.torrents('percentDone', 'status', 'errorString', 'peers')}") from None


# ---- opentracker


class Opentracker:
    """opentracker as Debian builds it: it knows only the info-hashes of its whitelist."""

    def __init__(self, t, *info_hashes, host="127.0.0.1"):
        need("opentracker")
        # It changes its root to this folder and becomes nobody.
        home = t.folder / "opentracker"
        home.mkdir()
        t.folder.chmod(0o755)
        (home / "whitelist.txt").write_text("".join(f"{one}\n" for one in info_hashes))
        self.port = free_port()
        self.process = t.start("opentracker", "-i", host, "-p", self.port, "-P", self.port, "-d", home,
                               "-w", "whitelist.txt", cwd=home)
        testing.until(lambda: accepts(self.port) or self.process.code is not None, 10, "opentracker's port")
        t.check(self.process.code is None, self.process.tail())
        self.http = f"http://{host}:{self.port}/announce"
        self.udp = f"udp://{host}:{self.port}/announce"
