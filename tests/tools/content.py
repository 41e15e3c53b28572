"""Files to share, the same from the same seed, and the comparison of what came of them."""

import hashlib
import os
import pathlib
import random

import testing

KIB = 1024
MIB = 1024 * KIB

# Sizes around a piece and a block, many tiny ones, nothing at all, and one of many pieces. Their names are what people
# use: spaces, other scripts, one composed and one decomposed accent.
SHAPE = {
    "README": 1,
    "empty": 0,
    "a/b/c/deep.bin": 65536,
    "a/b/empty too": 0,
    "a/one less": 65535,
    "a/one more": 65537,
    "block": 16384,
    "Füße/Straße.txt": 4711,
    "Füße/e\u0301le\u0300ve": 100,
    "日本語/データ.bin": 300_000,
    "emoji 🐟.txt": 17,
    "it's 100 % & #1; $HOME.txt": 33,
    **{f"many/{number:03d}.txt": 7 * number for number in range(60)},
}


def write_file(path, size, seed=1):
    """A file of `size` bytes that do not compress and never repeat."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    source = random.Random(f"{seed} {path.name}")
    with open(path, "wb") as out:
        while size > 0:
            part = min(size, MIB)
            out.write(source.randbytes(part))
            size -= part
    return path


def write_tree(folder, size=8 * MIB, seed=1):
    """A folder with all that SHAPE has and one file that makes up the rest of `size`; returns its path."""
    folder = pathlib.Path(folder)
    for name, length in SHAPE.items():
        write_file(folder / name, length, seed)
    write_file(folder / "big.bin", size - sum(SHAPE.values()), seed)
    return folder


def digests(path):
    """Each file below `path` (or `path` itself) with its SHA-256; folders count by the files in them."""
    path = pathlib.Path(path)

    def digest(file):
        with open(file, "rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()

    if path.is_file():
        return {"": digest(path)}
    return {os.path.relpath(os.path.join(top, name), path): digest(os.path.join(top, name))
            for top, _, names in os.walk(path) for name in names}


NO_BYTES = hashlib.sha256(b"").hexdigest()


def check_equal(copy, original, empty_files=True):
    """Failure, with names, unless the copy has the same files with the same bytes. Without `empty_files` those need
    not be there: not everybody makes them."""
    if not os.path.exists(copy):
        raise testing.Failure(f"{copy} does not exist")
    have, want = ({name: digest for name, digest in digests(path).items() if empty_files or digest != NO_BYTES}
                  for path in (copy, original))
    if have == want:
        return
    missing = sorted(set(want) - set(have))
    more = sorted(set(have) - set(want))
    differ = sorted(name for name in set(have) & set(want) if have[name] != want[name])
    raise testing.Failure(f"the copy differs: missing {missing[:5]}, too many {more[:5]}, other bytes {differ[:5]}")


def size_of(path):
    """Bytes of a file, or of all files below a folder."""
    path = pathlib.Path(path)
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
