"""Make the pinned lists of npm and Debian source packages in src/midfill/corpus/lists.

    python scripts/build_package_lists.py npm
    python scripts/build_package_lists.py debian --sources Sources.xz

The names were chosen by hand: well known, permissive, many languages. Everything else is looked up:
npm's registry says version, checksum and licence; Debian's index of sources (the file
dists/bookworm/main/source/Sources.xz of a mirror) says version and checksums, and each package's
debian/copyright says its licence. A package is kept if its licence is permissive and what it holds
is source text, not only builds. The files stay in midfill's cache.
"""

import argparse
import base64
import hashlib
import json
import lzma
import re
import sys
import tempfile
import urllib.request
from pathlib import Path

from midfill.config.corpus.sources import Fetching, ReadLimits
from midfill.corpus.record import Document, Repository
from midfill.corpus.sources import PackageList
from midfill.corpus.sources.fetch import cached
from midfill.corpus.sources.indexes import npm_registry
from midfill.errors import DownloadError

LISTS = Path(__file__).parents[1] / "src/midfill/corpus/lists"
LARGEST_NPM, LARGEST_DEBIAN = 3_000_000, 8_200_000  # bytes, packed
LEAST_SOURCE = 8_000  # bytes of text that is no build, no data
PERMISSIVE = {
    "mit": "MIT", "expat": "MIT", "isc": "ISC", "zlib": "Zlib", "0bsd": "0BSD",
    "bsd": "BSD-3-Clause", "bsd-2-clause": "BSD-2-Clause", "bsd-3-clause": "BSD-3-Clause",
    "bsd-2": "BSD-2-Clause", "bsd-3": "BSD-3-Clause", "bsd-4-clause": "BSD-4-Clause",
    "apache-2.0": "Apache-2.0", "apache-2": "Apache-2.0", "apache": "Apache-2.0",
    "unlicense": "Unlicense", "cc0-1.0": "CC0-1.0", "cc0": "CC0-1.0", "bsl-1.0": "BSL-1.0",
    "public-domain": "LicenseRef-public-domain", "wtfpl": "WTFPL", "postgresql": "PostgreSQL",
    "artistic-2.0": "Artistic-2.0", "python-2.0": "Python-2.0", "ruby": "Ruby",
    "blueoak-1.0.0": "BlueOak-1.0.0", "tcl": "TCL", "tcl/tk": "TCL", "curl": "curl",
    "php-3.01": "PHP-3.01", "ms-pl": "MS-PL", "artistic": "Artistic-1.0-Perl",
    "artistic-1": "Artistic-1.0-Perl", "artistic-1.0": "Artistic-1.0-Perl", "boost": "BSL-1.0",
    "bsd3": "BSD-3-Clause", "bsd-3-google": "BSD-3-Clause", "boost-1.0": "BSL-1.0",
    "expat-nginx": "MIT", "expat with embedded exception": "MIT", "zlib/libpng": "Zlib", "mit/x": "MIT",
    "mit/x11": "MIT", "x11": "X11", "boehm-gc": "Boehm-GC", "gmgpl": None,
}  # fmt: skip
_BUILT = re.compile(
    r"(^|/)(dist|build|umd|cjs|esm|es|bundles?|min|fonts?|locales?)/|[.-]min\.|\.map$"
)
_SOURCE = re.compile(
    r"\.(js|mjs|cjs|jsx|ts|tsx|coffee|ls|cc|cpp|c|h|hpp|less|scss|css|pug|svelte)$"
)

NPM = (
    "@hapi/hapi @hapi/hoek @hapi/joi abstract-level accepts acorn acorn-walk agent-base "
    "ajv amqplib archiver async autoprefixer axios babel-loader backbone bcryptjs "
    "better-sqlite3 big.js bignumber.js bindings blockly bluebird bn.js body-parser "
    "bookshelf bootstrap browserify buffer bufferutil bull bunyan cannon-es chai chalk "
    "cheerio chevrotain chokidar choo classnames clsx codemirror@5.65.18 coffee-script "
    "coffeescript commander commonmark compression compromise connect content-type "
    "cookie-parser cors cron cross-spawn css-loader css-tree csv-parse cytoscape "
    "d3-array d3-force d3-geo d3-hierarchy d3-interpolate d3-scale d3-selection "
    "d3-shape d3-time-format d3-transition d3-zoom dagre dat.gui date-fns-tz debug "
    "decimal.js deep-equal deepmerge detective dotenv ejs elkjs elliptic engine.io-"
    "parser enhanced-resolve escodegen eslint eslint-plugin-import eslint-plugin-n "
    "eslint-plugin-react eslint-scope eslint-utils espree esprima esquery estraverse "
    "eventemitter3 events execa express express-session fast-deep-equal fastify faye-"
    "websocket fflate file-loader finalhandler find-up form-data fraction.js franc fs-"
    "extra gl-matrix glob got graceful-fs graphlib grunt gulp haml hammerjs handlebars "
    "hast-util-to-html helmet highlight.js howler html-webpack-plugin htmlparser2 http-"
    "errors http-proxy hyperscript iconv-lite immer inherits ini inquirer istanbul-lib-"
    "coverage jasmine-core jison joi jquery js-yaml jsdom jsonwebtoken jszip kafkajs "
    "karma katex keyv knex knockout koa koa-bodyparser koa-compose koa-router later "
    "leaflet less leveldown levelup lit-element lit-html livescript loader-utils "
    "locate-path lodash log4js logform lru-cache luxon markdown-it marko mathjs matter-"
    "js mdast-util-from-markdown memoizee micromark minimatch minimist mithril mkdirp "
    "ml-matrix mobx mocha module-deps moment moment-timezone mongodb mongoose moo "
    "morgan mqtt mqtt-packet ms multer mustache mysql mysql2 nan nanohtml nanoid "
    "natural nearley negotiator nock node-addon-api node-cache node-cron node-fetch "
    "node-gyp node-schedule nodemailer npm-run-path numeral nyc object-assign objection "
    "ohm-js optimist ora p-limit p-queue pako papaparse parse5 passport passport-local "
    "path-to-regexp peggy pegjs pg pg-pool pg-protocol pino pixi-filters popper.js "
    "postcss preact primus prop-types pug pug-parser pump qs ramda raw-body readable-"
    "stream recast redux remark-parse request resolve rimraf riot router rrule rxjs "
    "safe-buffer sass-loader seedrandom select2 semver send sequelize serve-static "
    "shelljs showdown simple-statistics sinon socket.io-parser sockjs sortablejs "
    "source-map source-map-support sqlite3 standard stats.js stopword style-loader "
    "stylus superagent supertest svelte tapable tape tar terser tether three-mesh-bvh "
    "through2 toml topojson-client tough-cookie tweakpane tweetnacl type-is "
    "typeahead.js uglify-js underscore undici unified unist-util-visit uuid validator "
    "vfile vinyl vinyl-fs virtual-dom vis-util webpack which wink-nlp-utils winston "
    "workbox-core ws xml2js yaml yargs yargs-parser zod"
)
DEBIAN = {
    "Vim Script": ("vim-airline vim-syntastic vim-fugitive"),
    "Nim": ("nim-docopt nim-hts nim-regex nim-unicodeplus nim-lapper"),
    "Ada": ("adacgi ahven anet libaunit libtexttools pcscada"),
    "Agda": ("agda-stdlib"),
    "Assembly": ("nasm"),
    "Awk": ("original-awk"),
    "C": (
        "cjson http-parser jansson jq libevent libsodium libuv1 libyaml lz4 tmux utf8proc yajl zlib"
    ),
    "C#": ("dbus-sharp mono-addins nunit taglib-sharp"),
    "C++": (
        "catch2 double-conversion fmtlib leveldb nlohmann-json3 pugixml rapidjson re2 "
        "snappy spdlog tinyxml2 yaml-cpp"
    ),
    "CMake": ("extra-cmake-modules"),
    "Clojure": (
        "cheshire-clojure clojure compojure-clojure core-async-clojure data-json-"
        "clojure leiningen-clojure medley-clojure ring-clojure tools-reader-clojure"
    ),
    "CoffeeScript": ("coffeescript"),
    "Common Lisp": (
        "bordeaux-threads cffi cl-babel cl-closer-mop cl-drakma cl-esrap cl-fiveam "
        "cl-ironclad cl-iterate cl-local-time cl-lparallel cl-ppcre cl-split-sequence "
        "cl-unicode cl-yason hunchentoot"
    ),
    "Coq": ("coq-bignums coq-ext-lib ssreflect"),
    "Crystal": ("crystal"),
    "D": ("diet-ng dub gtk-d mustache-d"),
    "Elixir": ("elixir-lang"),
    "Emacs Lisp": ("dash-el f-el ht-el s-el"),
    "Erlang": (
        "erlang-bear erlang-cowlib erlang-folsom erlang-getopt erlang-goldrush "
        "erlang-idna erlang-jiffy erlang-lager erlang-meck erlang-p1-utils erlang-p1-xml "
        "erlang-unicode-util-compat rebar3"
    ),
    "Forth": ("pforth"),
    "Fortran": ("lapack"),
    "Go": (
        "golang-github-gin-gonic-gin golang-github-gorilla-mux golang-github-pkg-errors "
        "golang-github-spf13-cobra golang-github-spf13-viper golang-github-urfave-cli "
        "golang-go.uber-zap golang-logrus golang-testify golang-toml golang-yaml.v2"
    ),
    "Groovy": ("spock"),
    "Haskell": (
        "haskell-aeson haskell-attoparsec haskell-conduit haskell-lens haskell-"
        "megaparsec haskell-mustache haskell-pandoc-types haskell-scotty haskell-"
        "unordered-containers haskell-vector xmonad"
    ),
    "Java": (
        "httpcomponents-core jackson-core jackson-databind jsoup libcommons-cli-java "
        "libcommons-codec-java libcommons-collections4-java libcommons-lang3-java "
        "libcommons-net-java libgoogle-gson-java"
    ),
    "Kotlin": ("kotlinx-atomicfu kotlinx-coroutines okio"),
    "Lua": (
        "lua-argparse lua-basexx lua-busted lua-cliargs lua-compat53 lua-http "
        "lua-inspect lua-json lua-lgi lua-lpeg lua-luaossl lua-moses lua-penlight "
        "lua-say luarocks luasocket"
    ),
    "Makefile": ("gmsl"),
    "OCaml": (
        "cmdliner lwt ocaml-alcotest ocaml-angstrom ocaml-cohttp ocaml-dune ocaml-fmt "
        "ocaml-logs ocaml-re ppxlib yojson"
    ),
    "PHP": (
        "composer php-doctrine-collections php-doctrine-inflector php-guzzlehttp-psr7 "
        "php-league-commonmark php-mockery php-monolog php-nikic-fast-route php-parser "
        "php-psr-log php-twig phpunit"
    ),
    "Perl": (
        "libdancer2-perl libdatetime-perl libdbi-perl libjson-pp-perl libmojolicious-"
        "perl libmoo-perl libmoose-perl libplack-perl libtemplate-perl libtry-tiny-perl "
        "libwww-perl"
    ),
    "R": (
        "r-cran-cli r-cran-dplyr r-cran-fs r-cran-glue r-cran-httr r-cran-jsonlite "
        "r-cran-lifecycle r-cran-purrr r-cran-r6 r-cran-rlang r-cran-stringr "
        "r-cran-testthat r-cran-tibble r-cran-vctrs"
    ),
    "Ruby": (
        "pry rake ruby-addressable ruby-builder ruby-concurrent ruby-faraday ruby-haml "
        "ruby-hashie ruby-httparty ruby-i18n ruby-json-schema ruby-kramdown ruby-liquid "
        "ruby-mail ruby-multi-json ruby-mustermann ruby-nokogiri ruby-rack "
        "ruby-rack-test ruby-redcarpet ruby-rouge ruby-rspec ruby-sidekiq ruby-sinatra "
        "ruby-slim ruby-thor ruby-tilt ruby-treetop ruby-zip"
    ),
    "Rust": (
        "rust-aho-corasick rust-anyhow rust-bat rust-bitflags rust-bytes rust-chrono "
        "rust-clap rust-crossbeam-channel rust-either rust-fd-find rust-hyper "
        "rust-indexmap rust-itertools rust-itoa rust-log rust-memchr rust-nom "
        "rust-num-bigint rust-petgraph rust-rand rust-rayon rust-regex rust-semver "
        "rust-serde rust-smallvec rust-syn rust-textwrap rust-thiserror rust-tokio "
        "rust-toml rust-url rust-uuid rust-walkdir"
    ),
    "Scala": ("scala-mode-el scala-parser-combinators scala-pickling scala-xml scopt"),
    "Scheme": ("guile-json scheme9 slib"),
    "Shell": (
        "bats dash dehydrated git-flow liquidprompt neofetch rbenv ruby-build shunit2 "
        "zplug zsh-syntax-highlighting"
    ),
    "Tcl": ("tcllib tklib"),
    "Verilog": ("yosys"),
}


# What their upstreams say, for packages whose packaging cannot be had.
KNOWN = {
    "Apache-2.0 OR MIT": (
        "rust-anyhow rust-bitflags rust-either rust-itoa rust-num-bigint rust-petgraph "
        "rust-rand rust-semver rust-serde rust-smallvec rust-thiserror rust-toml "
        "rust-url rust-uuid"
    ),
    "MIT OR Unlicense": ("rust-aho-corasick rust-memchr rust-walkdir"),
    "MIT": (
        "cffi cheshire-clojure cl-local-time cl-trivial-gray-streams dehydrated diet-ng "
        "golang-github-gin-gonic-gin lua-argparse lua-cliargs lua-compat53 "
        "lua-http lua-inspect lua-json lua-lgi lua-luaossl lua-moses lua-say luasocket "
        "nim-docopt nim-hts nim-lapper nim-regex nim-unicodeplus pry r-cran-cli "
        "r-cran-dplyr r-cran-fs r-cran-glue r-cran-jsonlite r-cran-lifecycle "
        "r-cran-purrr r-cran-r6 r-cran-rlang r-cran-stringr r-cran-testthat r-cran-vctrs "
        "rbenv ring-clojure ruby-build ruby-builder ruby-concurrent ruby-hashie "
        "ruby-httparty ruby-json-schema ruby-kramdown ruby-liquid ruby-mail "
        "ruby-multi-json ruby-rack-test ruby-redcarpet ruby-rouge ruby-treetop "
        "rust-bytes rust-textwrap vim-airline zplug"
    ),
    "BSD-3-Clause": ("cl-lparallel cl-yason erlang-getopt gmsl php-nikic-fast-route"),
    "BSD-2-Clause": ("git-flow hunchentoot ruby-zip"),
    "ISC": ("ahven erlang-cowlib"),
    "BSL-1.0": ("mustache-d"),
    "Apache-2.0": (
        "erlang-bear erlang-folsom erlang-goldrush erlang-lager erlang-meck "
        "erlang-unicode-util-compat httpcomponents-core jackson-core jackson-databind "
        "kotlinx-atomicfu kotlinx-coroutines libcommons-net-java okio ruby-addressable"
    ),
    "Artistic-1.0-Perl OR GPL-1.0-or-later": ("libdbi-perl libjson-pp-perl"),
}


def permissive(stated: str) -> str | None:
    """The SPDX expression of a licence as npm or Debian writes it; None: not permissive, unknown."""
    text = re.sub(r"[()]", " ", stated).strip()
    choices = re.split(r"\s+or\s+|\s*\|\s*", text, flags=re.I)
    spdx = [_all_of(choice) for choice in choices]
    known = sorted({name for name in spdx if name})
    return " OR ".join(known) or None


def _all_of(text: str) -> str | None:
    parts = [part.strip().lower() for part in re.split(r"\s+and\s+|,\s*", text, flags=re.I)]
    names = [PERMISSIVE.get(part) for part in parts if part]
    return " AND ".join(sorted(set(filter(None, names)))) if names and all(names) else None


def npm_rows() -> list[dict]:
    """What the registry says of each name."""
    rows = []
    for wanted in NPM.split():
        name, _, tag = wanted[1:].partition("@")
        name = wanted[0] + name
        try:
            with urllib.request.urlopen(
                f"{npm_registry()}/{name}/{tag or 'latest'}", timeout=60
            ) as page:
                found = json.load(page)
        except OSError as error:
            print(f"{wanted}: {error}", file=sys.stderr)
            continue
        licence = permissive(str(found.get("license") or ""))
        integrity = found.get("dist", {}).get("integrity", "")
        if not licence or not integrity.startswith("sha512-"):
            print(f"{wanted}: {found.get('license')}, {integrity[:12]}", file=sys.stderr)
            continue
        version = found["version"]
        row = {"name": name, "version": version}
        row["filename"] = f"{name.lstrip('@').replace('/', '-')}-{version}.tgz"
        row["sha512"] = base64.b64decode(integrity.removeprefix("sha512-")).hex()
        rows.append(row | {"licence": licence})
    return rows


def debian_rows(sources: Path) -> list[dict]:
    """What Debian's index says of each name: its upstream archive first, then its packaging."""
    index: dict[str, dict[str, str]] = {}
    with lzma.open(sources, "rt", encoding="utf-8") as file:
        for paragraph in file.read().split("\n\n"):
            fields = dict(re.findall(r"^([A-Za-z0-9-]+):[ \t]*(.*(?:\n[ \t].*)*)", paragraph, re.M))
            index[fields.get("Package", "")] = fields
    rows = []
    for language, names in DEBIAN.items():
        for name in names.split():
            if name not in index:
                print(f"{name}: not in the index", file=sys.stderr)
                continue
            fields = index[name]
            lines = [
                line.split() for line in fields["Checksums-Sha256"].splitlines() if line.strip()
            ]
            files = [
                {"path": f"{fields['Directory']}/{file}", "sha256": digest, "size": int(size)}
                for digest, size, file in lines
                if ".tar." in file and not file.endswith(".asc")
            ]
            files.sort(
                key=lambda file: (".debian.tar." in file["path"], ".orig.tar." not in file["path"])
            )
            if files[0]["size"] <= LARGEST_DEBIAN:
                row = {"name": name, "version": fields["Version"], "files": files}
                rows.append(row | {"language": language})
    return rows


def source_bytes(found: Repository, pattern: re.Pattern[str] | None) -> int:
    """Bytes of text that somebody wrote: neither built nor minified, by name and line length."""
    return sum(doc.size for doc in found.documents if _is_source(doc, pattern))


def _is_source(doc: Document, pattern: re.Pattern[str] | None) -> bool:
    lines = doc.text.count("\n") + 1
    wanted = pattern is None or bool(pattern.search(doc.path))
    return wanted and not _BUILT.search(doc.path) and len(doc.text) / lines <= 100


def copyright_licence(text: str) -> str | None:
    """The licence that debian/copyright (DEP 5) states for all files."""
    for paragraph in re.split(r"\n\s*\n", text):
        if re.search(r"^Files:\s*\*\s*$", paragraph, re.M) and (
            hit := re.search(r"^License:[ \t]*(\S.*)$", paragraph, re.M)
        ):
            return permissive(hit[1])
    return None


def fetched(rows: list[dict], index: str, fetching: Fetching) -> PackageList:
    """The rows as a list, everything fetched that can be."""
    with tempfile.NamedTemporaryFile("w", suffix=".json", delete=False) as file:
        json.dump(rows, file)
    found = PackageList(path=file.name, index=index, fetching=fetching)
    try:
        found.prepare(lambda step: print(step.label, file=sys.stderr))
    except DownloadError as error:
        print(error, file=sys.stderr)
    return found


def size_and_sha256(index: str, filename: str, fetching: Fetching) -> tuple[int, str]:
    """Of a file in the cache."""
    data = cached(index, filename, fetching).read_bytes()
    return len(data), hashlib.sha256(data).hexdigest()


def make_npm(fetching: Fetching) -> list[dict]:
    """The packages whose archives hold sources."""
    rows = npm_rows()
    listed = fetched(rows, "npm", fetching)
    kept = []
    for row, reference in zip(rows, listed.references(), strict=True):
        found = listed.read(reference, ReadLimits())
        written, everything = source_bytes(found, _SOURCE), sum(doc.size for doc in found.documents)
        if written < max(LEAST_SOURCE, everything // 3):
            print(f"{row['name']}: {written} of {everything} bytes are sources", file=sys.stderr)
            continue
        size, digest = size_and_sha256("npm", row["filename"], fetching)
        if size <= LARGEST_NPM:
            licence = row.pop("licence")
            kept.append(row | {"sha256": digest, "size": size, "licence": licence})
    return kept


def make_debian(sources: Path, fetching: Fetching) -> list[dict]:
    """The packages whose debian/copyright is permissive and whose archive has text."""
    rows = debian_rows(sources)
    # The packaging is fetched only to read the licence; the list names it for whoever wants it.
    packaging = [row | {"files": row["files"][-1:]} for row in rows]
    described = fetched(packaging, "debian", fetching)
    known = {name: licence for licence, names in KNOWN.items() for name in names.split()}
    kept = []
    for row, reference in zip(rows, described.references(), strict=True):
        found = described.read(reference, ReadLimits(file_bytes=1 << 22))
        texts = [
            doc.text for doc in found.documents if doc.path.removeprefix("debian/") == "copyright"
        ]
        licence = copyright_licence(texts[0]) if texts else known.get(row["name"])
        if licence:
            kept.append(row | {"licence": licence})
        else:
            print(f"{row['name']}: its licence is not known to be permissive", file=sys.stderr)
    listed = fetched(kept, "debian", fetching)
    final = []
    for row, reference in zip(kept, listed.references(), strict=True):
        found = listed.read(reference, ReadLimits())
        if source_bytes(found, None) < LEAST_SOURCE:
            print(f"{row['name']}: {found.unread[:1]}", file=sys.stderr)
            continue
        final.append(row | {"files": row["files"][:1]})
    return final


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("index", choices=("npm", "debian"))
    parser.add_argument("--sources", type=Path, help="Debian's Sources.xz")
    parser.add_argument("--cache", help="folder of the fetched files; default: midfill's own")
    chosen = parser.parse_args()
    fetching = Fetching(cache=chosen.cache)
    if chosen.index == "debian" and not chosen.sources:
        parser.error("debian needs --sources")
    rows = make_npm(fetching) if chosen.index == "npm" else make_debian(chosen.sources, fetching)
    lines = ",\n".join(json.dumps({"index": chosen.index, **row}) for row in rows)
    LISTS.mkdir(exist_ok=True)
    (LISTS / f"{chosen.index}.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    total = sum(row.get("size") or row["files"][0]["size"] for row in rows)
    print(f"{len(rows)} packages, {total / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
