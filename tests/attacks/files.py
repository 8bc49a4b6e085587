"""Rows 1-16, 71 and 72: files, secrets, what /proc tells."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from attacks.attack import Attack
from midfill.sandbox import Sandbox

if TYPE_CHECKING:
    from attacks.host import Host

READ = """
say(open(H["secret"], "rb").read())
"""

ENVIRONMENT = """
libc.getenv.restype = ctypes.c_char_p
say(libc.getenv(H["variable"].encode()) or b"")
say(os.environ.get(H["variable"], ""))
say(open("/proc/self/environ", "rb").read())
"""

ENVIRONMENTS = """
seen = [int(name) for name in os.listdir("/proc") if name.isdigit()]
for process in {1, os.getppid(), H["supervisor"], *range(2, 40), *seen} - {os.getpid()}:
    for name in ("environ", "task/%d/environ" % process):
        try:
            say(open("/proc/%d/%s" % (process, name), "rb").read())
        except OSError:
            pass
"""

TESTS = """
places = [H["tests"], os.path.join(os.getcwd(), "hidden_tests.py")]
for top in (os.getcwd(), "..", "/tmp", "/var/tmp", "/dev/shm"):
    for folder, folders, names in os.walk(top):
        places += [os.path.join(folder, name) for name in names if name == "hidden_tests.py"]
        folders[:] = folders if folder == top else []
for place in places:
    try:
        say(open(place, "rb").read())
    except OSError:
        pass
"""

HARNESS = """
for path in (H["harness"], H["source"], os.__file__, "/usr/bin/env"):
    try:
        os.close(os.open(path, os.O_WRONLY))
        won()
    except OSError:
        pass
try:
    os.truncate(H["harness"], 0)
    won()
except OSError:
    pass
try:
    os.rename(H["harness"], H["harness"] + ".old")
    won()
except OSError:
    pass
"""

OUTSIDE = """
for folder in (*H["shared"], H["folder"], "/proc/%d/root/tmp" % H["supervisor"], "/proc/1/root/tmp"):
    for make in (lambda p: open(p, "w").close(), os.mkfifo, os.mkdir):
        try:
            make(folder + "/" + H["name"])
            break
        except OSError:
            pass
"""


def left_outside(host: "Host", _: object) -> str | None:
    """Files that the program could make where others see them."""
    found = host.dropped()
    return f"made {', '.join(map(str, found))}" if found else None


SYMLINK = """
os.chdir(os.environ.get("HOME", "."))
os.symlink(H["secret"], "link")
say(open("link", "rb").read())
"""

HARD_LINK = """
os.chdir(os.environ.get("HOME", "."))
try:
    os.link(H["secret"], H["folder"] + "/hard")
    say(open(H["folder"] + "/hard", "rb").read())
    os.unlink(H["folder"] + "/hard")
except OSError:
    os.link(H["secret"], "hard")
    say(open("hard", "rb").read())
"""

LINKS = """
os.chdir(os.environ.get("HOME", "."))
os.symlink(H["secret"], "answer")
os.symlink(H["folder"], "folder")
os.symlink("/proc/self/environ", "environ")
try:
    os.mkfifo("pipe")  # opening it would wait for a writer
except OSError:
    pass
"""


def read_through_links(host: "Host", sandbox: Sandbox) -> str | None:
    """The supervisor reads back what the program left: links must not lead it out."""
    attack = next(a for a in ATTACKS if a.number == 8)
    names = ("answer", "folder/secret", "environ", "pipe")
    with sandbox.box({"attack.py": attack.text(host).encode()}) as box:
        outcome = box.run((box.worker.python, "-I", "-S", "attack.py"))
        assert outcome.ok, outcome.stderr
        for name in names:
            try:
                data = box.read(name)
            except OSError:
                continue
            if data:
                return f"the supervisor read {data[:40]!r} through {name}"
        try:
            box.write("folder/" + host.name, b"x")
            box.write("answer", b"changed")
        except OSError:
            pass
    if host.files["secret"].read_text() != host.secret:
        host.files["secret"].write_text(host.secret)
        return "the supervisor wrote through a link"
    return left_outside(host, None)


def links_alone(host: "Host") -> str | None:
    """A supervisor that opens what lies in the directory where the program ran."""
    from attacks.running import unprotected

    attack = next(a for a in ATTACKS if a.number == 8)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        unprotected(attack, host, Path(folder))
        return "read through a link" if host.secret in Path(folder, "answer").read_text() else None


PATHS = ("../x", "/etc/x", "a/../../x", "a//x", "./x", "", "a\0b", "..", "a/..", "/")


def leave_by_path(host: "Host", sandbox: Sandbox) -> str | None:
    """Files that the sandbox delivers, under names that lead out of the box."""
    named = [path.replace("x", host.name) for path in PATHS]
    with sandbox.box() as box:
        for path in named:
            for deliver in (lambda p: box.write(p, b"x"), box.read):
                try:
                    deliver(path)
                except ValueError:
                    continue
                return f"{path!r} was taken for a name inside"
    for path in ("", f"../{host.name}", f"/tmp/{host.name}"):
        try:
            with sandbox.box({path: b"x"}):
                return f"{path!r} was taken for a name inside"
        except ValueError:
            pass
    return left_outside(host, None)


def paths_alone(host: "Host") -> str | None:
    """A supervisor that joins a directory and a name."""
    with tempfile.TemporaryDirectory(dir=host.folder) as folder:
        Path(folder, f"../{host.name}").write_text("x")
    return left_outside(host, None)


DESCRIPTORS = """
for number in range(3, 1024):
    try:
        say(os.pread(number, 100, 0))
    except OSError:
        pass
    try:
        say(open("/proc/self/fd/%d" % number, "rb").read(100) if number > 9 else b"")
    except OSError:
        pass
for process in (os.getppid(), H["supervisor"], H["victim"]):
    try:
        for name in os.listdir("/proc/%d/fd" % process):
            path = "/proc/%d/fd/%s" % (process, name)
            if "secret" in os.readlink(path):
                say(open(path, "rb").read())
    except OSError:
        pass
"""

DEVICES = """
import stat
names = "mem kmem port kvm fuse kmsg vda sda nvme0n1 loop0 loop-control mapper/control net/tun".split()
for name in names:
    for flags in (os.O_RDWR, os.O_RDONLY):
        try:
            os.close(os.open("/dev/" + name, flags | os.O_NONBLOCK))
            say(name + " ")
            won()
        except OSError:
            pass
for path in (H["folder"] + "/disk", os.environ.get("HOME", ".") + "/disk"):
    try:
        os.mknod(path, stat.S_IFBLK | 0o600, os.makedev(254, 0))
        won()
        os.unlink(path)
    except OSError:
        pass
"""

CORE_PATTERN = """
for name in ("kernel/core_pattern", "kernel/modprobe", "vm/overcommit_memory", "kernel/hostname"):
    try:
        os.close(os.open("/proc/sys/" + name, os.O_WRONLY))
        say(name)
        won()
    except OSError:
        pass
"""

CGROUP = """
for top in ("/sys/fs/cgroup", "/proc/1/root/sys/fs/cgroup"):
    for folder in ("", "memory", "pids", "cpu", "unified", "systemd"):
        for name in ("cgroup.procs", "release_agent", "memory.limit_in_bytes", "pids.max", "memory.max"):
            try:
                os.close(os.open(os.path.join(top, folder, name), os.O_WRONLY))
                say(os.path.join(folder, name))
                won()
            except OSError:
                pass
"""

LIST = """
me = str(os.getpid())
for name in {str(H["victim"]), *os.listdir("/proc")} - {me, "self", "thread-self"}:
    try:
        if name.isdigit():
            say(open("/proc/%s/cmdline" % name, "rb").read())
    except OSError:
        pass
"""

MEMORY = """
for path in ("/proc/%d/mem" % H["victim"], "/proc/%d/task/%d/mem" % (H["victim"], H["victim"])):
    with open(path, "rb", 0) as memory:
        memory.seek(H["address"])
        say(memory.read(H["size"]))
"""

# Not in the specification's list. The kernel asks whose the file is, and Landlock is not asked at all.
MODES = """
path, times = H["tests"].encode(), struct.pack("=4Q", 1, 0, 1, 0)
if 0 in (
    call(268, 53, -100, path, 0o644),
    call(452, 452, -100, path, 0o644, 0),
    call(280, 88, -100, path, times, 0),
    *(call(number, 0, path, 0o644 if number == 90 else times) for number in (90, 132, 235) if X86),
):
    won()
"""

OWNERS = """
path, value = H["tests"].encode(), struct.pack("=QII", 0, 0, 0)
watch = call(294, 26, 0)
if 0 in (
    call(260, 54, -100, path, -1, os.getgid(), 0),
    call(188, 5, path, b"user.noted", b"x", 1, 0),
    call(197, 14, path, b"user.noted"),
    call(463, 463, -100, path, 0, b"user.noted", value, 16),
    call(466, 466, -100, path, 0, b"user.noted"),
    call(469, 469, -100, path, bytes(24), 24, 0),
    min(0, call(254, 27, watch, H["folder"].encode(), 0xfff)),
):
    won()
"""

_ROOTS = "devices and kernel settings belong to root"

ATTACKS = [
    Attack(number=1, name="read a protected file", program=READ),
    Attack(number=2, name="secret from the environment", program=ENVIRONMENT),
    Attack(number=3, name="/proc/<others>/environ", program=ENVIRONMENTS),
    Attack(number=4, name="read the hidden tests' file", program=TESTS),
    Attack(number=5, name="overwrite the harness's source", program=HARNESS),
    Attack(number=6, name="create a file outside", program=OUTSIDE, effect=left_outside),
    Attack(number=7, name="symlink to an outside file", program=SYMLINK),
    Attack(number=8, name="symlink read by the supervisor", program=LINKS, drive=read_through_links,
           alone=links_alone),
    Attack(number=9, name="hard link to a protected file", program=HARD_LINK),
    Attack(number=10, name="files delivered by `..`, absolute", drive=leave_by_path,
           alone=paths_alone),
    Attack(number=11, name="inherited descriptor of a secret", program=DESCRIPTORS),
    Attack(number=12, name="device nodes", program=DEVICES, needs_root=_ROOTS),
    Attack(number=13, name="core_pattern for writing", program=CORE_PATTERN, needs_root=_ROOTS),
    Attack(number=14, name="cgroup files for writing", program=CGROUP, needs_root=_ROOTS),
    Attack(number=15, name="list the machine's processes", program=LIST),
    Attack(number=16, name="open /proc/<victim>/mem", program=MEMORY),
    Attack(number=71, name="mode and times of a file outside", program=MODES),
    Attack(number=72, name="owner, notes, watch of one outside", program=OWNERS),
]  # fmt: skip
