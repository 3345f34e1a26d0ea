"""Section 4 of docs/format.md: the image of a tree."""

import struct

from content import BLOCK, require
from trees import BLOCKDEV, CHARACTER, DIRECTORY, FIFO, REGULAR, SOCKET, SYMLINK, Inode, count_names, device_number, walk
from xattrs import pad, plan_shared, stored_xattrs, xattr_area

SLOT = 32
SUPERBLOCK = 1024
FIRST_INODE = 1152
HEADER_MAGIC = 0xD078629A
EROFS_MAGIC = 0xE0F5E1E2
DIRENT_TYPE = {REGULAR: 1, DIRECTORY: 2, CHARACTER: 3, BLOCKDEV: 4, FIFO: 5, SOCKET: 6, SYMLINK: 7}


class Place:
    """One inode of the image."""

    def __init__(self, inode, xattrs, links):
        self.inode, self.xattrs, self.links = inode, xattrs, links
        self.names = []  # of a directory: (name, place), sorted
        self.blocks = 0
        self.tail = 0
        self.bits = 0
        self.at = 0

    def size(self):
        if self.inode.type == DIRECTORY:
            return self.blocks * BLOCK + self.tail
        return len(self.inode.data) if self.inode.type == SYMLINK else self.inode.size


def write_image(root):
    places = order_places(root)
    shared, shared_area = plan_shared(place.xattrs for place in places)
    oldest = min((place.inode.seconds, place.inode.nanoseconds) for place in places)
    inodes_end = lay_out(places, shared, oldest)
    data_start = -(-(inodes_end + len(shared_area)) // BLOCK) * BLOCK
    image = bytearray(data_start)
    image[inodes_end : inodes_end + len(shared_area)] = shared_area
    has_acl = any(name.startswith(b"system.posix_acl_") for place in places for name, _ in place.xattrs)
    struct.pack_into("<IIII", image, 0, HEADER_MAGIC, 1, int(has_acl), 0)
    for number, place in enumerate(places):
        write_inode(image, place, number, shared, inodes_end % BLOCK)
    struct.pack_into("<I", image, SUPERBLOCK, EROFS_MAGIC)
    struct.pack_into("<I", image, SUPERBLOCK + 8, 6)
    struct.pack_into("<BxHQ", image, SUPERBLOCK + 12, 12, places[0].at // SLOT, len(places))
    struct.pack_into("<qII", image, SUPERBLOCK + 24, *oldest, len(image) // BLOCK)
    struct.pack_into("<I", image, SUPERBLOCK + 44, inodes_end // BLOCK)
    return bytes(image)


def order_places(root):
    """Section 4.2: all inodes breadth-first, directories with their names."""
    names_of = count_names(root)
    first = {}
    for path, inode in walk(root):
        first.setdefault(id(inode), path)
    top = Place(root, stored_xattrs(root, True), 0)
    known = {id(root): top}
    places = [top]
    paths = {id(root): ()}
    parents = {id(root): top}
    for place in places:
        inode = place.inode
        if inode.type != DIRECTORY:
            continue
        path = paths[id(inode)]
        names = dict(inode.children)
        if place is top:
            for name in (b"%02x" % number for number in range(256)):
                names.setdefault(name, hiding_inode(root))
        below = []
        for name in sorted(names):
            child = names[name]
            if id(child) not in known:
                xattrs = stored_xattrs(child, False)
                known[id(child)] = Place(child, xattrs, names_of.get(id(child), 1))
            if first.get(id(child), (*path, name)) == (*path, name):
                places.append(known[id(child)])
                paths[id(child)] = (*path, name)
                parents[id(child)] = place
            below.append((name, known[id(child)]))
        place.links = 2 + sum(child.inode.type == DIRECTORY for _, child in below)
        place.names = sorted([*below, (b".", place), (b"..", parents[id(inode)])], key=lambda pair: pair[0])
    return places


def hiding_inode(root):
    inode = Inode(0o020644, root.uid, root.gid, root.seconds, root.nanoseconds)
    if b"security.selinux" in root.xattrs:
        inode.xattrs = {b"security.selinux": root.xattrs[b"security.selinux"]}
    return inode


def lay_out(places, shared, oldest):
    """Sections 4.4 and 4.5. Returns inodes_end."""
    end = FIRST_INODE
    for place in places:
        divide(place)
        inode = place.inode
        small = place.links <= 65535 and inode.uid <= 65535 and inode.gid <= 65535 and place.size() < 2**32
        place.compact = small and (inode.seconds, inode.nanoseconds) == oldest
        head = (32 if place.compact else 64) + len(xattr_area(place.xattrs, shared, 0))
        place.at = move(place, -(-end // SLOT) * SLOT, head)
        end = place.at + head + place.tail
    return -(-end // SLOT) * SLOT


def divide(place):
    inode = place.inode
    if inode.type == DIRECTORY:
        place.parts = split_names(place.names)
        last = sum(12 + len(name) for name, _ in place.parts[-1])
        place.blocks, place.tail = (len(place.parts) - 1, last) if last <= BLOCK // 2 else (len(place.parts), 0)
    elif inode.is_object():
        place.bits = min(max((inode.size - 1).bit_length(), 12), 43)
        place.tail = 4 * -(-inode.size // 2**place.bits)
    else:
        place.tail = len(inode.data)


def split_names(names):
    parts = [[]]
    used = 0
    for name, child in names:
        need = 12 + len(name)
        if used + need > BLOCK:
            parts.append([])
            used = 0
        parts[-1].append((name, child))
        used += need
    return parts


def move(place, at, head):
    if place.inode.type == SYMLINK:
        whole = head + place.tail
        if whole >= BLOCK:
            place.blocks, place.tail = 1, 0
        crosses = at // BLOCK != (at + whole - 1) // BLOCK
        return -(-at // BLOCK) * BLOCK if crosses else at
    room = BLOCK - (at + head) % BLOCK
    if place.tail <= room:
        return at
    moved = at + -(-room // SLOT) * SLOT
    if place.tail <= BLOCK - (moved + head) % BLOCK:
        return moved
    place.blocks += 1
    place.tail = 0
    return -(-at // BLOCK) * BLOCK


def write_inode(image, place, number, shared, shared_base):
    inode = place.inode
    block = len(image) // BLOCK if place.blocks else 0
    area = xattr_area(place.xattrs, shared, shared_base)
    layout = 4 if place.bits else 2 if place.tail else 0
    raw = block
    if inode.type in (CHARACTER, BLOCKDEV):
        raw = device_number(inode)
    elif place.bits:
        raw = (block & ~0xFFFF) | (place.bits - 12)
    count = (len(area) - 12) // 4 + 1 if area else 0
    start = (layout << 1 | (not place.compact), count, inode.mode)
    if place.compact:
        numbers = (place.links, place.size(), 0, raw, number, inode.uid, inode.gid, 0)
        head = struct.pack("<HHHHIIIIHHI", *start, *numbers)
    else:
        numbers = (0, place.size(), raw, number, inode.uid, inode.gid, inode.seconds, inode.nanoseconds, place.links)
        head = struct.pack("<HHHHQIIIIqII16x", *start, *numbers)
    data = data_of(place)
    in_blocks = pad(data[: len(data) - place.tail], BLOCK)
    require(len(in_blocks) == place.blocks * BLOCK, "an error of the verifier: blocks")
    whole = head + area + data[len(data) - place.tail :]
    image[place.at : place.at + len(whole)] = whole
    image += in_blocks


def data_of(place):
    inode = place.inode
    if inode.type == DIRECTORY:
        parts = [format_names(part) for part in place.parts]
        return b"".join(pad(part, BLOCK) for part in parts[:-1]) + parts[-1]
    if place.bits:
        return b"\xff" * (place.tail or BLOCK)
    return inode.data if inode.type in (REGULAR, SYMLINK) else b""


def format_names(part):
    offset = 12 * len(part)
    head, names = bytearray(), bytearray()
    for name, child in part:
        head += struct.pack("<QHBx", child.at // SLOT, offset + len(names), DIRENT_TYPE[child.inode.type])
        names += name
    return bytes(head + names)
