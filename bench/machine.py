"""The machine a figure was measured on: its processor, who else uses it, how fast it reads memory.

python bench/machine.py [--threads 2]
"""

import argparse
import ctypes
import functools
import hashlib
import json
import os
import platform
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

BUFFER = 1 << 30  # bytes read for the bandwidth: far more than any cache holds

# Sums 64-bit words of a buffer by a prefetching loop, each thread its own part. The caller chooses
# how far ahead to fetch; the best of several distances is what this memory gives.
READER = r"""
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
typedef uint64_t line __attribute__((vector_size(64)));
typedef struct { const line *from; size_t lines; long ahead; uint64_t sum; } part;

static void *sum_lines(void *given) {
    part *p = given;
    line a = {0}, b = {0}, c = {0}, d = {0};
    for (size_t i = 0; i + 4 <= p->lines; i += 4) {
        const line *at = p->from + i;
        if (p->ahead) {
            for (int j = 0; j < 4; j++) __builtin_prefetch((const char *)(at + j) + p->ahead, 0, 0);
        }
        a += at[0]; b += at[1]; c += at[2]; d += at[3];
    }
    a += b + c + d;
    for (int j = 0; j < 8; j++) p->sum += a[j];
    return NULL;
}

uint64_t sum_all(const void *buffer, size_t bytes, int threads, long ahead) {
    pthread_t running[64];
    part parts[64];
    size_t each = bytes / 64 / threads;
    uint64_t sum = 0;
    for (int i = 0; i < threads; i++) {
        parts[i] = (part){(const line *)buffer + i * each, each, ahead, 0};
        pthread_create(&running[i], NULL, sum_lines, &parts[i]);
    }
    for (int i = 0; i < threads; i++) {
        pthread_join(running[i], NULL);
        sum += parts[i].sum;
    }
    return sum;
}
"""


@functools.cache
def _reader() -> ctypes.CDLL | None:
    """The compiled loop; None on a machine without a C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder) / "reader.c", Path(folder) / "reader.so"
        source.write_text(READER)
        flags = ["-O3", "-march=native", "-shared", "-fPIC", "-pthread", "-w"]
        done = subprocess.run([compiler, *flags, "-o", str(library), str(source)], check=False)
        if done.returncode:
            return None
        loaded = ctypes.CDLL(str(library))
    loaded.sum_all.restype = ctypes.c_uint64
    loaded.sum_all.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_long]
    return loaded


def read_bandwidth(threads: int, buffer: int = BUFFER, repeats: int = 8) -> float | None:
    """Bytes a second that `threads` threads read from memory, the best of several loops."""
    import numpy as np

    reader = _reader()
    if reader is None:
        return None
    words = np.ones(buffer // 8 + 8, dtype=np.uint64)
    address = -(-words.ctypes.data // 64) * 64
    best = 0.0
    for ahead in (0, 2048, 4096, 8192):
        for _ in range(repeats):
            start = time.perf_counter()
            reader.sum_all(address, buffer, threads, ahead)
            best = max(best, buffer / (time.perf_counter() - start))
    return best


def busy_seconds() -> float:
    """Seconds that this machine's cores have worked since it started, for anybody."""
    first = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    ticks = [int(field) for field in first]
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")  # not idle, not waiting


def busy_cores(seconds: float = 1.0) -> float:
    """How many cores are at work while this process sleeps."""
    before, start = busy_seconds(), time.perf_counter()
    time.sleep(seconds)
    return (busy_seconds() - before) / (time.perf_counter() - start)


def available_bytes() -> int:
    """Memory that can be had without swapping."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    sizes = dict(line.split(":") for line in lines)
    return int(sizes["MemAvailable"].split()[0]) * 1024


def describe() -> dict[str, object]:
    """Processor, cores, priority, versions of system and Python."""
    info = Path("/proc/cpuinfo").read_text()
    fields = dict(line.split(":", 1) for line in info.split("\n\n")[0].splitlines() if ":" in line)
    level3 = Path("/sys/devices/system/cpu/cpu0/cache/index3/size")
    named = {key.strip(): value.strip() for key, value in fields.items()}
    return {
        "processor": named.get("model name", platform.processor()),
        "family": f"{named.get('cpu family', '?')}.{named.get('model', '?')}",
        "cores": len(os.sched_getaffinity(0)),
        "level3": level3.read_text().strip() if level3.is_file() else "?",
        "memory": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "nice": os.getpriority(os.PRIO_PROCESS, 0),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


@functools.cache
def sha256_start(path: Path) -> str:
    """The first 12 digits of a file's SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]


def main() -> None:
    """Print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    args = parser.parse_args()
    row = describe() | {"busy_cores": round(busy_cores(), 2), "load": os.getloadavg()}
    bandwidth = read_bandwidth(args.threads)
    row["read_gb_per_s"] = None if bandwidth is None else round(bandwidth / 1e9, 1)
    print(json.dumps(row))


if __name__ == "__main__":
    main()
