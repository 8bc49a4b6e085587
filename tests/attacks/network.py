"""Rows 17-27: network, sockets, memory that processes share."""

from typing import TYPE_CHECKING

from attacks.attack import Attack
from attacks.files import left_outside
from midfill.sandbox import Sandbox

if TYPE_CHECKING:
    from attacks.host import Host

TCP = """
for address in ("127.0.0.1", "0.0.0.0", "::ffff:127.0.0.1"):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        socket.socket(family, socket.SOCK_STREAM).connect((address, H["tcp"]))
        won()
    except OSError:
        pass
"""

UDP = """
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", H["udp"]))
"""


def datagram_came(host: "Host", _: object) -> str | None:
    """Whether the host's own socket got what was sent."""
    return "a datagram came" if host.datagram() else None


UDP6 = """
try:
    end = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    end.connect(("::1", 53))
    end.send(b"x")
    won()
except OSError as error:
    if error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
        lacking("IPv6")
"""

ABSTRACT = """
socket.socket(socket.AF_UNIX).connect("\\0" + H["marker"])
won()
"""

PATH = """
socket.socket(socket.AF_UNIX).connect(H["socket"])
won()
"""

NETLINK = """
for protocol in (0, 4, 9, 15, 16):
    try:
        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol).bind((0, 0))
        won()
    except OSError:
        pass
"""

PACKET = """
for family, kind, protocol in (
    (socket.AF_PACKET, socket.SOCK_RAW, 0x300), (socket.AF_PACKET, socket.SOCK_DGRAM, 0x300),
    (socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP), (socket.AF_INET, socket.SOCK_RAW, 255),
):
    try:
        socket.socket(family, kind, protocol)
        won()
    except OSError:
        pass
"""

VSOCK = """
for family in (40, 38, 16, 31, 44, 45):  # vsock, alg, tipc and other rarely used families
    try:
        socket.socket(family, socket.SOCK_STREAM if family != 38 else socket.SOCK_SEQPACKET)
        won()
    except OSError:
        pass
"""

SHARED_MEMORY = """
number = call(29, 194, 0, 4096, 0o1600)
if number >= 0:
    if call(30, 196, number, 0, 0) != -1:
        won()
    call(31, 195, number, 0, 0)
"""

QUEUES = """
for make, arguments, remove in (
    ((64, 190), (0, 1, 0o1600), (66, 191)),
    ((68, 186), (0, 0o1600), (71, 187)),
):
    number = call(*make, *arguments)
    if number >= 0:
        won()
        call(*remove, number, 0, 0)
name = H["name"].encode()
if call(240, 180, name, os.O_RDWR | os.O_CREAT, 0o600, None) >= 0:
    won()
    call(241, 181, name)
"""

DROP = """
for folder in ("/dev/shm", os.environ.get("HOME", "."), "/tmp", "."):
    try:
        open(folder + "/" + H["name"], "w").close()
    except OSError:
        pass
"""

FIND = """
for folder in ("/dev/shm", os.environ.get("HOME", "."), "/tmp", "."):
    if os.path.exists(folder + "/" + H["name"]):
        won()
"""


def leave_for_the_next(host: "Host", sandbox: Sandbox) -> str | None:
    """One run leaves a file wherever it can, another one looks for it, on the same worker."""
    from attacks.running import in_box, sealed

    ways = [sealed] if sandbox.level == "C-strict" else [sealed, in_box]
    drop = Attack(number=27, name="", program=DROP)
    find = Attack(number=27, name="", program=FIND)
    for first in ways:
        for second in ways:
            first(drop, host, sandbox)
            if host.marker.encode() in second(find, host, sandbox).output:
                return "the next run found the file"
            if found := left_outside(host, None):
                return found
    return None


ATTACKS = [
    Attack(number=17, name="TCP to a loopback listener", program=TCP),
    Attack(number=18, name="UDP datagram", program=UDP, effect=datagram_came),
    Attack(number=19, name="UDP over IPv6 to the DNS port", program=UDP6),
    Attack(number=20, name="abstract unix socket", program=ABSTRACT),
    Attack(number=21, name="unix socket by path", program=PATH),
    Attack(number=22, name="netlink socket", program=NETLINK),
    Attack(number=23, name="packet and raw sockets", program=PACKET,
           needs_root="the kernel gives raw sockets to root only"),
    Attack(number=24, name="vsock and rare families", program=VSOCK),
    Attack(number=25, name="SysV shared memory", program=SHARED_MEMORY),
    Attack(number=26, name="semaphores and queues", program=QUEUES),
    Attack(number=27, name="file left in /dev/shm for the next", program=DROP,
           effect=left_outside, drive=leave_for_the_next),
]  # fmt: skip
