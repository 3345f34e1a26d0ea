"""
Numbers steps over five files, each step in this order: pwrite, temporary file and rename, store into a mapping, append, store into another
mapping. So of any point in time the files hold the first n steps, the last one perhaps in part. Ends with its input.
"""
import mmap, os, select, struct, sys

os.chdir(sys.argv[1])
pause = float(sys.argv[2])
a = os.open('s1', os.O_CREAT | os.O_RDWR, 0o644)
d = os.open('s4', os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_TRUNC, 0o644)
maps = []
for name in ('s3', 's5'):
    fd = os.open(name, os.O_CREAT | os.O_RDWR, 0o644)
    os.ftruncate(fd, 4096)
    maps.append(mmap.mmap(fd, 4096))
    os.close(fd)
if len(sys.argv) > 3:
    os.chdir('/')  # nothing but open files and mappings show that it writes
folder = sys.argv[1]
n = 0
while True:
    n += 1
    step = struct.pack('<q', n)
    os.pwrite(a, step, 0)
    t = os.open(folder + '/s2.tmp', os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o644)
    os.write(t, step)
    os.close(t)
    os.rename(folder + '/s2.tmp', folder + '/s2')
    maps[0][0:8] = step
    os.write(d, step)
    maps[1][0:8] = step
    if n == 1:
        print('ready', flush=True)
    if select.select([0], [], [], pause)[0]:
        break
