"""Section 4 of docs/format.md: the tree of an image."""

import re
import struct

from content import BLOCK, Refused, require
from trees import BLOCKDEV, CHARACTER, DIRECTORY, REGULAR, SYMLINK, Inode, check_inode, split_device
from write_image import EROFS_MAGIC, HEADER_MAGIC, SLOT, SUPERBLOCK
from xattrs import METACOPY, OPAQUE, OVERLAY, PREFIXES, REDIRECT

def parse_image(image):
    """The tree in an image. Anything that is not as section 4 says shows when the tree is written again."""
    try:
        return ImageReader(image).tree()
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise Refused(f"the image is damaged: {error}") from error


class ImageReader:
    def __init__(self, image):
        self.image = image
        magic, version, _, composefs = struct.unpack_from("<IIII", image, 0)
        require((magic, version, composefs) == (HEADER_MAGIC, 1, 0), "this is no image of composefs, version 0")
        (erofs,) = struct.unpack_from("<I", image, SUPERBLOCK)
        require(erofs == EROFS_MAGIC, "this is no EROFS image")
        (self.root,) = struct.unpack_from("<H", image, SUPERBLOCK + 14)
        self.oldest = struct.unpack_from("<qI", image, SUPERBLOCK + 24)
        (blocks,) = struct.unpack_from("<I", image, SUPERBLOCK + 36)
        require(blocks * BLOCK == len(image), "the image has another size than it says")
        self.shared_base = struct.unpack_from("<I", image, SUPERBLOCK + 44)[0] * BLOCK
        self.known = {}

    def tree(self):
        root, names = self.inode(self.root)
        pending = [(root, names, True)]
        while pending:
            directory, names, is_root = pending.pop()
            for name, nid in names:
                if name in (b".", b".."):
                    continue
                is_known = nid in self.known
                child, below = self.known[nid] if is_known else self.inode(nid)
                hides = is_root and child.type == CHARACTER and child.major == child.minor == 0
                if hides and re.fullmatch(rb"[0-9a-f]{2}", name):
                    continue
                require(child.type != DIRECTORY or not is_known, "a directory has two names")
                directory.children[name] = child
                if child.type == DIRECTORY:
                    pending.append((child, below, False))
                check_inode(child, name)
        return root

    def inode(self, nid):
        image, at = self.image, nid * SLOT
        form, count, mode = struct.unpack_from("<HHH", image, at)
        (raw,) = struct.unpack_from("<I", image, at + 16)
        if form & 1:
            (size,) = struct.unpack_from("<Q", image, at + 8)
            uid, gid, seconds, nanoseconds = struct.unpack_from("<IIqI", image, at + 24)
            head = 64
        else:
            (size,) = struct.unpack_from("<I", image, at + 8)
            uid, gid = struct.unpack_from("<HH", image, at + 24)
            seconds, nanoseconds = self.oldest
            head = 32
        inode = Inode(mode, uid, gid, seconds, nanoseconds)
        area = 12 + (count - 1) * 4 if count else 0
        stored = self.xattrs(at + head, area)
        layout = form >> 1
        names = None
        if inode.type == DIRECTORY:
            names = [pair for piece in self.pieces(size, layout, raw, at + head + area) for pair in parse_names(piece)]
        elif inode.type == SYMLINK:
            inode.data = b"".join(self.pieces(size, layout, raw, at + head + area))
        elif inode.type == REGULAR and layout == 4:
            require(METACOPY in stored, "a file without content has no digest")
            inode.size, inode.digest = size, stored[METACOPY][4:]
        elif inode.type == REGULAR:
            inode.set_content(b"".join(self.pieces(size, layout, raw, at + head + area)))
        elif inode.type in (CHARACTER, BLOCKDEV):
            inode.major, inode.minor = split_device(raw)
        inode.xattrs = plain_xattrs(stored)
        self.known[nid] = (inode, names)
        return inode, names

    def pieces(self, size, layout, raw, tail_at):
        whole = size - size % BLOCK if layout == 2 else size
        for done in range(0, whole, BLOCK):
            yield self.cut(raw * BLOCK + done, min(BLOCK, whole - done))
        if whole < size:
            yield self.cut(tail_at, size - whole)

    def cut(self, at, length):
        require(at + length <= len(self.image), "data behind the image's end")
        return self.image[at : at + length]

    def xattrs(self, at, area):
        if not area:
            return {}
        count = self.image[at + 4]
        ids = struct.unpack_from(f"<{count}I", self.image, at + 12)
        places = [self.shared_base + number * 4 for number in ids]
        found = dict(self.xattr(place)[:2] for place in places)
        own, end = at + 12 + count * 4, at + area
        while own < end:
            name, value, size = self.xattr(own)
            found[name] = value
            own += size
        return found

    def xattr(self, at):
        rest, number, length = struct.unpack_from("<BBH", self.image, at)
        prefix = dict(PREFIXES).get(number)
        require(prefix is not None, f"an xattr with prefix {number}")
        name = self.cut(at + 4, rest)
        return prefix + name, self.cut(at + 4 + rest, length), -(-(4 + rest + length) // 4) * 4


def parse_names(piece):
    (first,) = struct.unpack_from("<H", piece, 8)
    count = first // 12
    require(count > 0, "a directory block without names")
    starts = [struct.unpack_from("<QH", piece, 12 * i) for i in range(count)]
    for i, (nid, start) in enumerate(starts):
        end = starts[i + 1][1] if i + 1 < count else len(piece)
        yield piece[start:end].rstrip(b"\0") if i + 1 == count else piece[start:end], nid


def plain_xattrs(stored):
    escaped = OVERLAY + b"overlay."
    xattrs = {}
    for name, value in stored.items():
        if name in (METACOPY, REDIRECT, OPAQUE):
            continue
        xattrs[OVERLAY + name[len(escaped) :] if name.startswith(escaped) else name] = value
    return xattrs
