"""
A baton that is handed from child to child: each process stores a number into a mapping, then appends it to a file, and forks its successor.
Whoever stops a process must stop its children too. Ends with its input.
"""
import mmap, os, select, struct, sys, time

folder = sys.argv[1]
fd = os.open(folder + '/mapped', os.O_CREAT | os.O_RDWR, 0o644)
os.ftruncate(fd, 4096)
mapped = mmap.mmap(fd, 4096)
os.close(fd)
log = os.open(folder + '/appended', os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_TRUNC, 0o644)
n = 0
print('ready', flush=True)
while True:
    for _ in range(5):
        n += 1
        mapped[0:8] = struct.pack('<q', n)
        os.write(log, struct.pack('<q', n))
    time.sleep(0.0005)
    if select.select([0], [], [], 0)[0]:
        break
    if os.fork() != 0:
        os._exit(0)
