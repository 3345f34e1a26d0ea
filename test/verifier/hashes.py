"""Entries and the hashes of trees: sections 2 and 3 of docs/format.md."""

import hashlib
import struct

from content import sha256
from trees import BLOCKDEV, CHARACTER, DIRECTORY, FURTHER_NAME, REGULAR, SYMLINK, walk

def field(data):
    return struct.pack(">I", len(data)) + data


def entries(root):
    """Whether it is a directory's, and the bytes of each entry."""
    primary = {}
    for names, inode in walk(root):
        path = b"/".join(names)
        if inode.type == DIRECTORY:
            yield True, encode(DIRECTORY, path, inode, b"")
        elif id(inode) in primary:
            yield False, bytes([FURTHER_NAME]) + field(path) + bytes(32) + field(primary[id(inode)]) + bytes(4)
        else:
            primary[id(inode)] = path
            yield False, encode(inode.type, path, inode, payload_of(inode))


def payload_of(inode):
    if inode.type == REGULAR:
        return inode.digest
    if inode.type == SYMLINK:
        return inode.data
    if inode.type in (CHARACTER, BLOCKDEV):
        return struct.pack(">II", inode.major, inode.minor)
    return b""


def encode(kind, path, inode, payload):
    numbers = struct.pack(
        ">IIIqIQ", inode.mode & 0o7777, inode.uid, inode.gid, inode.seconds, inode.nanoseconds, inode.size
    )
    xattrs = b"".join(field(name) + field(value) for name, value in sorted(inode.xattrs.items()))
    count = struct.pack(">I", len(inode.xattrs))
    return bytes([kind]) + field(path) + numbers + field(payload) + count + xattrs


def merkle(leaves):
    """RFC 6962, 2.1, by its definition."""
    if not leaves:
        return sha256(b"")
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return sha256(b"\1" + merkle(leaves[:split]) + merkle(leaves[split:]))


def hash_tree(root):
    commit = hashlib.sha256(b"stratum-commit-v1\0")
    leaves = {False: [], True: []}
    for is_directory, entry in entries(root):
        commit.update(entry)
        leaves[is_directory].append(sha256(b"\0" + entry))
    files, directories = leaves[False], leaves[True]
    counted = struct.pack(">Q", len(files)) + merkle(files) + struct.pack(">Q", len(directories)) + merkle(directories)
    sizes = {id(inode): inode.size for _, inode in walk(root)}
    return {
        "id": commit.hexdigest(),
        "merkle_root": sha256(b"\2stratum-root-v1\0" + counted).hex(),
        "files": len(files),
        "directories": len(directories),
        "bytes": sum(sizes.values()),
    }
