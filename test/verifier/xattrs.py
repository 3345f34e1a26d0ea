"""Extended attributes in images: sections 4.1 and 4.6 of docs/format.md."""

import struct

from content import Refused
from trees import object_name

PREFIXES = [
    (1, b"user."),
    (2, b"system.posix_acl_access"),
    (3, b"system.posix_acl_default"),
    (4, b"trusted."),
    (6, b"security."),
]
OVERLAY = b"trusted.overlay."
METACOPY, REDIRECT, OPAQUE = OVERLAY + b"metacopy", OVERLAY + b"redirect", OVERLAY + b"opaque"
SHARED_MAX = 128


def split_name(name):
    for number, prefix in PREFIXES:
        if name.startswith(prefix):
            return number, name[len(prefix) :]
    raise Refused(f"an xattr {name!r}")


def pad(data, unit):
    return data.ljust((len(data) + unit - 1) // unit * unit, b"\0")


def xattr_entry(name, value):
    number, rest = split_name(name)
    return pad(struct.pack("<BBH", len(rest), number, len(value)) + rest + value, 4)


def stored_xattrs(inode, is_root):
    """Section 4.1."""
    stored = {}
    for name, value in inode.xattrs.items():
        stored[OVERLAY + b"overlay." + name[len(OVERLAY) :] if name.startswith(OVERLAY) else name] = value
    if inode.is_object():
        stored[METACOPY] = b"\0\x24\0\1" + inode.digest
        stored[REDIRECT] = b"/" + object_name(inode.digest).encode()
    if is_root:
        stored[OPAQUE] = b"y"
    return sorted(stored.items())


def xxh32(data, seed):
    p1, p2, p3, p4, p5 = 2654435761, 2246822519, 3266489917, 668265263, 374761393
    mask = 0xFFFFFFFF

    def rotate(value, bits):
        value &= mask
        return ((value << bits) | (value >> (32 - bits))) & mask

    at = 0
    if len(data) >= 16:
        lanes = [seed + p1 + p2, seed + p2, seed, seed - p1]
        while at + 16 <= len(data):
            for lane, word in enumerate(struct.unpack_from("<4I", data, at)):
                lanes[lane] = rotate(lanes[lane] + word * p2, 13) * p1
            at += 16
        value = sum(rotate(lane, bits) for lane, bits in zip(lanes, (1, 7, 12, 18)))
    else:
        value = seed + p5
    value += len(data)
    while at + 4 <= len(data):
        value = rotate(value + struct.unpack_from("<I", data, at)[0] * p3, 17) * p4
        at += 4
    for byte in data[at:]:
        value = rotate(value + byte * p5, 11) * p1
    value &= mask
    value = ((value ^ (value >> 15)) * p2) & mask
    value = ((value ^ (value >> 13)) * p3) & mask
    return value ^ (value >> 16)


FILTER_BITS = {}


def filter_bit(name):
    if name not in FILTER_BITS:
        number, rest = split_name(name)
        FILTER_BITS[name] = xxh32(rest, 0x25BBE08F + number) % 32
    return FILTER_BITS[name]


def xattr_area(xattrs, shared, shared_base):
    """The bytes of an inode's xattr area. `shared` has offsets in the shared area."""
    if not xattrs:
        return b""
    mask = 0xFFFFFFFF
    ids, own = [], []
    for name, value in xattrs:
        mask &= ~(1 << filter_bit(name))
        if (name, value) in shared and len(ids) < SHARED_MAX:
            ids.append((shared_base + shared[name, value]) // 4)
        else:
            own.append(xattr_entry(name, value))
    return struct.pack("<IB7x", mask, len(ids)) + struct.pack(f"<{len(ids)}I", *ids) + b"".join(own)


def plan_shared(lists):
    counts = {}
    for xattrs in lists:
        for pair in xattrs:
            counts[pair] = counts.get(pair, 0) + 1
    pairs = [pair for pair, count in counts.items() if count > 1]
    pairs.sort(key=lambda pair: (pair[0], len(pair[1]), pair[1]), reverse=True)
    offsets, area = {}, bytearray()
    for pair in pairs:
        offsets[pair] = len(area)
        area += xattr_entry(*pair)
    return offsets, bytes(area)
