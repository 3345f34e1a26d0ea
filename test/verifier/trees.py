"""What a tree is (sections 2 and 5 of docs/format.md), and the tree of a directory."""

import errno
import os
import re
import stat

from content import require, verity_of_bytes, verity_of_file

INLINE_MAX = 64
XATTR_SET_MAX = 32606

REGULAR, DIRECTORY, SYMLINK, CHARACTER, BLOCKDEV, FIFO, SOCKET, FURTHER_NAME = range(1, 9)
TYPE_OF_MODE = {0o10: REGULAR, 0o4: DIRECTORY, 0o12: SYMLINK, 0o2: CHARACTER, 0o6: BLOCKDEV, 0o1: FIFO, 0o14: SOCKET}


class Inode:
    """What names can share. `data` is a symlink's target or the content of a small file; `digest` that of a regular file."""

    def __init__(self, mode, uid, gid, seconds, nanoseconds):
        self.type = TYPE_OF_MODE.get(mode >> 12)
        require(self.type is not None, f"a file has mode {mode:o}")
        self.mode, self.uid, self.gid = mode, uid, gid
        self.seconds, self.nanoseconds = seconds, nanoseconds
        self.size = 0
        self.data = b""
        self.digest = None
        self.major = self.minor = 0
        self.xattrs = {}
        self.children = {}

    def set_content(self, data):
        self.data, self.size, self.digest = data, len(data), verity_of_bytes(data)

    def is_object(self):
        return self.type == REGULAR and self.size > INLINE_MAX


XATTR_NAME = re.compile(rb"(user\.|trusted\.|security\.|system\.posix_acl_(access|default)\Z)")


def check_inode(inode, path):
    """Section 5."""
    size = 12 + sum(7 + len(name) + len(value) for name, value in inode.xattrs.items())
    require(not inode.xattrs or size <= XATTR_SET_MAX, f"{path!r}: {size} bytes of xattrs")
    is_whiteout = inode.type == CHARACTER and inode.major == 0 and inode.minor == 0
    require(not is_whiteout, f"{path!r}: a character device 0/0")
    require(abs(inode.seconds) < 2**53, f"{path!r}: mtime out of range")


def read_directory(path):
    """The tree of a directory, by descriptors, so that paths may have any length."""
    known = {}
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return read_inode(fd, b".", os.fstat(fd), known, b"")
    finally:
        os.close(fd)


def read_inode(parent, name, status, known, path):
    key = (status.st_dev, status.st_ino)
    if not stat.S_ISDIR(status.st_mode) and key in known:
        return known[key]
    seconds, nanoseconds = divmod(status.st_mtime_ns, 10**9)
    inode = Inode(status.st_mode, status.st_uid, status.st_gid, seconds, nanoseconds)
    inode.xattrs = read_xattrs(b"/proc/self/fd/%d/%s" % (parent, name))
    if inode.type == DIRECTORY:
        read_children(inode, parent, name, known, path)
    elif inode.type == REGULAR:
        read_regular(inode, parent, name)
    elif inode.type == SYMLINK:
        inode.data = os.readlink(name, dir_fd=parent)
    elif inode.type in (CHARACTER, BLOCKDEV):
        inode.major, inode.minor = os.major(status.st_rdev), os.minor(status.st_rdev)
    check_inode(inode, path)
    known[key] = inode
    return inode


def read_children(inode, parent, name, known, path):
    fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    try:
        for child in map(os.fsencode, os.listdir(fd)):
            status = os.stat(child, dir_fd=fd, follow_symlinks=False)
            below = path + b"/" + child if path else child
            inode.children[child] = read_inode(fd, child, status, known, below)
    finally:
        os.close(fd)


def read_regular(inode, parent, name):
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=parent)
    try:
        inode.digest, inode.size = verity_of_file(fd)
        if inode.size <= INLINE_MAX:
            inode.set_content(os.pread(fd, INLINE_MAX, 0))
    finally:
        os.close(fd)


def read_xattrs(path):
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return {}
        raise
    names = [name for name in map(os.fsencode, names) if XATTR_NAME.match(name)]
    return {name: os.getxattr(path, name, follow_symlinks=False) for name in names}



def walk(root):
    """Paths (tuples of names) and inodes in the order of entries."""
    pending = [((), root)]
    while pending:
        path, inode = pending.pop()
        yield path, inode
        for name in sorted(inode.children, reverse=True):
            pending.append(((*path, name), inode.children[name]))


def count_names(root):
    names = {}
    for _, inode in walk(root):
        names[id(inode)] = names.get(id(inode), 0) + 1
    return names


def object_name(digest):
    return f"{digest.hex()[:2]}/{digest.hex()[2:]}"


def device_number(inode):
    """As the kernel encodes it."""
    return (inode.minor & 0xFF) | (inode.major << 8) | ((inode.minor & 0xFFF00) << 12)


def split_device(number):
    return (number >> 8) & 0xFFF, (number & 0xFF) | ((number >> 12) & 0xFFF00)
