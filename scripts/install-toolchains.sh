#!/usr/bin/env bash
# Compilers and interpreters of the languages that the sandbox judges beside Python.
#
#   scripts/install-toolchains.sh             all of them
#   scripts/install-toolchains.sh paper       the eight of DeepSeek-Coder-V2's Table 3
#   scripts/install-toolchains.sh cpp go ...  these
#
# Made for Debian 12. Safe to run again; without apt or root it says what is missing and goes on.
# What could not be had is named at the end, and the exit status is then 1.
set -uo pipefail

# What lies elsewhere (in a home directory, say) cannot be run in the sandbox.
export PATH=/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin
TYPESCRIPT=5.9.3

paper=(cpp java php typescript csharp bash javascript)
others=(go rust r ruby lua perl d racket)

chosen=()
for name in "${@:-all}"; do
  case "$name" in
  all) chosen+=("${paper[@]}" "${others[@]}") ;;
  paper) chosen+=("${paper[@]}") ;;
  *) chosen+=("$name") ;;
  esac
done

wanted=()
need() { [ -e "$1" ] || command -v "$1" >/dev/null || wanted+=("$2"); }
for name in "${chosen[@]}"; do
  case "$name" in
  python) need python3 python3 ;;
  cpp)
    need g++ g++
    need /usr/include/openssl/md5.h libssl-dev
    ;;
  java)
    need javac openjdk-17-jdk-headless
    need /usr/share/java/javatuples.jar libjavatuples-java
    ;;
  php)
    need php php-cli
    php -m 2>/dev/null | grep -qx mbstring || wanted+=(php-mbstring)
    ;;
  csharp)
    need mcs mono-mcs
    need mono mono-runtime
    need /usr/lib/mono/4.5/System.Numerics.dll libmono-system-numerics4.0-cil
    need /usr/lib/mono/4.5/System.Core.dll libmono-system-core4.0-cil
    ;;
  bash)
    need bash bash
    need bc bc
    ;;
  javascript | typescript) need node nodejs ;;
  go) need go golang-go ;;
  rust) need rustc rustc ;;
  r) need Rscript r-base-core ;;
  ruby) need ruby ruby ;;
  lua)
    need lua5.4 lua5.4
    need /usr/share/lua/5.4/luaunit.lua lua-unit
    ;;
  perl)
    need perl perl
    need /usr/share/perl5/Test/Deep.pm libtest-deep-perl
    ;;
  d) need ldc2 ldc ;;
  racket) need racket racket ;;
  *)
    echo "toolchains: no language ${name@Q}; there are: ${paper[*]} ${others[*]}" >&2
    exit 2
    ;;
  esac
done

missing=()
if [ ${#wanted[@]} -gt 0 ]; then
  if ! command -v apt-get >/dev/null; then
    echo "toolchains: no apt here; please install: ${wanted[*]}" >&2
    missing+=("${wanted[@]}")
  elif [ "$(id -u)" -ne 0 ]; then
    echo "toolchains: not root; please run: sudo apt-get install ${wanted[*]}" >&2
    missing+=("${wanted[@]}")
  else
    export DEBIAN_FRONTEND=noninteractive
    apt=(apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=300)
    apt-get update -qq || true
    # One package that cannot be had must not keep the others away.
    if ! "${apt[@]}" "${wanted[@]}" >/dev/null; then
      for package in "${wanted[@]}"; do
        "${apt[@]}" "$package" >/dev/null || missing+=("$package")
      done
    fi
  fi
fi

typescript() {
  [ -e /usr/local/lib/node_modules/typescript/lib/typescript.js ] && return
  if [ "$(id -u)" -ne 0 ]; then
    echo "toolchains: not root; please run: sudo npm install --global --prefix /usr/local typescript@$TYPESCRIPT" >&2
    return 1
  fi
  # Debian's npm brings 400 packages; its own TypeScript, 4.8, is the smaller second best.
  if command -v npm >/dev/null; then
    npm install --silent --no-audit --no-fund --global --prefix /usr/local \
      "typescript@$TYPESCRIPT" >/dev/null && return
  fi
  [ -e /usr/share/nodejs/typescript/lib/typescript.js ] && return
  apt-get install -y -qq --no-install-recommends node-typescript >/dev/null
}
case " ${chosen[*]} " in
*" typescript "*) typescript || missing+=(typescript) ;;
esac

# What compilers would work out anew for every program: made once, for all users of the machine. Each
# is made in $work and moved to its place whole, so that none is ever half there.
warm=/usr/local/lib/midfill
[ "$(id -u)" -eq 0 ] || warm="${HOME}/.cache/midfill/toolchains"
work=

newer() { # the prepared file $1 is newer than the command $2 that it was made with
  [ "$warm/$1" -nt "$(readlink -f "$(command -v "$2")")" ]
}

warm_cpp() {
  newer stdc++.h.gch g++ && return
  local header='[^ ]*/bits/stdc++\.h'
  header="$(echo '#include <bits/stdc++.h>' | g++ -std=c++17 -x c++ -M - | grep -o "$header")"
  cp "$header" "$work/stdc++.h" &&
    g++ -std=c++17 -x c++-header "$work/stdc++.h" -o "$work/stdc++.h.gch" &&
    mv "$work/stdc++.h" "$work/stdc++.h.gch" "$warm"
}

warm_java() {
  newer javac.jsa javac && return
  cat >"$work/Problem.java" <<'END'
import java.util.*;
import java.util.stream.*;
class Problem {
    static List<Integer> squares(List<Integer> of) {
        return of.stream().map(x -> x * x).collect(Collectors.toList());
    }
    public static void main(String[] args) {
        assert squares(new ArrayList<>(List.of(1, 2))).equals(Arrays.asList(1, 4));
    }
}
END
  (cd "$work" && javac -J-XX:TieredStopAtLevel=1 -J-XX:+UseSerialGC \
    -J-XX:ArchiveClassesAtExit=javac.jsa -proc:none Problem.java) >/dev/null 2>&1
  mv -f "$work/javac.jsa" "$warm"
}

warm_go() {
  newer go/README go && return
  cat >"$work/some_test.go" <<'END'
package some_test

import (
	"bufio"
	"bytes"
	"crypto/md5"
	"fmt"
	"math"
	"math/rand"
	"os"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"
)

func TestMain(tests *testing.M) {
	fmt.Print(math.Pi, rand.Int(), md5.Size, strconv.Itoa(1), time.Now(), unicode.MaxRune)
	fmt.Print(strings.ToUpper("a"), bytes.MinRead, regexp.MustCompile("a"), sort.IsSorted(nil))
	fmt.Print(bufio.MaxScanTokenSize)
	os.Exit(tests.Run())
}
END
  (cd "$work" && CGO_ENABLED=0 GO111MODULE=off GOCACHE="$work/go" go test -c some_test.go) || return
  rm -rf "$warm/go"
  mv "$work/go" "$warm"
}

# TypeScript's compiler with its libraries read and bound, as a snapshot of node's memory: half of the
# time of a compilation is spent on them. Arguments of what is written: WAY SKIP_LIB_CHECK FILE, where
# way 0 is `--target ES2015 --lib ES2015,DOM` and way 1 no flags; or `versions`.
warm_typescript() {
  local lib=/usr/local/lib/node_modules/typescript/lib
  [ -e "$lib/typescript.js" ] || return 0 # Debian's own is used without
  newer tsc.blob node && [ "$warm/tsc.blob" -nt "$lib/typescript.js" ] && return
  {
    cat "$lib/typescript.js"
    cat <<'END'
const lib = process.env.TYPESCRIPT_LIB;
ts.sys.getCurrentDirectory = () => process.cwd(); // it would remember where the snapshot was made
const ways = [
  { target: ts.ScriptTarget.ES2015, lib: ["lib.es2015.d.ts", "lib.dom.d.ts"] },
  {},
];
const libraries = ways.map(() => new Map());

function hostOf(way, options, given = {}) {
  const host = ts.createCompilerHost(options);
  const read = host.getSourceFile;
  host.getDefaultLibLocation = () => lib;
  host.getDefaultLibFileName = of => lib + "/" + ts.getDefaultLibFileName(of);
  host.getSourceFile = (name, how, ...rest) => {
    if (name in given) return ts.createSourceFile(name, given[name], how);
    if (!name.startsWith(lib)) return read(name, how, ...rest);
    if (!libraries[way].has(name)) libraries[way].set(name, read(name, how, ...rest));
    return libraries[way].get(name);
  };
  return host;
}

function compile(way, options, name, host, write) {
  const program = ts.createProgram([name], options, host);
  const found = [...ts.getPreEmitDiagnostics(program), ...program.emit(undefined, write).diagnostics];
  return ts.sortAndDeduplicateDiagnostics(found);
}

for (const way of [0, 1]) {
  const options = { ...ways[way], skipLibCheck: true };
  const given = { "warm.ts": "const a: number[] = [1].map(x => x + 1);" };
  compile(way, options, "warm.ts", hostOf(way, options, given), () => {});
}

require("node:v8").startupSnapshot.setDeserializeMainFunction(() => {
  if (process.argv.at(-1) === "versions") return console.log(process.version, ts.version);
  const [way, skip, name] = process.argv.slice(-3);
  const options = { ...ways[way], ...(skip === "1" ? { skipLibCheck: true } : {}) };
  const found = compile(way, options, name, hostOf(way, options));
  process.stdout.write(ts.formatDiagnostics(found, {
    getCurrentDirectory: () => process.cwd(),
    getCanonicalFileName: file => file,
    getNewLine: () => "\n",
  }));
  process.exitCode = found.some(one => one.category === ts.DiagnosticCategory.Error) ? 2 : 0;
});
END
  } >"$work/entry.js"
  TYPESCRIPT_LIB="$lib" node --snapshot-blob "$work/tsc.blob" --build-snapshot "$work/entry.js" \
    2>/dev/null && mv "$work/tsc.blob" "$warm"
}

prepare() { # what $2 makes with the command $1, if that is there
  command -v "$1" >/dev/null || return 0
  work="$(mktemp -d "$warm/new.XXXXXX")" && "$2" || missing+=("${2/_/ }")
  rm -rf "$work"
}

mkdir -p "$warm" || missing+=("$warm")
for name in "${chosen[@]}"; do
  case "$name" in
  cpp) prepare g++ warm_cpp ;;
  java) prepare javac warm_java ;;
  typescript) prepare node warm_typescript ;;
  go) prepare go warm_go ;;
  esac
done
chmod -R a+rX "$warm" || true

if [ ${#missing[@]} -gt 0 ]; then
  echo "toolchains: could not be had: ${missing[*]}" >&2
  exit 1
fi
echo "toolchains: all there (${chosen[*]})"
