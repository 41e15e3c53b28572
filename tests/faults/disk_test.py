"""Disks that are full, folders that cannot be written, and files that change below a seeder."""

import os
import shutil

import content
import roles
import testing

PIECE = 65536


def one_line(t, process, *words):
    """The program gave up with 1 and one line that holds all words."""
    t.check(process.code == 1, f"{process.name} ends with {process.code}: {process.tail()}")
    t.check(process.err.count("\n") == 1, f"not one line: {process.err!r}")
    for word in words:
        t.check(str(word).lower() in process.err.lower(), f"no {word!r} in {process.err!r}")


def prepare(t, size=12 * content.MIB, **options):
    path = content.write_tree(t.folder / "seed" / "Größe 大", size)
    torrent = roles.make_torrent(t, path, piece_length=PIECE)
    return path, torrent, roles.start_seeder(t, torrent, path, **options)


# ---- where a leecher writes


class Mounts:
    """A mount namespace of our own, so that mounts end with the process that holds it."""

    def __init__(self, t, *commands):
        if os.geteuid() != 0:
            raise testing.Skip("mounting needs root")
        script = " && ".join((*commands, "echo ready", "exec sleep 1000"))
        self.holder = t.start("unshare", "--mount", "sh", "-c", script)
        testing.until(lambda: "ready" in self.holder.out or self.holder.code is not None, 10, "the mounts")
        if self.holder.code is not None:
            raise testing.Skip(f"no mounts here: {self.holder.tail()}")
        self.enter = ["nsenter", f"--mount=/proc/{self.holder.pid}/ns/mnt"]

    def path(self, path):
        """A path in there, from out here."""
        return f"/proc/{self.holder.pid}/root{path}"

    def leech(self, t, torrent, seeder, folder, *more):
        program = testing.program_path("leecher")
        return t.start(*self.enter, program, torrent, folder, "--host", "127.0.0.1", "--port", "0", "--json",
                       "--peer", roles.address(seeder), *more)


@testing.case("a full disk ends a leecher with one line; with more room it goes on with all that it has")
def _(t):
    path, torrent, seeder = prepare(t)
    out = t.folder / "out"
    out.mkdir()
    mounts = Mounts(t, f"mount -t tmpfs -o size=6m none '{out}'")
    leecher = mounts.leech(t, torrent, seeder, out)
    leecher.wait(30)
    one_line(t, leecher, "leecher: ", "no space left on the disk", str(out))
    t.check(leecher.err.count("space") == 1, f"it stutters: {leecher.err}")
    had = len(leecher.events("piece_verified"))
    t.check(had > 10, f"only {had} pieces before the disk was full")
    t.run(*mounts.enter, "mount", "-o", "remount,size=30m", out)
    again = mounts.leech(t, torrent, seeder, out)
    roles.finish(t, again)
    t.check(again.events("started")[0]["have"] >= (had - 1) * PIECE, f"{had} pieces: {again.events('started')}")
    content.check_equal(mounts.path(out / path.name), path)


@testing.case("a full disk refuses a leecher with --preallocate before it fetches anything")
def _(t):
    _, torrent, seeder = prepare(t)
    out = t.folder / "out"
    out.mkdir()
    mounts = Mounts(t, f"mount -t tmpfs -o size=6m none '{out}'")
    leecher = mounts.leech(t, torrent, seeder, out, "--preallocate")
    leecher.wait(30)
    one_line(t, leecher, str(out))
    t.check(roles.downloaded(leecher) == 0, "it fetched")


@testing.case("a disk so full that not even the journal fits ends a leecher with one line")
def _(t):
    _, torrent, seeder = prepare(t)
    out = t.folder / "out"
    out.mkdir()
    mounts = Mounts(t, f"mount -t tmpfs -o size=4k none '{out}'", f"head -c 4096 /dev/zero > '{out}/full'")
    leecher = mounts.leech(t, torrent, seeder, out)
    leecher.wait(30)
    one_line(t, leecher, str(out))


@testing.case("a folder that cannot be written ends a leecher with one line that names it")
def _(t):
    _, torrent, seeder = prepare(t)
    out = t.folder / "out"
    out.mkdir()
    if os.geteuid() == 0:
        mounts = Mounts(t, f"mount --bind '{out}' '{out}'", f"mount -o remount,ro,bind '{out}'")
        leecher = mounts.leech(t, torrent, seeder, out)
    else:
        out.chmod(0o555)
        leecher = roles.start_leecher(t, torrent, out, peers=[seeder])
    leecher.wait(30)
    one_line(t, leecher, str(out))
    t.check(seeder.code is None, seeder.tail())


@testing.case("a file where the folder should be ends a leecher with one line that names it")
def _(t):
    path, torrent, seeder = prepare(t)
    (t.folder / "file").touch()
    for folder in (t.folder / "file", t.folder / "file" / "below"):
        leecher = t.run("leecher", torrent, folder, "--host", "127.0.0.1", "--port", "0", "--json")
        one_line(t, leecher, t.folder / "file")
    (t.folder / "out" / path.name / "big.bin").mkdir(parents=True)
    leecher = roles.start_leecher(t, torrent, t.folder / "out", peers=[seeder])
    leecher.wait(30)
    one_line(t, leecher, "big.bin")


@testing.case("a link in the folder leads no write out of it")
def _(t):
    path, torrent, seeder = prepare(t)
    victim = content.write_file(t.folder / "precious", 1000)
    before = victim.read_bytes()
    folder = t.folder / "out" / path.name
    folder.mkdir(parents=True)
    (folder / "big.bin").symlink_to(victim)
    leecher = roles.start_leecher(t, torrent, t.folder / "out", peers=[seeder])
    leecher.wait(30)
    t.check(victim.read_bytes() == before, "the file behind the link was written")
    one_line(t, leecher, "big.bin")


# ---- what a seeder reads


def truncate(file):
    os.truncate(file, file.stat().st_size // 2)


def overwrite(file):
    with open(file, "r+b") as changed:
        size = file.stat().st_size
        for place in range(0, size, PIECE // 2):
            changed.seek(place)
            changed.write(b"changed")


def remove(file):
    file.unlink()


def replace(file):
    other = file.with_name(".other")
    other.write_bytes(bytes(file.stat().st_size))
    other.rename(file)


def changed(t, change):
    """A seeder whose file changes gives up and says which; the leecher takes nothing wrong and goes on elsewhere."""
    original = content.write_tree(t.folder / "original" / "Größe 大", 12 * content.MIB)
    path = t.folder / "seed" / original.name
    shutil.copytree(original, path)
    torrent = roles.make_torrent(t, original, piece_length=PIECE)
    seeder = roles.start_seeder(t, torrent, path, more=["--upload-limit", 4 * content.MIB])
    leecher = roles.start_leecher(t, torrent, t.folder / "out", peers=[seeder])
    testing.until(lambda: len(leecher.events("piece_verified")) >= 8, 30, "some pieces")
    change(path / "big.bin")
    # It looks when it is asked. A leecher that has seen through it first asks no more; then somebody else does.
    testing.until(lambda: seeder.code is not None or leecher.events("peer_disconnected"), 30,
                  "the end of the connection")
    if seeder.code is None:
        roles.start_leecher(t, torrent, t.folder / "other", peers=[seeder])
    seeder.wait(30)
    one_line(t, seeder, "seeder: ", "big.bin")
    t.check(leecher.code is None, leecher.tail())
    leecher.stop()
    healthy = roles.start_seeder(t, torrent, original)
    leecher = roles.start_leecher(t, torrent, t.folder / "out", peers=[healthy])
    roles.finish(t, leecher)
    content.check_equal(t.folder / "out" / path.name, original)
    refused = t.run("seeder", torrent, path, "--host", "127.0.0.1", "--port", "0", "--json")
    one_line(t, refused, "seeder: ", "big.bin")


for change in (truncate, overwrite, remove, replace):
    testing.case(f"a file that changes below a seeder ends it with one line that names the file: {change.__name__}")(
        lambda t, change=change: changed(t, change))


testing.main()
