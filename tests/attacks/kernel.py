"""Rows 53-65: system calls that lead out or widen the attack surface."""

from attacks.attack import Attack

UNSHARE = """
for flags in (0x10000000, 0x10020000, 0x7e020000, 0x80):
    if libc.unshare(flags) == 0:
        won()
"""

CLONE = """
python = ctypes.PyDLL(None, use_errno=True)
python.syscall.restype = ctypes.c_long
for flags in (0x10000000, 0x30000000, 0x7e020000, 0x10000000 | 1 << 40):
    words = [ctypes.c_ulong(word) for word in (flags | signal.SIGCHLD, 0, 0, 0, 0)]
    child = python.syscall(ctypes.c_long(56 if X86 else 220), *words)
    if child == 0:
        os._exit(0)
    if child > 0:
        os.waitpid(child, 0)
        won()
"""

CLONE3 = """
python = ctypes.PyDLL(None, use_errno=True)
python.syscall.restype = ctypes.c_long
for flags in (0x10000000, 0x30000000):
    arguments = struct.pack("=11Q", flags, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, 0, 0, 0)
    child = python.syscall(ctypes.c_long(435), arguments, ctypes.c_ulong(len(arguments)))
    if child == 0:
        os._exit(0)
    if child > 0:
        os.waitpid(child, 0)
        won()
"""

MOUNT = """
os.chdir(os.environ.get("HOME", "."))
try:
    os.mkdir("mounted")
except OSError:
    pass
for source, kind, flags in ((b"none", b"tmpfs", 0), (b"/", None, 4096), (b"/", None, 32 | 4096)):
    if libc.mount(source, b"mounted", kind, ctypes.c_ulong(flags), None) == 0:
        libc.umount2(b"mounted", 2)
        won()
for handle in (
    call(430, 430, b"tmpfs", 0), call(428, 428, -100, b"/", 1), call(433, 433, -100, b"/", 0),
):
    if handle >= 0:
        won()
for path in (b"/proc", b"/tmp", b"/dev", b"/usr"):
    if libc.umount2(path, 2) == 0:
        libc.syscall(0)
        won()
    attributes = struct.pack("=QQQQ", 0, 1, 0, 0)  # take read-only away
    if call(442, 442, -100, path, 0, attributes, len(attributes)) == 0:
        won()
"""

CHROOT = """
os.chdir(os.environ.get("HOME", "."))
os.mkdir("root")
os.chroot("root")
os.chdir("../" * 20)
won()
"""

IO_URING = """
if not refused(call(425, 425, 4, bytes(120))):
    won()
"""

USERFAULTFD = """
for flags in (1, 0, os.O_NONBLOCK | 1):
    if not refused(call(323, 282, flags)):
        won()
"""

KEYS = """
if not refused(call(248, 217, b"user", H["name"].encode(), b"x", 1, -2)):
    won()
if not refused(call(250, 219, 0, -2, 1)):
    won()
if not refused(call(321, 280, 0, struct.pack("=IIIII", 2, 4, 8, 1, 0) + bytes(100), 120)):
    won()
"""

PERF = """
attributes = struct.pack("=IIQQQQQ", 1, 112, 0, 0, 0, 0, 1 << 5 | 1 << 6) + bytes(64)
if not refused(call(298, 241, attributes, 0, -1, -1, 0)):
    won()
"""

X32 = """
if not X86:
    lacking("x32")
else:
    try:
        child = os.fork()
    except OSError:
        child = 0
    if child == 0:
        if libc.syscall(ctypes.c_long(0x40000000 | 39)) == os.getpid():
            won()
        else:
            refused(-1)
    else:
        os.waitpid(child, 0)
"""

INT80 = """
if not X86:
    lacking("32-bit x86")
else:
    import mmap
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(bytes.fromhex("b814000000" "cd80" "c3"))  # getpid by its 32-bit number; return
    enter = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    try:
        child = os.fork()
    except OSError:
        child = 0
    if child == 0:
        if enter() == os.getpid():
            won()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGSEGV:
        lacking("32-bit calls")
"""

# Root's control changes nothing: it sets what is already so, and stops at the first success.
CLOCK = """
class Now(ctypes.Structure):
    _fields_ = [("s", ctypes.c_long), ("ns", ctypes.c_long)]
now = Now()
for attempt in (
    lambda: libc.settimeofday(None, struct.pack("=ii", 0, 0)),
    lambda: (libc.clock_gettime(0, ctypes.byref(now)), libc.clock_settime(0, ctypes.byref(now)))[1],
    lambda: libc.adjtimex(struct.pack("=I", 0x4000) + bytes(300)),
):
    if attempt() >= 0:
        won()
        break
"""

MEMFD = """
end = call(319, 279, b"x", 0)
if not refused(end):
    os.write(end, open("/bin/echo", "rb").read())
    try:
        child = os.fork()
    except OSError:
        child = 0
    if child == 0:
        os.execv("/proc/self/fd/%d" % end, ["echo", H["marker"]])
    os.waitpid(child, 0)
"""

ATTACKS = [
    Attack(number=53, name="user namespace by unshare", program=UNSHARE),
    Attack(number=54, name="by clone flags", program=CLONE),
    Attack(number=55, name="by clone3", program=CLONE3),
    Attack(number=56, name="mount", program=MOUNT, needs_root="mounts need a capability"),
    Attack(number=57, name="chroot and ..", program=CHROOT,
           needs_root="chroot needs a capability"),
    Attack(number=58, name="io_uring_setup", program=IO_URING),
    Attack(number=59, name="userfaultfd", program=USERFAULTFD),
    Attack(number=60, name="keyctl, add_key, bpf", program=KEYS),
    Attack(number=61, name="perf_event_open", program=PERF,
           needs_root="this machine keeps it for root"),
    Attack(number=62, name="x32 call numbers", program=X32),
    Attack(number=63, name="32-bit int 0x80", program=INT80),
    Attack(number=64, name="set the clock", program=CLOCK, needs_root="the clock is root's"),
    Attack(number=65, name="run a memfd (watched only)", program=MEMFD),
]  # fmt: skip
