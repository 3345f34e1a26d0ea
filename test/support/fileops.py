"""
Random file operations by real system calls, the same ones on several directories: HEAD first, then a plain copy.

One JSON object a line on stdin, one answer a line on stdout. An operation is a list: its name, then paths relative to the root and numbers.
Times are part of a tree, so every operation sets the modification time of what it changed; what it does not name keeps the time that it had.
What HEAD refuses (docs/head.md 8) is not done in the plain copy either; any other difference between the two is reported.
"""
import ctypes, errno, fcntl, hashlib, json, mmap, os, random, shutil, socket, stat, struct, sys

libc = ctypes.CDLL(None, use_errno=True)
EXCHANGE, NOREPLACE = 2, 1
KEEP_SIZE, PUNCH, ZERO = 1, 2, 16
FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, NODUMP = 0x80086601, 0x40086602, 0x40
BASE_TIME = 1_600_000_000
OVERLAY_REFUSES = {errno.ENOTSUP, errno.EOPNOTSUPP, errno.EXDEV, errno.ENOTTY, errno.EPERM}


class Tree:
    """One directory that operations are done in, with the descriptors and mappings that stay open between them."""

    def __init__(self, root):
        self.root = os.fsencode(root)
        self.open = {}
        self.maps = {}

    def at(self, path):
        return self.root + b'/' + os.fsencode(path) if path else self.root

    def touch(self, path, n):
        at = self.at(path)
        if os.path.lexists(at):
            time = (BASE_TIME + n) * 10**9 + (n * 7919) % 10**9
            os.utime(at, ns=(time, time), follow_symlinks=False)

    def close_all(self):
        for mapped, place in self.maps.values():
            mapped.close()
            os.close(place)
        for fd in self.open.values():
            os.close(fd)
        self.open, self.maps = {}, {}


def parent(path):
    return os.path.dirname(path)


def pattern(n, length):
    return (b'%d,' % n * (length // 2 + 1))[:length]


def write(at, data, flags, offset=0):
    fd = os.open(at, flags, 0o644)
    try:
        os.pwrite(fd, data, offset) if offset >= 0 else os.write(fd, data)
    finally:
        os.close(fd)


def fallocate(at, mode, offset, length):
    fd = os.open(at, os.O_RDWR)
    try:
        if libc.fallocate(fd, mode, ctypes.c_long(offset), ctypes.c_long(length)) < 0:
            raise OSError(ctypes.get_errno(), 'fallocate')
    finally:
        os.close(fd)


def renameat2(a, b, flags):
    if libc.renameat2(-100, a, -100, b, flags) < 0:
        raise OSError(ctypes.get_errno(), 'renameat2')


def remove(at):
    shutil.rmtree(at) if os.path.isdir(at) and not os.path.islink(at) else os.unlink(at)


def acl(entries):
    """An access list as the kernel takes it: version 2, then tag, permissions and id of each entry."""
    return struct.pack('<I', 2) + b''.join(struct.pack('<HHI', *entry) for entry in entries)


ACL = acl([(1, 6, 0xFFFFFFFF), (2, 5, 1000), (4, 4, 0xFFFFFFFF), (16, 5, 0xFFFFFFFF), (32, 4, 0xFFFFFFFF)])

OPERATIONS = {}


def operation(function):
    OPERATIONS[function.__name__] = function
    return function


# Each operation does its work and returns the paths whose modification time is to be set.
@operation
def create(t, n, p, size):
    write(t.at(p), pattern(n, size), os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    return [p, parent(p)]


@operation
def rewrite(t, n, p, size):
    write(t.at(p), pattern(n, size), os.O_TRUNC | os.O_WRONLY)
    return [p]


@operation
def overwrite(t, n, p, offset, size):
    write(t.at(p), pattern(n, size), os.O_RDWR, offset)
    return [p]


@operation
def append(t, n, p, size):
    write(t.at(p), pattern(n, size), os.O_APPEND | os.O_WRONLY, -1)
    return [p]


@operation
def truncate(t, n, p, size):
    os.truncate(t.at(p), size)
    return [p]


@operation
def open_only(t, n, p):
    os.close(os.open(t.at(p), os.O_RDWR))
    return [p]  # where only the metadata had been copied up, the data come now, and with them a new time


@operation
def mkdir(t, n, p, mode):
    os.mkdir(t.at(p), mode)
    return [p, parent(p)]


@operation
def mkdir_deep(t, n, p, size):
    os.makedirs(t.at(p + '/in/ner'))
    write(t.at(p + '/in/ner/f'), pattern(n, size), os.O_CREAT | os.O_WRONLY)
    return [p + '/in/ner/f', p + '/in/ner', p + '/in', p, parent(p)]


@operation
def chmod(t, n, p, mode):
    if os.path.islink(t.at(p)):
        raise OSError(errno.ELOOP, 'a symlink')
    os.chmod(t.at(p), mode)
    return []


@operation
def chown(t, n, p, uid, gid):
    os.chown(t.at(p), uid, gid, follow_symlinks=False)
    return []


@operation
def utime(t, n, p):
    return [p]


@operation
def setxattr(t, n, p, name, value):
    os.setxattr(t.at(p), name, value.encode('latin1'), follow_symlinks=False)
    return []


@operation
def removexattr(t, n, p, name):
    os.removexattr(t.at(p), name, follow_symlinks=False)
    return []


@operation
def setcap(t, n, p):
    os.setxattr(t.at(p), 'security.capability', bytes.fromhex('0100000200200000000000000000000000000000'), follow_symlinks=False)
    return []


@operation
def setfacl(t, n, p, which):
    os.setxattr(t.at(p), 'system.posix_acl_' + which, ACL, follow_symlinks=False)
    return []


@operation
def chattr(t, n, p):
    fd = os.open(t.at(p), os.O_RDONLY | os.O_NONBLOCK)
    try:
        flags = struct.unpack('i', fcntl.ioctl(fd, FS_IOC_GETFLAGS, struct.pack('i', 0)))[0]
        fcntl.ioctl(fd, FS_IOC_SETFLAGS, struct.pack('i', flags ^ NODUMP))
    finally:
        os.close(fd)
    return []


@operation
def rename(t, n, a, b):
    os.rename(t.at(a), t.at(b))
    return [parent(a), parent(b)]


@operation
def rename_new(t, n, a, b):
    renameat2(t.at(a), t.at(b), NOREPLACE)
    return [parent(a), parent(b)]


@operation
def exchange(t, n, a, b):
    renameat2(t.at(a), t.at(b), EXCHANGE)
    return [parent(a), parent(b)]


@operation
def exchange_back(t, n, a, b):
    renameat2(t.at(a), t.at(b), EXCHANGE)
    renameat2(t.at(a), t.at(b), EXCHANGE)
    return [parent(a), parent(b)]


@operation
def unlink(t, n, p):
    os.unlink(t.at(p))
    return [parent(p)]


@operation
def rmdir(t, n, p):
    os.rmdir(t.at(p))
    return [parent(p)]


@operation
def rmtree(t, n, p):
    remove(t.at(p))
    return [parent(p)]


@operation
def empty_directory(t, n, p):
    for name in os.listdir(t.at(p)):
        remove(t.at(p) + b'/' + name)
    return [p]


@operation
def link(t, n, a, b):
    os.link(t.at(a), t.at(b), follow_symlinks=False)
    return [parent(b)]


@operation
def link_away(t, n, a, b):
    """A new name, and the old one goes."""
    os.link(t.at(a), t.at(b), follow_symlinks=False)
    os.unlink(t.at(a))
    return [parent(a), parent(b)]


@operation
def symlink(t, n, p, target):
    os.symlink(target, t.at(p))
    return [p, parent(p)]


@operation
def mkfifo(t, n, p):
    os.mkfifo(t.at(p), 0o640)
    return [p, parent(p)]


@operation
def mknod(t, n, p, mode, device):
    os.mknod(t.at(p), mode, device)
    return [p, parent(p)]


@operation
def bind_socket(t, n, p):
    here = os.getcwd()
    os.chdir(t.at(parent(p)))  # a socket's path has to be short
    try:
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(os.path.basename(t.at(p)))
    finally:
        os.chdir(here)
    return [p, parent(p)]


@operation
def replace_by_file(t, n, p, size):
    """As an editor saves: a new file beside it takes the name."""
    temporary = t.at(p) + b'~'
    write(temporary, pattern(n, size), os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
    try:
        os.rename(temporary, t.at(p))
    except OSError:
        os.unlink(temporary)
        t.touch(parent(p), n)
        raise
    return [p, parent(p)]


@operation
def become_directory(t, n, p, size):
    remove(t.at(p))
    os.mkdir(t.at(p))
    write(t.at(p) + b'/in', pattern(n, size), os.O_CREAT | os.O_WRONLY)
    return [p + '/in', p, parent(p)]


@operation
def become_file(t, n, p, size):
    remove(t.at(p))
    write(t.at(p), pattern(n, size), os.O_CREAT | os.O_WRONLY)
    return [p, parent(p)]


@operation
def become_symlink(t, n, p, target):
    remove(t.at(p))
    os.symlink(target, t.at(p))
    return [p, parent(p)]


@operation
def there_and_back(t, n, p):
    """A file becomes a directory and a file again, a directory a file and a directory again."""
    if os.path.isdir(t.at(p)) and not os.path.islink(t.at(p)):
        remove(t.at(p))
        write(t.at(p), b'between', os.O_CREAT | os.O_WRONLY)
        os.unlink(t.at(p))
        os.mkdir(t.at(p))
    else:
        remove(t.at(p))
        os.mkdir(t.at(p))
        os.rmdir(t.at(p))
        write(t.at(p), pattern(n, 300), os.O_CREAT | os.O_WRONLY)
    return [p, parent(p)]


@operation
def chmod_then_write(t, n, p, mode):
    os.chmod(t.at(p), mode)
    write(t.at(p), pattern(n, 9), os.O_RDWR)
    return [p]


@operation
def chown_then_rename(t, n, a, b):
    os.chown(t.at(a), 5, 6, follow_symlinks=False)
    os.rename(t.at(a), t.at(b))
    return [parent(a), parent(b)]


@operation
def mmap_write(t, n, p):
    fd = os.open(t.at(p), os.O_RDWR)
    try:
        with mmap.mmap(fd, 0) as mapped:
            mapped[0:1] = bytes([65 + n % 26])
            mapped[len(mapped) - 1 : len(mapped)] = bytes([97 + n % 26])
    finally:
        os.close(fd)
    return [p]


@operation
def punch(t, n, p, offset, length):
    fallocate(t.at(p), PUNCH | KEEP_SIZE, offset, length)
    return [p]


@operation
def zero_range(t, n, p, offset, length):
    fallocate(t.at(p), ZERO, offset, length)
    return [p]


@operation
def allocate_beyond(t, n, p):
    fallocate(t.at(p), KEEP_SIZE, 0, 1 << 20)
    return [p]


@operation
def sparse(t, n, p, size):
    write(t.at(p), pattern(n, 10), os.O_CREAT | os.O_EXCL | os.O_WRONLY, size)
    return [p, parent(p)]


@operation
def copy_range(t, n, a, b):
    source, target = os.open(t.at(a), os.O_RDONLY), os.open(t.at(b), os.O_RDWR)
    try:
        os.copy_file_range(source, target, 1 << 20, 0, 0)
    finally:
        os.close(source)
        os.close(target)
    return [b]


@operation
def tmpfile(t, n, p, size):
    fd = os.open(t.at(parent(p)), os.O_TMPFILE | os.O_RDWR, 0o640)
    try:
        os.write(fd, pattern(n, size))
        if libc.linkat(-100, b'/proc/self/fd/%d' % fd, -100, t.at(p), 0x400) < 0:
            raise OSError(ctypes.get_errno(), 'linkat')
    finally:
        os.close(fd)
    return [p, parent(p)]


@operation
def tmpfile_lost(t, n, p):
    fd = os.open(t.at(p), os.O_TMPFILE | os.O_RDWR, 0o640)
    os.write(fd, b'never linked')
    os.close(fd)
    return []


@operation
def unlink_open(t, n, p, slot):
    fd = os.open(t.at(p), os.O_RDWR)
    t.open[slot] = fd
    os.unlink(t.at(p))
    os.pwrite(fd, b'nobody sees this, but through other links', 0)
    os.utime(fd, ns=((BASE_TIME + n) * 10**9, (BASE_TIME + n) * 10**9))
    return [parent(p)]


@operation
def keep_open(t, n, p, slot):
    t.open[slot] = os.open(t.at(p), os.O_RDWR)
    return [p]


@operation
def write_open(t, n, slot, offset):
    fd = t.open[slot]
    os.pwrite(fd, pattern(n, 20), offset)
    time = (BASE_TIME + n) * 10**9
    os.utime(fd, ns=(time, time))
    return []


@operation
def keep_mapped(t, n, p, slot):
    fd = os.open(t.at(p), os.O_RDWR)
    try:
        t.maps[slot] = (mmap.mmap(fd, 0), os.open(t.at(p), os.O_PATH))
    finally:
        os.close(fd)
    return [p]


@operation
def store_mapped(t, n, slot):
    mapped, place = t.maps[slot]  # the file may have another name by now, or none
    mapped[0:2] = b'%02d' % (n % 100)
    os.utime(b'/proc/self/fd/%d' % place, ns=((BASE_TIME + n) * 10**9, (BASE_TIME + n) * 10**9))
    return []


@operation
def close_all(t, n):
    t.close_all()
    return []


SIZES = [0, 1, 10, 64, 65, 100, 4096, 4097, 5000, 70000]
NAMES = ['a', 'b', 'c', 'dd', 'file.txt', '00', 'ff', 'a0', '#x', '.wh.a', 'with space', 'ü', '\udcff\udc80', 'new\nline', 'L' * 255]
MODES = [0o644, 0o600, 0o755, 0o4755, 0o2711, 0o1777, 0o000, 0o7777]
XATTRS = ['user.x', 'user.long', 'trusted.foo', 'user.overlay.opaque', 'trusted.overlay.opaque', 'trusted.overlay.metacopy', 'trusted.overlay.whiteout']
OWNERS = [(0, 0), (1000, 1000), (70000, 5), (7, 70000)]


class Chooser:
    """Chooses operations that mostly make sense for the tree as the plain copy shows it."""

    def __init__(self, seed, root):
        self.random = random.Random(seed)
        self.root = root
        self.slots = 0

    def look(self):
        self.files, self.directories, self.others = [], [], []
        for folder, names, _ in sorted(os.walk(self.root)):
            rel = '' if folder == self.root else os.path.relpath(folder, self.root)
            for name in sorted(os.listdir(folder)):
                path = rel + '/' + name if rel else name
                mode = os.lstat(folder + '/' + name).st_mode
                (self.directories if stat.S_ISDIR(mode) else self.files if stat.S_ISREG(mode) else self.others).append(path)

    def any(self, lists):
        paths = sorted(sum(lists, []))
        return self.random.choice(paths) if paths else None

    def file(self):
        return self.any([self.files])

    def directory(self):
        return self.any([self.directories])

    def name(self):
        return self.any([self.files, self.directories, self.others])

    def leaf(self):
        return self.any([self.files, self.others])

    def fresh(self):
        folder = self.random.choice(self.directories + ['', '']) if self.directories else ''
        for _ in range(9):
            name = self.random.choice(NAMES)
            if self.random.random() < 0.4 and len(name) < 200:
                name += str(self.random.randrange(40))
            path = folder + '/' + name if folder else name
            if len(path) < 700 and path not in self.files and path not in self.directories and path not in self.others:
                return path
        return None

    def size(self):
        return self.random.choice(SIZES)

    def next(self, tree, keeps, with_head):
        r = self.random
        kinds = [
            ('create', self.fresh, self.size), ('create', self.fresh, self.size), ('rewrite', self.file, self.size),
            ('overwrite', self.file, lambda: r.choice([0, 3, 100, 4090]), lambda: r.choice([1, 20, 5000])), ('append', self.file, self.size),
            ('truncate', self.file, lambda: r.choice([0, 10, 64, 65, 3000, 200000])), ('open_only', self.file),
            ('mkdir', self.fresh, lambda: r.choice([0o755, 0o700, 0o2755])), ('mkdir_deep', self.fresh, self.size),
            ('chmod', self.name, lambda: r.choice(MODES)), ('chmod', self.directory, lambda: r.choice(MODES)), ('chown', self.name, *self.owner()), ('chown', self.others_only, *self.owner()),
            ('utime', self.name), ('utime', self.directory), ('utime', lambda: ''), ('chmod', lambda: '', lambda: r.choice([0o755, 0o700, 0o1777])), ('chown', lambda: '', *self.owner()),
            ('setxattr', self.name, lambda: r.choice(XATTRS), lambda: r.choice(['', 'y', 'x', 'v' * 50, 'w' * 2000])), ('setxattr', lambda: '', lambda: 'user.root', lambda: str(r.randrange(9))),
            ('setxattr', self.directory, lambda: r.choice(XATTRS), lambda: r.choice(['y', 'x'])), ('removexattr', self.name, lambda: r.choice(XATTRS)), ('setcap', self.file),
            ('setfacl', self.name, lambda: 'access'), ('setfacl', self.directory, lambda: 'default'), ('chattr', self.file), ('chattr', self.directory),
            ('rename', self.file, self.fresh), ('rename', self.file, self.leaf), ('rename', self.others_only, self.fresh), ('rename', self.directory, self.fresh), ('rename', self.directory, self.fresh),
            ('rename', self.directory, self.directory), ('rename', self.leaf, self.leaf), ('rename_new', self.name, self.fresh), ('exchange', self.name, self.name), ('exchange', self.directory, self.directory),
            ('exchange', self.file, self.file), ('exchange', self.file, self.directory), ('exchange_back', self.name, self.name),
            ('unlink', self.leaf), ('unlink', self.leaf), ('rmdir', self.directory), ('rmtree', self.directory), ('empty_directory', self.directory),
            ('link', self.file, self.fresh), ('link', self.file, self.fresh), ('link', self.leaf, self.fresh), ('link_away', self.leaf, self.fresh),
            ('symlink', self.fresh, lambda: r.choice(['t', '../x', '/abs', 'T' * 300])), ('mkfifo', self.fresh), ('bind_socket', self.fresh),
            ('mknod', self.fresh, lambda: r.choice([0o20644, 0o60600]), lambda: r.choice([os.makedev(1, 3), os.makedev(8, 17), os.makedev(300, 70000)])), 
            ('replace_by_file', self.leaf, self.size), ('become_directory', self.name, self.size), ('become_file', self.name, self.size), ('become_symlink', self.name, lambda: 'other'),
            ('there_and_back', self.name), ('chmod_then_write', self.file, lambda: r.choice(MODES)), ('chown_then_rename', self.leaf, self.fresh), ('mmap_write', self.file), ('mmap_write', self.file),
            ('punch', self.file, lambda: r.choice([0, 4096, 100]), lambda: r.choice([10, 4096, 70000])), ('zero_range', self.file, lambda: r.choice([0, 50]), lambda: r.choice([10, 9000])), ('allocate_beyond', self.file),
            ('sparse', self.fresh, lambda: r.choice([4096, 1 << 20, 5 << 20])), ('copy_range', self.file, self.file), ('tmpfile', self.fresh, self.size), ('tmpfile_lost', self.directory),
        ]
        if with_head:
            kinds += [('mknod', self.fresh, lambda: 0o20600, lambda: 0)]  # a whiteout: only an overlay refuses it
        if keeps:
            slot = self.slots
            kinds += [('unlink_open', self.file, lambda: slot), ('keep_open', self.file, lambda: slot), ('keep_mapped', self.file, lambda: slot)]
            if tree.open:
                kinds += [('write_open', lambda: r.choice(sorted(tree.open)), lambda: r.choice([0, 50, 5000]))] * 6
            if tree.maps:
                kinds += [('store_mapped', lambda: r.choice(sorted(tree.maps)))] * 6
        name, *arguments = r.choice(kinds)
        values = [argument() for argument in arguments]
        self.slots += 1
        return None if any(value is None for value in values) else [name, *values]

    def owner(self):
        uid, gid = self.random.choice(OWNERS)
        return lambda: uid, lambda: gid

    def others_only(self):
        return self.any([self.others])


# What HEAD did of an operation before it refused the rest, so that the plain copy gets as far.
BEFORE_REFUSAL = {'chown_then_rename': lambda op: ['chown', op[1], 5, 6]}


def perform(trees, op, n):
    """Does an operation in every tree. Returns what went differently, or None."""
    outcomes = []
    for tree in trees:
        try:
            for path in OPERATIONS[op[0]](tree, n, *op[1:]):
                tree.touch(path, n)
            outcomes.append('ok')
        except (OSError, KeyError, ValueError, shutil.Error) as error:
            code = getattr(error, 'errno', None)
            outcomes.append(errno.errorcode.get(code, type(error).__name__))
            if tree is trees[0] and len(trees) > 1 and code in OVERLAY_REFUSES:
                if op[0] in BEFORE_REFUSAL:
                    perform(trees[1:], BEFORE_REFUSAL[op[0]](op), n)
                return ['refused', op[0], outcomes[0]]
    if outcomes[0] != 'ok':  # a failing rename or copy_file_range may set times in an overlay all the same
        for path in [path for value in op[1:] if isinstance(value, str) for path in (value, parent(value))]:
            if os.path.lexists(trees[-1].at(path)):
                for tree in trees:
                    tree.touch(path, n)
    return None if len(set(outcomes)) == 1 else ['differs', op, outcomes]


def listing(root):
    """Every name with all that a tree keeps of it, for messages."""
    inodes, seen = {}, {}

    def look(at):
        s = os.lstat(at)
        path = os.fsdecode(at[len(root) :])
        xattrs = {name: os.getxattr(at, name, follow_symlinks=False)[:80].decode('latin1') for name in sorted(os.listxattr(at, follow_symlinks=False))}
        content = ''
        if stat.S_ISREG(s.st_mode):
            with open(at, 'rb') as file:
                content = hashlib.sha256(file.read()).hexdigest()[:16]
        elif stat.S_ISLNK(s.st_mode):
            content = os.readlink(at).decode('latin1')
        same = path if stat.S_ISDIR(s.st_mode) or s.st_nlink == 1 else inodes.setdefault((s.st_dev, s.st_ino), path)
        seen[path] = [oct(s.st_mode), s.st_uid, s.st_gid, s.st_mtime_ns, 0 if stat.S_ISDIR(s.st_mode) else s.st_size, s.st_rdev, content, xattrs, same]
        if stat.S_ISDIR(s.st_mode):
            for name in sorted(os.listdir(at)):
                look(at + b'/' + name)

    look(root)
    return seen


class Session:
    def __init__(self):
        self.trees, self.chooser, self.n = [], None, 0

    def answer(self, request):
        command = request['command']
        if command == 'begin':  # a plain directory is filled: it becomes the base
            self.trees, self.chooser, self.n = [Tree(request['plain'])], Chooser(request['seed'], request['plain']), 0
            return self.run(request)
        if command == 'head':  # from now on, HEAD goes first
            self.trees = [Tree(request['head']), self.trees[-1]]
            return {}
        if command == 'run':
            return self.run(request)
        if command == 'compare':
            seen = [listing(os.fsencode(root)) for root in request['roots']]
            return {'differences': [[path, *(tree.get(path) for tree in seen)] for path in sorted(seen[0] | seen[1]) if seen[0].get(path) != seen[1].get(path)]}
        raise ValueError(command)

    def run(self, request):
        done, refused = [], []
        ops = request.get('ops')
        for i in range(len(ops) if ops is not None else request['count']):
            if ops is None:
                self.chooser.look()
                op = self.chooser.next(self.trees[-1], request.get('keeps', False), len(self.trees) > 1)
            else:
                op = ops[i]
            self.n += 1
            done.append(op)
            if op is None:
                continue
            different = perform(self.trees, op, self.n)
            if different is not None and different[0] == 'differs':
                return {'done': done, 'refused': refused, 'differs': different[1:]}
            if different is not None:
                refused.append(different[1] + ' ' + different[2])
        return {'done': done, 'refused': refused}


os.umask(0)
session = Session()
for line in sys.stdin:
    print(json.dumps(session.answer(json.loads(line))), flush=True)
