"""
Writes numbered files below a folder without end, each made durable as programs do it, and says `name number` once it is: a new file by
temporary file, fsync, rename and fsync of the directory (r*); in place by pwrite and fsync (p*), a mapping and msync (m*), or append and
fdatasync (a*). While the folder is away, or cannot be written to, it tries again. Ends with its input.
"""
import errno, mmap, os, random, select, struct, sys

folder = sys.argv[1]
dice = random.Random(int(sys.argv[2]))
AWAY = (errno.ENOENT, errno.EROFS, errno.ESTALE, errno.EPERM, errno.ENOSPC)
SIZE = 4096


def sync_folder(path):
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def replace(name, n):
    temporary = os.path.join(folder, '.' + name)
    fd = os.open(temporary, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o644)
    try:
        os.write(fd, b'%s %d\n' % (name.encode(), n) * (20 + n % 300))
        os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(temporary, os.path.join(folder, name))
    sync_folder(folder)


def in_place(name, n, store):
    path = os.path.join(folder, name)
    fd = os.open(path, os.O_RDWR)
    try:
        store(fd, struct.pack('<q', n))
    finally:
        os.close(fd)


def overwrite(fd, number):
    os.pwrite(fd, number, 0)
    os.fsync(fd)


def through_mapping(fd, number):
    with mmap.mmap(fd, SIZE) as mapping:
        mapping[0:8] = number
        mapping.flush()


def append(fd, number):
    os.lseek(fd, 0, os.SEEK_END)
    os.write(fd, number)
    os.fdatasync(fd)


IN_PLACE = {'p': overwrite, 'm': through_mapping, 'a': append}
n = 0
while not select.select([0], [], [], 0.002)[0]:
    n += 1
    name = dice.choice('rpma') + str(dice.randrange(6))
    try:
        if name[0] == 'r':
            replace(name, n)
        else:
            in_place(name, n, IN_PLACE[name[0]])
        print(name, n, flush=True)
    except OSError as error:
        if error.errno not in AWAY:
            raise
