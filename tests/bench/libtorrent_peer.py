"""One libtorrent session as a process, for the benchmarks: seeds or leeches one torrent over plain TCP.

    libtorrent_peer.py TORRENT SAVE_DIR PORT [PEER_PORT ...]

Prints `ready` when its files are checked, `completed SECONDS` when a download is complete, counted from `ready`, and
`uploaded BYTES` when it ends: at the end of its standard input, or told to.
"""

import signal
import sys
import threading
import time

import libtorrent as lt


def main():
    torrent, save, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
    session = lt.session({
        "listen_interfaces": f"127.0.0.1:{port}",
        "enable_dht": False, "enable_lsd": False, "enable_upnp": False, "enable_natpmp": False,
        "enable_incoming_utp": False, "enable_outgoing_utp": False,
        # All peers of a benchmark have one address.
        "allow_multiple_connections_per_ip": True,
        "alert_mask": lt.alert.category_t.status_notification,
    })
    handle = session.add_torrent({"ti": lt.torrent_info(torrent), "save_path": save})
    while handle.status().state in (lt.torrent_status.checking_files, lt.torrent_status.checking_resume_data):
        session.wait_for_alert(100)
        session.pop_alerts()
    began = time.monotonic()
    seeding = handle.status().is_seeding
    print("ready", flush=True)
    for peer in sys.argv[4:]:
        handle.connect_peer(("127.0.0.1", int(peer)))

    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    while not ended.is_set():
        session.wait_for_alert(20)
        session.pop_alerts()
        if not seeding and handle.status().is_seeding:
            seeding = True
            print("completed", time.monotonic() - began, flush=True)
    print("uploaded", handle.status().total_payload_upload, flush=True)


main()
