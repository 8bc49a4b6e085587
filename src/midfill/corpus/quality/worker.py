"""The process in which texts are parsed: it may run out of time or memory, or crash, and then ends.

Started by `syntax.py`, once for some thousand texts. A request is two lengths, the language and the
text; an answer is one JSON line. Before each text the limit on processor time is set anew, so that
the kernel ends a parser that hangs, also inside C.
"""

import json
import os
import resource
import struct
import sys
from collections.abc import Mapping
from typing import BinaryIO

from midfill.corpus.quality.parsers import Outcome, Parse, parser_for

HEAD = struct.Struct("<II")  # bytes of the language, bytes of the text


def main(settings: str) -> None:
    """Answer requests from standard input until it ends. `settings` is JSON: cpu_s, memory_mb, parsers."""
    limits = json.loads(settings)
    answers = os.fdopen(os.dup(1), "wb")
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)  # a parser that prints must not break the answers
    bound_memory(limits["memory_mb"])
    serve(sys.stdin.buffer, answers, limits["cpu_s"], limits["parsers"])


def bound_memory(megabytes: int) -> None:
    """Limit this process's address space, and let it leave no core file."""
    for kind, size in ((resource.RLIMIT_AS, megabytes << 20), (resource.RLIMIT_CORE, 0)):
        hard = resource.getrlimit(kind)[1]
        size = size if hard == resource.RLIM_INFINITY else min(size, hard)
        resource.setrlimit(kind, (size, hard))


def serve(requests: BinaryIO, answers: BinaryIO, cpu_s: float, more: Mapping[str, str]) -> None:
    """Answer each request."""
    parsers: dict[str, Parse] = {}
    while len(head := requests.read(HEAD.size)) == HEAD.size:
        language_size, text_size = HEAD.unpack(head)
        language = requests.read(language_size).decode()
        text = requests.read(text_size).decode("utf-8", "surrogatepass")
        bound_cpu(cpu_s)
        outcome = parse(language, text, parsers, more)
        answers.write(json.dumps(outcome).encode() + b"\n")
        answers.flush()


def bound_cpu(seconds: float) -> None:
    """Let this process use so many more seconds of processor time, and up to one besides."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    end = int(used.ru_utime + used.ru_stime + seconds + 1)
    resource.setrlimit(resource.RLIMIT_CPU, (end, hard))


def parse(language: str, text: str, parsers: dict[str, Parse], more: Mapping[str, str]) -> Outcome:
    """One text's outcome; a parser that runs out of stack or memory says so."""
    try:
        if language not in parsers:
            parsers[language] = parser_for(language, more)
        return parsers[language](text)
    except RecursionError:
        return "parser_depth", None
    except MemoryError:
        return "parser_memory", None
