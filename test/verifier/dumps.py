"""Trees as text: composefs-dump(5)."""

import functools
import re

from content import require
from trees import BLOCKDEV, CHARACTER, DIRECTORY, INLINE_MAX, REGULAR, SYMLINK, Inode
from trees import check_inode, count_names, device_number, object_name, split_device, walk

ESCAPE = re.compile(rb"\\(?:x([0-9a-f]{2})|(.))")
ESCAPED = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"\\": b"\\"}


def unescape(field):
    return ESCAPE.sub(lambda m: bytes.fromhex(m[1].decode()) if m[1] else ESCAPED[m[2]], field)


def escapes(special):
    """What each byte is written as."""
    shown = {0x5C: b"\\\\", 0x0A: b"\\n", 0x0D: b"\\r", 0x09: b"\\t"}
    plain = set(range(0x21, 0x7F)) - set(special)
    return [shown.get(byte) or (bytes([byte]) if byte in plain else b"\\x%02x" % byte) for byte in range(256)]


IN_FIELDS, IN_XATTRS = escapes(b""), escapes(b"=")


@functools.lru_cache(maxsize=4096)
def escape(data):
    return b"".join(IN_FIELDS[byte] for byte in data)


def escape_xattr(data):
    return b"".join(IN_XATTRS[byte] for byte in data)


def parse_dump(text):
    root = None
    links = []
    for line in text.split(b"\n"):
        if not line:
            continue
        fields = line.split(b" ")
        path, size, mode, _, uid, gid, device, mtime, payload, content, digest = fields[:11]
        names = [unescape(name) for name in path.strip(b"/").split(b"/")] if path != b"/" else []
        if mode.startswith(b"@"):
            links.append((names, [unescape(name) for name in payload.strip(b"/").split(b"/")]))
            continue
        seconds, _, nanoseconds = mtime.partition(b".")
        inode = Inode(int(mode, 8), int(uid), int(gid), int(seconds), int(nanoseconds))
        fill_from_dump(inode, int(size), int(device), payload, content, digest)
        for xattr in fields[11:]:
            name, _, value = xattr.partition(b"=")
            inode.xattrs[unescape(name)] = unescape(value)
        check_inode(inode, path)
        if names:
            lookup(root, names[:-1]).children[names[-1]] = inode
        else:
            root = inode
    for names, target in links:
        lookup(root, names[:-1]).children[names[-1]] = lookup(root, target)
    return root


def fill_from_dump(inode, size, device, payload, content, digest):
    if inode.type == SYMLINK:
        inode.data = unescape(payload)
    elif inode.type == REGULAR and size > INLINE_MAX:
        inode.size, inode.digest = size, bytes.fromhex(digest.decode())
        require(payload == object_name(inode.digest).encode(), "a payload that is not the object's name")
    elif inode.type == REGULAR:
        inode.set_content(b"" if content == b"-" else unescape(content))
        require(size == inode.size, "a content of another size")
    elif inode.type in (CHARACTER, BLOCKDEV):
        inode.major, inode.minor = split_device(device)


def lookup(root, names):
    for name in names:
        root = root.children[name]
    return root


def format_dump(root):
    names_of = count_names(root)
    primary = {}
    for path, inode in walk(root):
        shown = b"/" + b"/".join(escape(name) for name in path)
        if inode.type != DIRECTORY and id(inode) in primary:
            yield b"%s 0 @%o - - - - 0.0 %s - -" % (shown, inode.mode, primary[id(inode)])
            continue
        primary[id(inode)] = shown
        yield dump_line(shown, inode, 2 if inode.type == DIRECTORY else names_of[id(inode)])


def dump_line(path, inode, links):
    payload = content = digest = b"-"
    if inode.type == SYMLINK:
        payload = optional(inode.data)
    elif inode.is_object():
        digest = inode.digest.hex().encode()
        payload = object_name(inode.digest).encode()
    elif inode.size:
        content = optional(inode.data)
    size = len(inode.data) if inode.type == SYMLINK else inode.size
    mtime = b"%d.%d" % (inode.seconds, inode.nanoseconds)
    head = b"%s %d %o %d %d %d %d" % (path, size, inode.mode, links, inode.uid, inode.gid, device_number(inode))
    xattrs = [escape_xattr(name) + b"=" + escape_xattr(value) for name, value in sorted(inode.xattrs.items())]
    return b" ".join([head, mtime, payload, content, digest, *xattrs])


def optional(data):
    return b"\\x2d" if data == b"-" else escape(data)
