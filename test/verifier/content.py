"""Section 3.1 of docs/format.md: the fs-verity digest of content, and what every module needs."""

import errno
import hashlib
import os
import struct

BLOCK = 4096


class Refused(Exception):
    """The tree cannot be kept, or what was read is not what the format says."""


def require(condition, message):
    if not condition:
        raise Refused(message)


def sha256(data):
    return hashlib.sha256(data).digest()


ZERO_BLOCK_HASH = sha256(bytes(BLOCK))


def hash_blocks(data):
    whole = len(data) - len(data) % BLOCK
    hashes = [sha256(data[at : at + BLOCK]) for at in range(0, whole, BLOCK)]
    if whole < len(data):
        hashes.append(sha256(data[whole:].ljust(BLOCK, b"\0")))
    return hashes


def verity_of_hashes(hashes, size):
    while len(hashes) > 1:
        hashes = hash_blocks(b"".join(hashes))
    root = hashes[0] if hashes else bytes(32)
    return sha256(struct.pack("<BBBBIQ32s208x", 1, 1, 12, 0, 0, size, root))


def verity_of_bytes(data):
    return verity_of_hashes(hash_blocks(data), len(data))


def verity_of_file(fd):
    """Holes are not read: their blocks are zeros."""
    size = os.fstat(fd).st_size
    hashes = []
    at = 0
    while at < size:
        data = seek(fd, at, os.SEEK_DATA, size)
        start = size if data == size else data - data % BLOCK
        hashes.extend([ZERO_BLOCK_HASH] * ((start - at + BLOCK - 1) // BLOCK))
        at = start
        if data == size:
            break
        end = min(size, (seek(fd, data, os.SEEK_HOLE, size) + BLOCK - 1) // BLOCK * BLOCK)
        while at < end:
            piece = os.pread(fd, min(1 << 20, end - at), at)
            require(piece, "a file became shorter while it was read")
            if len(piece) % BLOCK and at + len(piece) < end:
                piece = piece[: len(piece) - len(piece) % BLOCK]
            hashes.extend(hash_blocks(piece))
            at += len(piece)
    return verity_of_hashes(hashes, size), size


def seek(fd, at, whence, size):
    try:
        return min(os.lseek(fd, at, whence), size)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return size
        raise
