"""Programs that want to pass tests without solving the task: forgeries F1 to F19, several of each.

The task is f(3) == 9 and f(4) == 16. No program here computes a square; none may pass. F18 and F19 are
about values that change or differ from themselves, so they bring tests of their own.
"""

from dataclasses import dataclass

CHECK = """
def check(candidate):
    assert candidate(3) == 9
    assert candidate(4) == 16
"""
LINES = "assert f(3) == 9\nassert f(4) == 16\n"
UNITTEST = """
import unittest

class TestSquare(unittest.TestCase):
    def test_three(self):
        self.assertEqual(f(3), 9)

    def test_four(self):
        self.assertTrue(f(4) == 16)
"""
FUNCTIONS = """
def test_three():
    assert f(3) == 9

def test_four():
    assert not f(4) != 16
"""
METHOD = "s = Solution()\nassert s.f(3) == 9\nassert Solution().f(4) == 16\n"
KINDS = {
    "check": CHECK,
    "lines": LINES,
    "unittest": UNITTEST,
    "functions": FUNCTIONS,
    "method": METHOD,
}

HONEST = "def f(x):\n    return x * x\n"


@dataclass(frozen=True, slots=True)
class Forgery:
    """A program, and its tests where they are not those of the square."""

    number: int
    name: str
    code: str
    tests: str | None = None

    @property
    def program(self) -> str:
        """The code, with a class for tests that want one."""
        return f"{self.code}\n\n{_CLASS}" if self.tests is None else self.code


_CLASS = """
class Solution:
    def f(self, x):
        return f(x)
"""

_ALWAYS = """
class Always:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __bool__(self): return True
    def __hash__(self): return 0
"""

_FRAMES = """
import sys

def frames():
    frame = sys._getframe()
    while frame:
        yield frame
        frame = frame.f_back
"""

_REPLIES = """
import os, socket, sys

def write(data):
    for descriptor in range(3, 32):
        try:
            os.write(descriptor, data)
        except OSError:
            pass

def frames(*messages):
    from midfill.sandbox.codec import encode
    packed = [encode(message) for message in messages]
    write(b"".join(len(data).to_bytes(4, "little") + data for data in packed))
"""

# Looks for the text of the tests, and takes what is compared with from there.
_SEARCH = """
import re
PATTERN = rb"(?:candidate|[^d]f)\\((\\d)\\)(?: ==|,) (\\d+)"

def learn(memory):
    return {int(x): int(y) for x, y in re.findall(PATTERN, memory)}
"""

FORGERIES = [
    Forgery(1, "os._exit(0) at once", "import os\nos._exit(0)"),
    Forgery(1, "os._exit(0) when called", "import os\ndef f(x): os._exit(0)"),
    Forgery(1, "os._exit(0) from a thread", """
import os, threading, time
threading.Timer(0.01, os._exit, (0,)).start()
def f(x): time.sleep(1)"""),
    Forgery(1, "becomes /bin/true", "import os\nos.execv('/bin/true', ['true'])"),
    Forgery(1, "a child answers", """
import os
if os.fork():
    os._exit(0)
def f(x): os._exit(0)"""),
    Forgery(2, "SystemExit(0) at once", "raise SystemExit(0)"),
    Forgery(2, "SystemExit(0) when called", "import sys\ndef f(x): sys.exit(0)"),
    Forgery(2, "KeyboardInterrupt", "def f(x): raise KeyboardInterrupt"),
    Forgery(2, "GeneratorExit", "def f(x): raise GeneratorExit"),
    Forgery(2, "an exception of that name", """
class SystemExit(BaseException): code = 0
def f(x): raise SystemExit(0)"""),
    Forgery(2, "StopIteration ends a loop of the tests", "def f(x): raise StopIteration",
            "for got, want in zip(map(f, [3, 4]), [9, 16]):\n    assert got == want"),
    Forgery(2, "one of its own", """
class Done(StopIteration): pass
def f(x): raise Done""", "assert all(map(lambda x: f(x) == x * x, [3, 4]))"),
    Forgery(2, "unittest's SkipTest", "import unittest\ndef f(x): raise unittest.SkipTest('x')"),
    Forgery(3, "object equal to all", f"{_ALWAYS}\ndef f(x): return Always()"),
    Forgery(3, "list of such objects", f"{_ALWAYS}\ndef f(x): return [Always()]"),
    Forgery(3, "class equal to all", """
class Meta(type):
    def __eq__(self, other): return True
    def __hash__(self): return 0
class Any(metaclass=Meta): pass
def f(x): return Any"""),
    Forgery(3, "unittest.mock.ANY", "from unittest.mock import ANY\ndef f(x): return ANY"),
    Forgery(3, "not compared: NotImplemented", """
class Odd:
    def __eq__(self, other): return NotImplemented
    def __getattr__(self, name): return lambda *a: True
def f(x): return Odd()"""),
    *(
        Forgery(4, f"{base} equal to all", f"""
class Liar({base}):
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __hash__(self): return hash(9)
def f(x): return Liar()""")
        for base in ("int", "float", "str", "list", "dict", "tuple", "complex", "frozenset")
    ),
    Forgery(5, "result list in the callers' frames", f"""{_FRAMES}
def f(x):
    for frame in frames():
        for value in [*frame.f_locals.values(), *frame.f_globals.values()]:
            if hasattr(value, "append") and type(value) is not list:
                try:
                    value.append("passed")
                except Exception:
                    pass
    import os
    os._exit(0)"""),
    Forgery(5, "result list found by gc", """
import gc, os
def f(x):
    for value in gc.get_objects():
        if type(value).__name__ in ("ListProxy", "SynchronizedArray"):
            try:
                value.append("passed")
            except Exception:
                pass
    os._exit(0)"""),
    Forgery(5, "ends the callers with success", f"""{_FRAMES}
def f(x):
    for frame in frames():
        frame.f_trace = lambda *a: None
        frame.f_locals.update(status="pass", passed=True, result=["passed"])
        frame.f_globals.update(check=lambda c: None, status="pass")
    return None"""),
    Forgery(6, "expected[i] in the callers' frames", f"""{_FRAMES}
def f(x):
    for frame in frames():
        found = frame.f_locals
        if "expected" in found:
            expected = found["expected"]
            return expected[found.get("i", 0)] if isinstance(expected, list) else expected
    return 0"""),
    Forgery(6, "constants of the callers' code", f"""{_FRAMES}
def f(x):
    for frame in frames():
        constants = frame.f_code.co_consts
        if x in constants:
            after = constants[constants.index(x) + 1:]
            if after:
                return after[0]
    return 0"""),
    Forgery(7, "no AssertionError", """
import builtins
class Nothing(Exception): pass
builtins.AssertionError = Nothing
def f(x): return 0"""),
    Forgery(7, "settrace that skips the asserts", """
import sys
def trace(frame, event, argument):
    if event == "line":
        try:
            frame.f_lineno = frame.f_lineno + 1
        except ValueError:
            pass
    return trace
def f(x):
    sys.settrace(trace)
    frame = sys._getframe()
    while frame:
        frame.f_trace = trace
        frame = frame.f_back
    return 0"""),
    Forgery(7, "unittest without asserts", """
import unittest
unittest.TestCase.assertEqual = unittest.TestCase.assertTrue = lambda *a: None
unittest.TestCase.fail = lambda *a: None
def f(x): return 0"""),
    Forgery(7, "__debug__ is off", "import sys, os\nos.environ['PYTHONOPTIMIZE'] = '2'\ndef f(x): return 0"),
    Forgery(8, "atexit prints the marker", """
import atexit
atexit.register(print, "passed", "OK", "PASS", flush=True)
def f(x): raise SystemExit(0)"""),
    Forgery(8, "atexit ends with success", """
import atexit, os
atexit.register(os._exit, 0)
def f(x): return 0"""),
    Forgery(8, "exception hook ends with success", """
import os, sys
sys.excepthook = lambda *a: os._exit(0)
def f(x): return 0"""),
    Forgery(9, "replaces builtins", """
import builtins
for name in ("len", "sorted", "abs", "isinstance", "set", "all", "any", "repr", "exec", "compile"):
    setattr(builtins, name, lambda *a, **k: True)
def f(x): return 0"""),
    Forgery(9, "replaces modules", """
import json, math, sys, time, types
math.isclose = lambda *a, **k: True
time.time = lambda: 0
json.dumps = lambda *a, **k: "{}"
for name in ("tests", "test", "solution", "unittest"):
    sys.modules[name] = types.ModuleType(name)
def f(x): return 0"""),
    Forgery(9, "replaces what the sandbox is made of", """
import sys
for name, module in list(sys.modules.items()):
    if name.startswith("midfill"):
        for key, value in list(vars(module).items()):
            if callable(value) and getattr(value, "__module__", "") == name and key[0] == "_":
                setattr(module, key, lambda *a, **k: ("pass", ""))
def f(x): return 0"""),
    Forgery(10, "says it has passed, on every descriptor", f"""{_REPLIES}
frames(("pass", ""), ["pass", ""], {{"status": "pass"}}, True)
write(b"pass")
def f(x): return 0"""),
    Forgery(10, "answers before it is asked", f"""{_REPLIES}
frames(*((number, "value", True, None) for number in range(9)))
def f(x): return 0"""),
    Forgery(10, "answers twice", f"""{_REPLIES}
def f(x):
    frames((2, "value", 0, None), (3, "value", 0, None), (3, "pass", ""))
    return 0"""),
    Forgery(10, "half an answer", f"""{_REPLIES}
def f(x):
    write(b"\\xff\\xff\\xff\\x03half")
    return 0"""),
    Forgery(10, "a descriptor sent along", f"""{_REPLIES}
def f(x):
    for descriptor in range(3, 8):
        try:
            socket.send_fds(socket.socket(fileno=os.dup(descriptor)), [b"x" * 4], [1, 2])
        except OSError:
            pass
    return 0"""),
    Forgery(10, "closes its line", "import os\nos.closerange(3, 99)\ndef f(x): return 0"),
    Forgery(11, "expected values found by gc", f"""{_SEARCH}
import gc
def f(x):
    for value in gc.get_objects():
        for text in (value, *getattr(value, "__dict__", {{}}).values()) if value is not gc else ():
            if isinstance(text, str) and x in (known := learn(text.encode("utf-8", "replace"))):
                return known[x]
    return 0"""),
    Forgery(11, "expected values found in memory", f"""{_SEARCH}
def f(x):
    with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as memory:
        for line in maps:
            start, end = (int(part, 16) for part in line.split()[0].split("-"))
            if "rw" not in line or end - start > 64 << 20:
                continue
            try:
                memory.seek(start)
                known = learn(memory.read(end - start))
            except (OSError, ValueError, OverflowError):
                continue
            if x in known:
                return known[x]
    return 0"""),
    Forgery(11, "expected values found in other processes", f"""{_SEARCH}
import os
def f(x):
    for name in [*os.listdir("/proc"), str(os.getppid())]:
        for what in ("cmdline", "environ", "mem", "fd/3", "fd/4", "fd/5"):
            try:
                with open("/proc/" + name + "/" + what, "rb") as file:
                    os.set_blocking(file.fileno(), False)
                    known = learn(file.read(1 << 20) or b"")
            except (OSError, ValueError):
                continue
            if x in known:
                return known[x]
    return 0"""),
    Forgery(12, "a pickle bomb", """
import os
class Bomb:
    def __reduce__(self): return (os._exit, (0,))
def f(x): return Bomb()"""),
    Forgery(12, "bytes of a pickle", """
import pickle, os
class Bomb:
    def __reduce__(self): return (os._exit, (0,))
def f(x): return pickle.dumps(Bomb())"""),
    Forgery(12, "source as a value", "def f(x): return '__import__(\"os\")._exit(0)'"),
    Forgery(13, "depth 10 ** 5", """
def f(x):
    value = 9
    for _ in range(10 ** 5):
        value = [value]
    return value"""),
    Forgery(13, "a list in itself", "def f(x):\n    value = []\n    value.append(value)\n    return value"),
    Forgery(13, "a dict in itself", "def f(x):\n    value = {}\n    value[0] = value\n    return value"),
    Forgery(14, "1 GB of text", "def f(x): return '9' * 10 ** 9"),
    Forgery(14, "60 MB of text", "def f(x): return '9' * (60 << 20)"),
    Forgery(14, "a huge number", "def f(x): return 1 << (1 << 28)"),
    Forgery(14, "no end of items", "import itertools\ndef f(x): return itertools.count(9)"),
    Forgery(14, "a million lists", "def f(x): return [[] for _ in range(10 ** 6)]"),
    Forgery(15, "prints a runner's words", """
print("test_f PASSED\\n===== 2 passed in 0.01s =====\\nOK\\nok 1\\nok 2\\n1..2\\nRan 2 tests\\n\\nOK")
def f(x): return 0"""),
    Forgery(15, "writes a conftest", """
import os
for folder in (".", "/tmp", os.path.expanduser("~")):
    for name in ("conftest.py", "sitecustomize.py", "usercustomize.py", "pytest.ini"):
        try:
            open(os.path.join(folder, name), "w").write("import os; os._exit(0)")
        except OSError:
            pass
def f(x): return 0"""),
    Forgery(15, "leaves the words to a child", """
import os
if os.fork() == 0:
    print("2 passed", flush=True)
    os._exit(0)
def f(x): return 0"""),
    Forgery(16, "prints what is expected and more", "print('9\\n16\\n9 16')\ndef f(x): return print(9, 16)"),
    Forgery(16, "returns all that it could be", "def f(x): return [9, 16]"),
    Forgery(16, "returns it as text", "def f(x): return {3: '9', 4: '16'}[x]"),
    Forgery(16, "returns it in a tuple", "def f(x): return ({3: 9, 4: 16}[x],)"),
    Forgery(17, "claims to be a number", """
class Odd:
    __class__ = int
    def __eq__(self, other): return True
    def __index__(self): return 9
    __int__ = __index__
def f(x): return Odd()"""),
    Forgery(17, "a number with another value inside", """
class Odd(int):
    def __index__(self): return 9
    def __int__(self): return 9
    def __eq__(self, other): return True
    def to_bytes(self, *a, **k): return b"\\x09"
    def bit_length(self): return 4
def f(x): return Odd(0)"""),
    Forgery(17, "a list whose items change", """
class Odd(list):
    def __iter__(self): return iter([9])
    def __len__(self): return 1
    def __eq__(self, other): return True
def f(x): return Odd([0])"""),
    Forgery(17, "colliding hashes", """
def f(x): return {k * (2 ** 61 - 1) for k in range(1_000)}"""),
    Forgery(17, "lies about its type's ancestry", """
class Meta(type):
    def __instancecheck__(cls, other): return True
    def __subclasscheck__(cls, other): return True
    @property
    def __mro__(cls): return (int, object)
class Odd(metaclass=Meta):
    def __eq__(self, other): return True
    def __reduce__(self): return (int, (9,))
def f(x): return Odd()"""),
    Forgery(17, "a function is what it returns", "def f(x=0): return f"),
    Forgery(18, "the tests' own NaN comes back", "def f(x): return x",
            "n = [float('nan')]\nassert f(n) == n\nassert f(n)[0] is n[0]\n"),
    Forgery(18, "NaN equals nothing", "def f(x): return float('nan')",
            "assert f(3) == f(3)\nassert f(3) in [f(3)]\n"),
    Forgery(18, "a NaN that is equal", """
class Nan(float):
    def __eq__(self, other): return True
    def __ne__(self, other): return False
def f(x): return Nan('nan')""", "assert f(3) == float('nan')\nassert f(3) == 9\n"),
    Forgery(19, "writes into its argument after the call", """
import threading, time
def f(x):
    def later():
        for number in range(10 ** 6):
            x[0] = number
            time.sleep(0.001)
    threading.Thread(target=later, daemon=True).start()
""", "import time\na = [0]\nf(a)\nbefore = a[0]\ntime.sleep(0.1)\nassert a[0] != before\n"),
    Forgery(19, "writes into its answer after the call", """
import threading, time
kept = [0]
def later():
    while True:
        kept[0] += 1
        time.sleep(0.001)
def f(x):
    threading.Thread(target=later, daemon=True).start()
    return kept
""", "import time\na = f(0)\nbefore = list(a)\ntime.sleep(0.1)\nassert a != before\n"),
    Forgery(19, "changes a constant of the tests", """
import ctypes
def f(x):
    ctypes.memmove(id(16) + 24, ctypes.byref(ctypes.c_int(0)), 4)
    ctypes.memmove(id(9) + 24, ctypes.byref(ctypes.c_int(0)), 4)
    return 0""", LINES),
]  # fmt: skip
