"""A process that does what it is told: a JSON string of Python a line on stdin, the value or the error a line on stdout."""
import ctypes, errno, fcntl, json, mmap, os, signal, socket, struct, sys, threading, time

libc = ctypes.CDLL(None, use_errno=True)


def syscall(*arguments):
    result = libc.syscall(*[ctypes.c_long(a) if isinstance(a, int) else a for a in arguments])
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def open_tree(path):
    """A detached copy of a mount."""
    return syscall(428, -100, os.fsencode(path), 1 | 0o2000000)


def shown(value):
    return value.decode('latin1') if isinstance(value, bytes) else value if isinstance(value, (int, str, list, bool)) else None


names = dict(globals())
for line in sys.stdin:
    code = json.loads(line)
    try:
        try:
            answer = {'value': shown(eval(code, names))}
        except SyntaxError:
            exec(code, names)
            answer = {'value': None}
    except OSError as error:
        answer = {'error': errno.errorcode.get(error.errno, str(error))}
    except Exception as error:
        answer = {'error': repr(error)}
    print(json.dumps(answer), flush=True)
