"""Rows 45-52: memory, disk, output, a crash."""

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

from attacks.attack import LIMITS, Attack, Ran
from midfill.sandbox import Sandbox

if TYPE_CHECKING:
    from attacks.host import Host

MIB = 1 << 20
MOST_OUTPUT = 1100 << 10  # of what is kept, a little more than the limit

ONE_PROCESS = """
size = 1600 << 20
block = bytearray(size)
ctypes.memset(ctypes.addressof(ctypes.c_char.from_buffer(block)), 1, size)
won()
"""

# Each child says when its 400 MB are there; they stay until all have.
SIX_PROCESSES = """
import mmap
done, said = os.pipe()
for _ in range(6):
    if os.fork() == 0:
        size = 400 << 20
        block = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        ctypes.memset(ctypes.addressof(ctypes.c_char.from_buffer(block)), 1, size)
        os.write(said, b"x")
        time.sleep(3)
        os._exit(0)
os.close(said)
count = 0
while count < 6 and os.read(done, 1):
    count += 1
if count == 6:
    won()
"""

ONE_FILE = """
block = bytes(1 << 20)
for folder in (os.environ.get("HOME", "."), "/tmp", "/var/tmp", "/dev/shm", H["folder"]):
    path = folder + "/" + H["name"]
    try:
        with open(path, "wb", 0) as file:
            for _ in range(150):
                if file.write(block) < len(block):
                    raise OSError
        won()
    except OSError:
        pass
    finally:
        try:
            os.unlink(path)
        except OSError:
            pass
    
"""

MANY_FILES = """
block = bytes(10 << 20)
os.chdir(os.environ.get("HOME", "."))
for number in range(20):
    with open("large%d" % number, "wb", 0) as file:
        if file.write(block) < len(block):
            break
else:
    won()
"""

EMPTY_FILES = """
os.chdir(os.environ.get("HOME", "."))
for number in range(20_000):
    os.close(os.open("empty%d" % number, os.O_CREAT | os.O_WRONLY))
won()
"""

SPARSE = """
for folder in (os.environ.get("HOME", "."), "/dev/shm", "/tmp"):
    try:
        with open(folder + "/" + H["name"], "wb") as file:
            os.unlink(file.name)
            os.ftruncate(file.fileno(), 1 << 40)
            won()
    except OSError:
        pass
"""

FLOOD = """
block = b"flood " * 20_000
for _ in range(50 * 1000 * 1000 // len(block)):
    os.write(1, block)
"""


def kept_too_much(_: "Host", ran: Ran) -> str | None:
    """Whether the supervisor kept more than it should."""
    if len(ran.output) > MOST_OUTPUT:
        return f"{len(ran.output) / MIB:.0f} MiB were kept"
    return None


CRASH = """
import resource
try:
    resource.setrlimit(resource.RLIMIT_CORE, (1 << 20, 1 << 20))
except (OSError, ValueError):
    pass
os.chdir(os.environ.get("HOME", "."))
sys.setrecursionlimit(1 << 30)
class Deep:
    def __repr__(self):
        return repr(self)
repr(Deep())
"""


def crash(host: "Host", sandbox: Sandbox) -> str | None:
    """A crash is an error of the program, and leaves no image of its memory."""
    text = attack(52).text(host)
    verdict = sandbox.judge(f"{text}\ndef f(): return 1", "assert f() == 1", limits=LIMITS)
    if verdict.status != "error":
        return f"a crash is said to be {verdict.status}: {verdict.detail}"
    if sandbox.level == "C-strict":
        return None
    with sandbox.box({"attack.py": text.encode()}, LIMITS) as box:
        outcome = box.run((box.worker.python, "attack.py"))
        if outcome.ended != "signal":
            return f"a crash is said to be {outcome.ended}, {outcome.status}"
        for name in ("core", *(f"core.{number}" for number in range(100))):
            with contextlib.suppress(OSError):
                box.read(name)
                return f"it left its memory in {name}"
    return None


def left_core(_: "Host", ran: Ran) -> str | None:
    """Whether an image of a crashed program's memory lies where it ran."""
    return next((f"left {name}" for name in ran.left if name.startswith("core")), None)


# Not in the specification's list: memory of files without a name, which no process's account shows.
UNMAPPED = """
block = bytes(1 << 20)
total = 0
try:
    while total < 1600:
        end = call(319, 279, b"x", 0)
        if refused(end):
            break
        for _ in range(15):
            if os.write(end, block) < len(block):
                raise OSError
            total += 1
        if total == 750:
            say("more than 700 MB, ")
except OSError:
    pass
if total >= 1600:
    won()
    time.sleep(0.1)
"""

# Nor this: shared memory stays when no process has it mapped in, and no account shows it then.
UNSEEN = """
import mmap
def hold():
    for _ in range(12):
        block = mmap.mmap(-1, 25 << 20)
        ctypes.memset(ctypes.addressof(ctypes.c_char.from_buffer(block)), 1, 25 << 20)
        block.madvise(mmap.MADV_DONTNEED)
        held.append(block)

held = []
done, said = os.pipe()
for _ in range(6):
    if os.fork() == 0:
        hold()
        os.write(said, b"x")
        time.sleep(3)
        os._exit(0)
os.close(said)
count = 0
while count < 6 and os.read(done, 1):
    count += 1
if count == 6:
    won()
"""

ATTACKS = [
    Attack(number=45, name="1.6 GB in one process", program=ONE_PROCESS, measured=True,
           held_by="AS"),
    Attack(number=46, name="6 processes of 400 MB", program=SIX_PROCESSES, measured=True),
    Attack(number=47, name="fill one file, 150 MB", program=ONE_FILE, held_by="FSIZE"),
    Attack(number=48, name="20 files of 10 MB", program=MANY_FILES),
    Attack(number=49, name="20,000 empty files", program=EMPTY_FILES),
    Attack(number=50, name="sparse file of 1 TiB", program=SPARSE, held_by="FSIZE"),
    Attack(number=51, name="50 MB on stdout", program=FLOOD, effect=kept_too_much),
    Attack(number=52, name="crash in deep recursion", program=CRASH, drive=crash,
           effect=left_core, held_by="CORE"),
    Attack(number=69, name="1.6 GB in files without a name", program=UNMAPPED, held_by="NOFILE",
           limits=replace(LIMITS, cpu_s=4, wall_s=10)),
    Attack(number=70, name="1.8 GB of shared memory, unmapped", program=UNSEEN,
           limits=replace(LIMITS, cpu_s=4, wall_s=10)),
]  # fmt: skip


def attack(number: int) -> Attack:
    """The row of this number."""
    return next(row for row in ATTACKS if row.number == number)
