"""Tries what a user must not do to a process, and prints what was not refused.

Arguments: the process, a thread of it that acts for the user, and the numbers of
the system calls tgkill and prlimit64.
"""
import ctypes, errno, os, signal, sys
libc = ctypes.CDLL(None, use_errno=True)
pid, tid = int(sys.argv[1]), int(sys.argv[2])
TGKILL, PRLIMIT, PTRACE_ATTACH, NOFILE = int(sys.argv[3]), int(sys.argv[4]), 16, 7
PRIO_PROCESS, SCHED_IDLE = 0, 5
limit = (ctypes.c_uint64 * 2)(8, 8)
processors, priority = (ctypes.c_uint64 * 1)(1), ctypes.c_int(0)
tries = {
    'kill': lambda: libc.kill(pid, 0),
    'kill a thread': lambda: libc.kill(tid, 0),
    'tgkill': lambda: libc.syscall(TGKILL, pid, tid, signal.SIGKILL),
    'prlimit': lambda: libc.syscall(PRLIMIT, pid, NOFILE, limit, None),
    'prlimit a thread': lambda: libc.syscall(PRLIMIT, tid, NOFILE, limit, None),
    # By effective ids; what keeps him away are the capabilities that the thread has.
    'setpriority': lambda: libc.setpriority(PRIO_PROCESS, tid, 19),
    'sched_setaffinity': lambda: libc.sched_setaffinity(tid, 8, processors),
    'sched_setscheduler': lambda: libc.sched_setscheduler(tid, SCHED_IDLE, ctypes.byref(priority)),
    'ptrace': lambda: libc.ptrace(PTRACE_ATTACH, tid, None, None),
}
for name, call in tries.items():
    ctypes.set_errno(0)
    if call() != -1 or ctypes.get_errno() != errno.EPERM:
        print(name, os.strerror(ctypes.get_errno()))
try:
    open(f'/proc/{pid}/task/{tid}/mem', 'rb')
    print('mem')
except PermissionError:
    pass
