"""Archives made to harm: each ends in a counted reason, nothing is written, memory stays bounded."""

import bz2
import gzip
import io
import lzma
import random
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from midfill.config.corpus.sources import ReadLimits
from midfill.corpus.record import Repository
from midfill.corpus.sources import ArchiveSource

zstandard = pytest.importorskip("zstandard", reason="no zstandard: pip install 'midfill[corpus]'")

LIMITS = ReadLimits()
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "tar": bytes,
    "tar.gz": gzip.compress,
    "tar.bz2": bz2.compress,
    "tar.xz": lzma.compress,
    "tar.zst": zstandard.ZstdCompressor(write_checksum=True).compress,
}


def read(
    folder: Path, data: bytes, name: str = "p-1.tar", limits: ReadLimits = LIMITS
) -> Repository:
    path = folder / name
    path.write_bytes(data)
    source = ArchiveSource(path=str(path))
    (reference,) = source.references()
    return source.read(reference, limits)


def reasons(found: Repository) -> dict[str, int]:
    return dict(Counter(item.drop.reason for item in found.unread))


def whole(found: Repository) -> str:
    """The reason for which an archive gave nothing at all."""
    assert not found.documents
    (item,) = found.unread
    assert item.path == ""
    return item.drop.reason


def tar(*members: tuple[str, bytes] | tarfile.TarInfo, format: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                archive.addfile(info, io.BytesIO(member[1]))
    return out.getvalue()


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def zipped(
    *members: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED
) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return out.getvalue()


FILES = (("p-1/a.py", b"import b\n"), ("p-1/src/b.py", "x = 'ü'\r\n".encode()), ("p-1/e", b""))


@pytest.mark.parametrize("kind", COMPRESS)
def test_every_compression_gives_the_same_documents(tmp_path: Path, kind: str):
    found = read(tmp_path, COMPRESS[kind](tar(*FILES)), f"p-1.{kind}")
    texts = {doc.path: doc.text for doc in found.documents}
    assert texts == {"a.py": "import b\n", "src/b.py": "x = 'ü'\r\n", "e": ""}
    assert [doc.size for doc in found.documents] == [9, 0, 10]
    assert not found.unread


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_zip_methods(tmp_path: Path, method: int):
    found = read(tmp_path, zipped(*FILES, method=method), "p-1.zip")
    assert [doc.path for doc in found.documents] == ["a.py", "e", "src/b.py"]
    assert not found.unread


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_of_every_tar_format(tmp_path: Path, format: int):
    name = "p-1/" + "d" * 90 + "/" + "f" * 60 + ".py"
    found = read(tmp_path, tar((name, b"x\n"), format=format), limits=ReadLimits())
    assert [doc.path for doc in found.documents] == [name.removeprefix("p-1/")]


def test_a_top_folder_that_is_not_the_archives_stays(tmp_path: Path):
    found = read(tmp_path, tar(("src/a.py", b"")), "other.tar")
    assert [doc.path for doc in found.documents] == ["src/a.py"]


BAD_NAMES = {
    "../../up.py": "traversal",
    "a/../../up.py": "traversal",
    "/etc/passwd": "absolute",
    "C:/windows": "drive",
    "c:x": "drive",
    "a\\b.py": "backslash",
    "line\nbreak.py": "path_character",
    "d/" * 65 + "x": "path_depth",
    "n" * 1025: "path_length",
    "p/.git/config": "version_control",
}


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_that_are_refused(tmp_path: Path, name: str):
    for data, kind in (
        (tar((name, b"x"), ("ok.py", b"")), "t.tar"),
        (zipped((name, b"x"), ("ok.py", b"")), "t.zip"),
    ):
        found = read(tmp_path, data, kind)
        assert reasons(found) == {BAD_NAMES[name]: 1}
        assert [doc.path for doc in found.documents] == ["ok.py"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.tar", "t.zip"]


def test_names_that_are_no_utf8(tmp_path: Path):
    data = tar(("abcdef", b"x"), ("ok", b""), format=tarfile.USTAR_FORMAT)
    header = bytearray(data[:512])
    header[2:4] = b"\xff\xfe"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    assert reasons(read(tmp_path, bytes(header) + data[512:])) == {"name_encoding": 1}
    packed = zipped(("abcdef", b"x"), ("ok", b"")).replace(b"abcdef", b"ab\xff\xfeef")
    assert reasons(read(tmp_path, packed, "t.zip")) == {"name_encoding": 1}


def test_links_devices_and_duplicates_are_counted_not_followed(tmp_path: Path):
    members = [
        ("r/a.py", b"first"),
        ("./r/a.py", b"second"),
        special("r/in", tarfile.SYMTYPE, "sub/../a.py"),
        special("r/out", tarfile.SYMTYPE, "../../etc/passwd"),
        special("r/abs", tarfile.SYMTYPE, "/etc/passwd"),
        special("r/hard", tarfile.LNKTYPE, "r/a.py"),
        special("r/hard_out", tarfile.LNKTYPE, "../x"),
        special("r/null", tarfile.CHRTYPE),
        special("r/disk", tarfile.BLKTYPE),
        special("r/pipe", tarfile.FIFOTYPE),
        special("r/folder", tarfile.DIRTYPE),
        special("../folder", tarfile.DIRTYPE),
        special("r/odd", b"V"),
    ]
    found = read(tmp_path, tar(*members))
    assert [doc.text for doc in found.documents] == ["first"]
    assert reasons(found) == {
        "duplicate_name": 1, "link": 2, "link_outside": 3, "device": 2, "fifo": 1, "traversal": 1,
        "type_86": 1,
    }  # fmt: skip


def test_zip_links(tmp_path: Path):
    def entry(name: str) -> zipfile.ZipInfo:
        info = zipfile.ZipInfo(name)
        info.create_system, info.external_attr = 3, 0o120777 << 16
        return info

    found = read(
        tmp_path, zipped((entry("a"), b"b"), (entry("c"), b"../../x"), ("b", b"")), "t.zip"
    )
    assert reasons(found) == {"link": 1, "link_outside": 1}


@pytest.mark.parametrize("kind", COMPRESS)
def test_a_cut_archive_is_dropped_as_a_whole(tmp_path: Path, kind: str):
    noise = random.Random(0).randbytes(60_000).hex().encode()
    data = COMPRESS[kind](tar(("p/a.py", b"ok\n"), ("p/b.txt", noise), ("p/c.py", b"end\n")))
    assert len(read(tmp_path, data, f"t.{kind}").documents) == 3
    for cut in (len(data) // 2, len(data) - 1 if kind != "tar" else 600, 700, 5):
        assert whole(read(tmp_path, data[:cut], f"t.{kind}")) in ("truncated", "format")


def test_a_cut_zip_and_a_flipped_byte(tmp_path: Path):
    data = zipped(("a.txt", b"hello " * 200), ("b.txt", b"world"))
    assert whole(read(tmp_path, data[:-30], "t.zip")) == "truncated"
    at = data.index(b"a.txt") + 8
    broken = data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]
    found = read(tmp_path, broken, "t.zip")
    assert [doc.path for doc in found.documents] == ["b.txt"]
    assert set(reasons(found)) <= {"damaged", "wrong_size"}


def test_a_wrong_checksum_drops_the_archive(tmp_path: Path):
    data = gzip.compress(tar(*FILES))
    assert whole(read(tmp_path, data[:-8] + b"\0\0\0\0" + data[-4:], "t.tar.gz")) == "damaged"


def test_zip_sizes_that_lie(tmp_path: Path):
    data = zipped(("a.txt", b"x" * 1000), ("b.txt", b"ok"))
    for false in (10, 5000):
        lying = data.replace(struct.pack("<L", 1000), struct.pack("<L", false))
        found = read(tmp_path, lying, "t.zip")
        assert reasons(found) == {"wrong_size": 1}
        assert [doc.path for doc in found.documents] == ["b.txt"]


def test_encrypted_and_unknown_zip_members(tmp_path: Path):
    data = bytearray(zipped(("a.txt", b"x"), ("b.txt", b"ok"), method=zipfile.ZIP_STORED))
    data[6] |= 1
    data[data.index(b"PK\1\2") + 8] |= 1
    assert reasons(read(tmp_path, bytes(data), "t.zip")) == {"encrypted": 1}
    data = bytearray(zipped(("a.txt", b"x"), ("b.txt", b"ok"), method=zipfile.ZIP_STORED))
    data[8] = data[data.index(b"PK\1\2") + 10] = 97
    assert reasons(read(tmp_path, bytes(data), "t.zip")) == {"compression": 1}


def flat_bomb(times: int) -> bytes:
    """A zip whose directory names the same stored bytes again and again (Fifield 2019)."""
    body = zlib.compress(bytes(1 << 22), 9)[2:-4]
    crc = zlib.crc32(bytes(1 << 22))
    local = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 8, 0, 0, crc, len(body), 1 << 22, 3, 0)
    out = local + b"f00" + body
    start = len(out)
    for number in range(times):
        name = b"%03d" % number if number else b"f00"
        numbers = (crc, len(body), 1 << 22, 3, 0, 0, 0, 0, 0, 0)
        out += struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 8, 0, 0, *numbers) + name
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, times, times, len(out) - start, start, 0)
    return out + end


def test_zip_bombs(tmp_path: Path):
    assert whole(read(tmp_path, flat_bomb(10), "t.zip")) == "bomb"
    large = tmp_path / "large.zip"
    with zipfile.ZipFile(large, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("z", bytes(65 << 20))
    assert whole(read(tmp_path, large.read_bytes(), "t.zip")) == "bomb"


def test_small_zeros_are_no_bomb(tmp_path: Path):
    assert reasons(read(tmp_path, zipped(("z", bytes(1 << 20))), "t.zip")) == {"binary": 1}


def test_archives_inside_archives_stay_closed(tmp_path: Path):
    inner = gzip.compress(tar(("x.py", b"hidden")))
    assert reasons(read(tmp_path, tar(("p/in.tar.gz", inner)))) == {"binary": 1}


def test_what_is_no_archive(tmp_path: Path):
    for data in (b"print('hello')\n" * 100, b"\0" * 100, b"", random.Random(1).randbytes(5000)):
        assert whole(read(tmp_path, data, "t.tar")) in ("format", "truncated", "damaged")
    assert whole(read(tmp_path, gzip.compress(b"text " * 500), "t.tar.gz")) == "format"


def test_headers_without_measure(tmp_path: Path):
    def record(kind: bytes, size: int) -> bytes:
        info = special("x", kind)
        info.size = size
        return info.tobuf(tarfile.USTAR_FORMAT)

    for kind in (b"x", b"g", b"L", b"K"):
        data = gzip.compress(record(kind, 5 << 20) + bytes(5 << 20) + tar(*FILES))
        assert whole(read(tmp_path, data, "t.tar.gz")) == "header_size"
    bad = record(b"x", 512) + b"99999 path=x\n".ljust(512, b"\0") + tar(*FILES)
    assert whole(read(tmp_path, bad)) == "damaged"
    endless = record(b"x", 0) * 3000
    assert whole(read(tmp_path, endless, limits=ReadLimits(members=1000))) == "members"
    negative = bytearray(special("x", b"0").tobuf(tarfile.USTAR_FORMAT))
    negative[124:136] = b"\xff" * 12
    negative[148:156] = b" " * 8
    negative[148:156] = b"%06o\0 " % sum(negative)
    assert whole(read(tmp_path, bytes(negative) + bytes(1024))) == "damaged"


def test_sparse_members(tmp_path: Path):
    info = special("sparse.bin", b"S")
    info.size = 512
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[482] = 1
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    more = bytes(504) + b"\1" + bytes(7)
    tail = tar(("ok.py", b""))
    found = read(tmp_path, bytes(header) + more + bytes(512) + bytes(512) + tail)
    assert reasons(found) == {"sparse": 1}
    assert [doc.path for doc in found.documents] == ["ok.py"]
    assert (
        whole(read(tmp_path, bytes(header) + more * 2000, limits=ReadLimits(members=99)))
        == "damaged"
    )
    sparse = tarfile.TarInfo("p")
    sparse.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.realsize": "9999999999999"}
    assert reasons(read(tmp_path, tar(sparse))) == {"sparse_pax": 1}


def test_limits_of_one_repository(tmp_path: Path):
    data = tar(*((f"p/{i}.txt", b"x" * 1000) for i in range(20)))
    assert whole(read(tmp_path, data, limits=ReadLimits(members=19))) == "members"
    assert whole(read(tmp_path, data, limits=ReadLimits(total_bytes=19_999))) == "total_size"
    assert (
        len(read(tmp_path, data, limits=ReadLimits(members=20, total_bytes=20_000)).documents) == 20
    )
    assert reasons(read(tmp_path, data, limits=ReadLimits(file_bytes=999))) == {"file_size": 20}
    packed = zipped(*((f"p/{i}.txt", b"x" * 1000) for i in range(20)))
    assert whole(read(tmp_path, packed, "t.zip", ReadLimits(members=19))) == "members"
    assert whole(read(tmp_path, packed, "t.zip", ReadLimits(total_bytes=19_999))) == "total_size"


def test_broken_archives_never_raise(tmp_path: Path):
    """Every byte of small archives changed in turn, and random cuts: a result each time."""
    rng = random.Random(3)
    small = tar(("p/a.py", b"x = 1\n"), special("p/l", tarfile.SYMTYPE, "a.py"))[:3072]
    archives = {"t.tar": small, "t.zip": zipped(*FILES), "t.tar.xz": lzma.compress(small),
                "t.tar.zst": COMPRESS["tar.zst"](small), "t.tar.bz2": bz2.compress(small)}  # fmt: skip
    for name, data in archives.items():
        for _ in range(40):
            broken = bytearray(data)
            broken[rng.randrange(len(data))] = rng.randrange(256)
            cut = len(data) if rng.random() < 0.7 else rng.randrange(len(data))
            found = read(tmp_path, bytes(broken[:cut]), name)
            assert found.documents or found.unread


BOUNDED = """
import resource, sys
from midfill.config.corpus.sources import ReadLimits
from midfill.corpus.sources import ArchiveSource
import zstandard
(reference,) = (source := ArchiveSource(path=sys.argv[1])).references()
from midfill.corpus.sources import names, tarball, zipped
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (300 << 20),) * 2)
found = source.read(reference, ReadLimits(members=int(sys.argv[2])))
print(len(found.documents), *sorted({item.drop.reason for item in found.unread}))
"""


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "tar.gz": lambda data: gzip.compress(data, 1),
    "tar.bz2": lambda data: bz2.compress(data, 1),
    "tar.xz": lambda data: lzma.compress(data, preset=0),
    "tar.zst": zstandard.ZstdCompressor(level=1).compress,
}


def repeated(kind: str, data: bytes, times: int) -> bytes:
    """`data` so many times over: compressed once, since members may follow one another."""
    return PACKERS[kind](data) * times


@pytest.mark.parametrize("kind", PACKERS)
def test_ten_gigabytes_of_zeros_within_300_mib(tmp_path: Path, kind: str):
    info = tarfile.TarInfo("zeros")
    info.size = 10 << 30
    head = PACKERS[kind](info.tobuf(tarfile.GNU_FORMAT))
    path = tmp_path / f"bomb.{kind}"
    path.write_bytes(head + repeated(kind, bytes(1 << 20), 10 << 10))
    assert bounded(path) == "0 bomb"


def bounded(path: Path, members: int = LIMITS.members) -> str:
    """What a process with little memory says of an archive."""
    if sys.platform != "linux":
        pytest.skip("the address space of a process is bounded on Linux only")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", BOUNDED, str(path), str(members)],
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_million_empty_members(tmp_path: Path):
    names = b"".join(
        special(f"{number}", b"0").tobuf(tarfile.USTAR_FORMAT) for number in range(1000)
    )
    path = tmp_path / "many.tar.gz"
    path.write_bytes(repeated("tar.gz", names, 1000))
    assert bounded(path, members=20_000) == "0 members"


def test_xz_that_asks_for_a_gibibyte(tmp_path: Path):
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 256 << 20, "preset": 0}]
    data = lzma.compress(tar(*FILES), filters=filters)
    assert whole(read(tmp_path, data, "t.tar.xz")) == "damaged"


def test_debian_sources(tmp_path: Path):
    import hashlib

    original = COMPRESS["tar.xz"](tar(("p-1/main.c", b"int x;\n")))
    (tmp_path / "p_1.orig.tar.xz").write_bytes(original)
    (tmp_path / "p_1-1.debian.tar.xz").write_bytes(lzma.compress(tar(("debian/rules", b"x"))))
    digest = hashlib.sha256(original).hexdigest()
    lines = f" {digest} {len(original)} p_1.orig.tar.xz\n {'0' * 64} 1 p_1-1.debian.tar.xz\n"
    (tmp_path / "p_1-1.dsc").write_text(f"Source: p\nChecksums-Sha256:\n{lines}Files:\n")
    source = ArchiveSource(path=str(tmp_path), kind="debian")
    (reference,) = source.references()
    assert [doc.path for doc in source.read(reference, LIMITS).documents] == ["main.c"]
    (tmp_path / "p_1.orig.tar.xz").write_bytes(original + b"x")
    assert whole(source.read(reference, LIMITS)) == "sha256"
    (tmp_path / "p_1.orig.tar.xz").unlink()
    assert whole(source.read(reference, LIMITS)) == "absent"
