"""What is put into a box for a program of each language: its files, how they are compiled and run.

A program and its tests are one text, as in MultiPL-E. What tells that the tests ran to their end is an
epilogue: after them it writes a secret word to descriptor 3. It is placed where only the end of the
tests leads to: behind the last line of a script, and in compiled languages around `main`, by the linker
(`--wrap`), by a class of our own or by `TestMain`. So `exit(0)` before the tests never looks like a pass.
It does not stop a program that goes looking for the word in its own memory.

Commands and preludes are those of DeepSeek-Coder's evaluation where it has the language.
"""

import functools
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from midfill.sandbox.confine import ENVIRONMENT

Command = tuple[str, ...]

SEARCH = ENVIRONMENT["PATH"]  # what lies elsewhere cannot be run inside
# Not Path.home(), which fails where a user has none.
WARM_FOLDERS = (
    Path("/usr/local/lib/midfill"),
    Path(os.path.expanduser("~/.cache/midfill/toolchains")),  # noqa: PTH111
)
JAVATUPLES = "/usr/share/java/javatuples.jar"
TYPESCRIPT_FOLDERS = (
    "/usr/local/lib/node_modules/typescript",
    "/usr/lib/node_modules/typescript",
    "/usr/share/nodejs/typescript",
)


def warm(name: str) -> str | None:
    """The path of what `install-toolchains.sh` has prepared under this name, if it has."""
    return next((str(folder / name) for folder in WARM_FOLDERS if (folder / name).exists()), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A program to be laid out; `tests` is None for one that reads and prints."""

    code: str
    tests: str | None
    word: str  # what the epilogue writes
    memory_mb: int
    class_name: str = "Problem"  # what Java wants the file to be called

    @property
    def text(self) -> str:
        """The program with its tests."""
        return self.code if self.tests is None else f"{self.code}\n{self.tests}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What is written into the box, and the commands in their order."""

    files: Mapping[str, str]
    run: Command
    instead: Command | None = None  # what to run where `run` cannot be started
    compile: tuple[Command, ...] = ()
    again: tuple[Command, ...] = ()  # a second way to compile, tried where the first led to no pass
    environment: Mapping[str, str] = field(default_factory=dict)  # while compiling


def script(
    name: str, *command: str, epilogue: str, instead: Command | None = None
) -> Callable[[Source], Layout]:
    """The layout of a language that runs its text as it stands; WORD in `epilogue` is the word."""

    def lay_out(source: Source) -> Layout:
        text = f"{source.text}\n{epilogue.replace('WORD', source.word)}\n"
        other = (*instead, name) if instead else None
        return Layout(files={name: text}, run=(*command, name), instead=other)

    return lay_out


# This interpreter has packages; where another user runs programs, he may not reach it.
lay_out_python = script(
    "program.py",
    *(sys.executable, "-I", "-B"),
    epilogue="__import__('os').write(3, b'WORD')",
    instead=("python3", "-I", "-B"),
)
lay_out_bash = script("program.sh", "bash", epilogue="builtin printf %s WORD >&3")
lay_out_r = script(
    "program.R",
    "Rscript",
    "--vanilla",
    epilogue='base::invisible(base::system("printf %s WORD >&3"))',
)
lay_out_perl = script(
    "program.pl",
    "perl",
    epilogue="{ open(my $report, '>&=', 3); print {$report} 'WORD'; close($report); }",
)
# test-unit runs its tests while the interpreter ends, after every epilogue, unless it is asked now.
lay_out_ruby = script(
    "program.rb",
    "ruby",
    epilogue="""if defined?(Test::Unit::AutoRunner)
  Test::Unit::AutoRunner.need_auto_run = false
  exit!(1) unless Test::Unit::AutoRunner.run
end
IO.for_fd(3, "w").write("WORD")""",
)
# A failed check of rackunit ends nothing, so the count of failures is asked for.
lay_out_racket = script(
    "program.rkt",
    "racket",
    epilogue="""(require (prefix-in midfill: racket/base)
         (prefix-in midfill: ffi/unsafe/port)
         (prefix-in midfill: rackunit/log))
(midfill:let ([failed (midfill:car (midfill:test-log #:display? #f #:exit? #f))]
              [report (midfill:unsafe-file-descriptor->port 3 'report '(write))])
  (midfill:when (midfill:eqv? failed 0)
    (midfill:void (midfill:write-string "WORD" report))
    (midfill:flush-output report)))""",
)
lay_out_javascript = script(
    "program.js", "node", epilogue=";require('node:fs').writeSync(3, 'WORD');"
)


def lay_out_lua(source: Source) -> Layout:
    """The tests end with os.exit of LuaUnit's count of failures: keep the count, and exit later."""
    ending = re.compile(r"os\.exit\s*\(\s*(\w+\.LuaUnit\.run\([^()]*\))\s*\)\s*\Z")
    tests = None if source.tests is None else ending.sub(r"midfill_failed = \1", source.tests)
    code = source.code if tests is None else f"{source.code}\n{tests}"
    epilogue = f"""
if (midfill_failed or 0) ~= 0 then os.exit(1) end
os.execute("printf %s {source.word} >&3")
"""
    return Layout(files={"program.lua": code + epilogue}, run=("lua5.4", "program.lua"))


def lay_out_php(source: Source) -> Layout:
    """`<?php` in front where it is missing; what follows a final `?>` would be printed, not run."""
    code = source.code if source.code.startswith("<?php") else f"<?php\n{source.code}"
    text = (code if source.tests is None else f"{code}\n{source.tests}").rstrip()
    opening = "\n<?php " if text.endswith("?>") else "\n"
    epilogue = rf"\fwrite(\fopen('php://fd/3', 'w'), '{source.word}');"
    settings = {
        "display_errors": "stderr",
        "log_errors": "0",
        "zend.assertions": "1",
        "memory_limit": f"{source.memory_mb}M",
    }
    flags = [word for name, value in settings.items() for word in ("-d", f"{name}={value}")]
    return Layout(
        files={"program.php": f"{text}{opening}{epilogue}\n"},
        run=("php", *flags, "-f", "program.php"),
    )


def typescript_folder() -> str | None:
    """Where the compiler lies, if it is installed."""
    there = (f for f in TYPESCRIPT_FOLDERS if Path(f, "lib/typescript.js").exists())
    return next(there, None)


@functools.cache
def typescript_snapshot() -> str | None:
    """The prepared compiler, if it starts here and is the installed one."""
    path, folder = warm("tsc.blob"), typescript_folder()
    if path is None or folder is None:
        return None
    said = subprocess.run(
        ("node", "--snapshot-blob", path, "tsc", "versions"),
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": SEARCH},
        check=False,
    )
    installed = json.loads(Path(folder, "package.json").read_text(encoding="utf-8"))["version"]
    return path if said.returncode == 0 and said.stdout.split()[1:] == [installed] else None


# What may merge with a declaration of the libraries and so make *them* wrong: `interface Node`.
_MERGES = re.compile(r"\b(interface|class|enum|namespace|module|global)\b")
_ES2015 = ("--target", "ES2015", "--lib", "ES2015,DOM")


def lay_out_typescript(source: Source) -> Layout:
    """As the protocol: once with ES2015, and where that leads to no pass once more without flags."""
    epilogue = f"declare var require: any;\nrequire('node:fs').writeSync(3, '{source.word}');\n"
    # The libraries are right by themselves: half the time is spent on checking them.
    skip = not _MERGES.search(source.text)
    if snapshot := typescript_snapshot():
        ways = [
            ("node", "--snapshot-blob", snapshot, "tsc", way, "01"[skip], "program.ts")
            for way in "01"
        ]
    else:
        tsc = ("node", f"{typescript_folder()}/lib/tsc.js", "program.ts")
        tsc += ("--skipLibCheck",) if skip else ()
        ways = [(*tsc, *_ES2015), tsc]
    return Layout(
        files={"program.ts": f"{source.text}\n{epilogue}"},
        compile=(ways[0],),
        again=(ways[1],),
        run=("node", "program.js"),
    )


# `--wrap` gives the system's start-up code this main instead of the program's, whose return value
# it passes on. The program's own main keeps its name, and with it its implicit `return 0`.
_AROUND_MAIN = """
extern long write(int, const void *, unsigned long);
extern int __real_main(int, char **, char **);

int __wrap_main(int count, char **words, char **environment) {
  int status = __real_main(count, words, environment);
  if (status == 0) write(3, "WORD", sizeof "WORD" - 1);
  return status;
}
"""
_EPILOGUE = ("gcc", "-c", "epilogue.c")
_WRAP = "--wrap=main"


def _around_main(source: Source) -> str:
    return _AROUND_MAIN.replace("WORD", source.word)


_CPP_PRELUDE = tuple(
    f"#include<{name}>"
    for name in "stdlib.h algorithm math.h stdio.h vector string climits cstring iostream cassert".split()
)
_ALL_OF_STD = re.compile(r"^\s*#\s*include\s*<bits/stdc\+\+\.h>", re.MULTILINE)


def lay_out_cpp(source: Source) -> Layout:
    """Against tests as the protocol compiles, without optimisation; a plain program with -O2."""
    libraries = ("-lcrypto", "-lssl") if "openssl/" in source.code else ()
    linker = ("-fuse-ld=gold",) if Path("/usr/bin/ld.gold").exists() else ()  # twice as fast
    common = ("g++", "-std=c++17", "-pipe", *linker, "-o", "program")
    if source.tests is None:
        return Layout(
            files={"program.cpp": source.code},
            compile=((*common, "-O2", "program.cpp", *libraries),),
            run=("./program",),
        )
    # Tests that assert must not be switched off by a `#define NDEBUG` above them.
    asserting = "\n#undef NDEBUG\n#include <cassert>\n"
    prelude = "".join(f"{line}\n" for line in _CPP_PRELUDE if line not in source.code)
    prelude += (
        "#include <cassert>\n"  # whatever a comment says: the second one may stand in a function
    )
    text = f"{prelude}\n{source.code}{asserting}{source.tests}\n"
    header = warm("stdc++.h") if _ALL_OF_STD.search(source.code) else None
    ready = ("-include", header) if header else ()
    return Layout(
        files={"program.cpp": text, "epilogue.c": _around_main(source)},
        compile=(
            _EPILOGUE,
            (*common, *ready, "program.cpp", "epilogue.o", f"-Wl,{_WRAP}", *libraries),
        ),
        run=("./program",),
    )


def lay_out_rust(source: Source) -> Layout:
    """The C function `main` that rustc makes is wrapped; it returns 101 after a panic."""
    link = ("-C", "link-arg=epilogue.o", "-C", f"link-arg=-Wl,{_WRAP}")
    speed = ("-O",) if source.tests is None else ()
    return Layout(
        files={"program.rs": f"{source.text}\n", "epilogue.c": _around_main(source)},
        compile=(_EPILOGUE, ("rustc", *speed, *link, "-o", "program", "program.rs")),
        run=("./program",),
    )


def lay_out_d(source: Source) -> Layout:
    """D's unit tests run inside the wrapped `main`, which returns 1 where one fails."""
    flags = ("-O",) if source.tests is None else ("-unittest",)
    compile_ = ("ldc2", *flags, "epilogue.o", f"-L={_WRAP}", "program.d", "-of=program")
    return Layout(
        files={"program.d": f"{source.text}\n", "epilogue.c": _around_main(source)},
        compile=(_EPILOGUE, compile_),
        run=("./program",),
    )


_GO_EPILOGUE = """package PACKAGE

import (
	"os"
	"testing"
)

func TestMain(tests *testing.M) {
	status := tests.Run()
	if status == 0 {
		os.NewFile(3, "report").WriteString("WORD")
	}
	os.Exit(status)
}
"""
_GO_PACKAGE = re.compile(r"^\s*package\s+(\w+)", re.MULTILINE)


def lay_out_go(source: Source) -> Layout:
    """`go test` in two steps, since it would not hand descriptor 3 on to what it runs."""
    environment = {"CGO_ENABLED": "0", "GO111MODULE": "off", "GOFLAGS": "", "GOTELEMETRY": "off"}
    if cache := warm("go"):
        environment["GOCACHE"] = cache
    if source.tests is None:
        return Layout(
            files={"program.go": source.code},
            compile=(("go", "build", "-o", "program", "program.go"),),
            run=("./program",),
            environment=environment,
        )
    package = _GO_PACKAGE.search(source.code)
    epilogue = _GO_EPILOGUE.replace("PACKAGE", package[1] if package else "main")
    names = ("program_test.go", "epilogue_test.go")
    return Layout(
        files={
            names[0]: f"{source.text}\n",
            names[1]: epilogue.replace("WORD", source.word),
        },
        compile=(("go", "test", "-c", "-o", "program", *names),),
        run=("./program",),
        environment=environment,
    )


# Java has no public way to write to descriptor 3: the launcher is allowed to look inside java.io.
_JAVA_EPILOGUE = """
import java.io.File;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.lang.reflect.Constructor;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.util.Arrays;

final class MidfillLauncher {
    private static Method find() throws ClassNotFoundException {
        Method found = null;
        String[] files = new File(".").list();
        Arrays.sort(files);
        for (String file : files) {
            if (!file.endsWith(".class") || file.startsWith("MidfillLauncher")) continue;
            String name = file.substring(0, file.length() - 6);
            Class<?> type = Class.forName(name, false, MidfillLauncher.class.getClassLoader());
            try {
                Method main = type.getDeclaredMethod("main", String[].class);
                if (found == null || name.equals("Problem")) found = main;
            } catch (NoSuchMethodException none) {
                continue;
            }
        }
        return found;
    }

    public static void main(String[] words) throws Throwable {
        Method main = find();
        main.setAccessible(true);
        try {
            main.invoke(null, (Object) words);
        } catch (InvocationTargetException problem) {
            throw problem.getCause();
        }
        Constructor<FileDescriptor> open = FileDescriptor.class.getDeclaredConstructor(int.class);
        open.setAccessible(true);
        try (FileOutputStream report = new FileOutputStream(open.newInstance(3))) {
            report.write("WORD".getBytes());
        }
    }
}
"""
_SHORT_LIVED = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")


def lay_out_java(source: Source) -> Layout:
    """A launcher of ours calls the program's main; a plain program gets the whole compiler."""
    archive = warm("javac.jsa")
    flags = (*_SHORT_LIVED, *((f"-XX:SharedArchiveFile={archive}",) if archive else ()))
    launcher = "MidfillLauncher.java"
    name = f"{source.class_name}.java"
    tuned = _SHORT_LIVED if source.tests is not None else _SHORT_LIVED[1:]
    return Layout(
        files={name: f"{source.text}\n", launcher: _JAVA_EPILOGUE.replace("WORD", source.word)},
        compile=(
            ("javac", *(f"-J{f}" for f in flags), "-proc:none", "-cp", JAVATUPLES, name, launcher),
        ),
        run=(
            *("java", *tuned, f"-Xmx{source.memory_mb}m", "-ea"),
            *("--add-opens", "java.base/java.io=ALL-UNNAMED"),
            *("-cp", f".:{JAVATUPLES}", "MidfillLauncher"),
        ),
    )


_CSHARP_PRELUDE = "".join(
    f"using System.{name};\n"
    for name in "Numerics Diagnostics Collections.Generic Linq Text Security.Cryptography".split()
)
# mono reports a failed Debug.Assert and goes on, to status 0: our listener ends the program.
_CSHARP_EPILOGUE = """
using System;
using System.Diagnostics;
using System.Reflection;
using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;

static class MidfillLauncher {
    sealed class Listener : TraceListener {
        public override void Write(string text) { Console.Error.Write(text); }
        public override void WriteLine(string text) { Console.Error.WriteLine(text); }
        public override void Fail(string text, string more) {
            Console.Error.WriteLine("Fail: Debug.Assert " + text + " " + more);
            Environment.Exit(1);
        }
    }

    [DllImport("libc")]
    static extern IntPtr write(int descriptor, byte[] data, IntPtr count);

    static MethodInfo Find() {
        const BindingFlags any = BindingFlags.Static | BindingFlags.Public
            | BindingFlags.NonPublic | BindingFlags.DeclaredOnly;
        MethodInfo found = null;
        foreach (Type type in Assembly.GetExecutingAssembly().GetTypes()) {
            MethodInfo main = type == typeof(MidfillLauncher) ? null : type.GetMethod("Main", any);
            if (main != null && (found == null || type.Name == "Problem")) found = main;
        }
        return found;
    }

    static int Main(string[] words) {
        MethodInfo main = Find();
        Debug.Listeners.Clear();
        Debug.Listeners.Add(new Listener());
        object result = null;
        try {
            result = main.Invoke(null, main.GetParameters().Length == 0 ? null : new object[] { words });
        } catch (TargetInvocationException problem) {
            ExceptionDispatchInfo.Capture(problem.InnerException).Throw();
        }
        int status = result is int ? (int)result : 0;
        byte[] word = System.Text.Encoding.ASCII.GetBytes("WORD");
        if (status == 0) write(3, word, (IntPtr)word.Length);
        return status;
    }
}
"""


def lay_out_csharp(source: Source) -> Layout:
    """No reference to System.Numerics.dll, as in the protocol: BigInteger does not compile."""
    prelude = _CSHARP_PRELUDE if source.tests is not None else ""
    flags = ("-d:DEBUG", "-nowarn:105", "-main:MidfillLauncher", "-out:program.exe")
    return Layout(
        files={
            "program.cs": f"{prelude}{source.text}\n",
            "launcher.cs": _CSHARP_EPILOGUE.replace("WORD", source.word),
        },
        compile=(("mcs", *flags, "program.cs", "launcher.cs"),),
        run=("mono", "program.exe"),
    )
