"""Imports of JavaScript and TypeScript: what is read in a text, and to which files it leads."""

import pytest

from midfill.corpus.dependencies import File, depends_on
from midfill.corpus.dependencies.javascript import specifiers

LANGUAGES = {
    "js": "JavaScript",
    "mjs": "JavaScript",
    "cjs": "JavaScript",
    "jsx": "JSX",
    "ts": "TypeScript",
    "mts": "TypeScript",
    "tsx": "TypeScript",
    "vue": "Vue",
}


def needs(texts: dict[str, str]) -> dict[str, set[str]]:
    """What each file with an import needs, of a repository of these texts."""
    files = [
        File(path, text, LANGUAGES.get(path.rpartition(".")[2])) for path, text in texts.items()
    ]
    return {path: set(found) for path, found in depends_on(files).items() if found}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import a from './a'", ["./a"]),
        ('import "./a.css";', ["./a.css"]),
        ("import a, { b as c,\n  d, // it's a comment\n  e } from './a'\n", ["./a"]),
        ("import * as a from './a';import b from\"./b\"", ["./a", "./b"]),
        ("import{a}from'./a'", ["./a"]),
        ("import type { A } from './a'", ["./a"]),
        ("export * from './a'\nexport * as b from './b'\nexport { c } from './c'", list("abc")),
        ("export type { A } from './a'", ["./a"]),
        ("export const from = 'x'\nimport a from './a'", ["./a"]),
        ("export default class A {}\nimport './a'", ["./a"]),
        ("export enum A { B }\nimport { c } from './c'", ["./c"]),
        ("const a = require('./a'), b = require ( \"./b\" )", ["./a", "./b"]),
        ("import a = require('./a')", ["./a"]),
        ("const a = await import('./a'); import(/* chunk: 'x' */ `./b`)", ["./a", "./b"]),
        ("let a: import('./a').A", ["./a"]),
        ("[...require('./a')]", ["./a"]),
        ("import a from './a' with { type: 'json' }", ["./a"]),
        ('/// <reference path="a.d.ts" />\n', ["./a.d.ts"]),
        # what is none
        ("// import a from './a'\n/* import b from './b' */", []),
        ("/**\n * import a from './a'\n * require('./b')\n */", []),
        ("/*\nimport a from './a'\n*/", []),
        ("const code = `\nimport a from './a'\nrequire('./b')\n`\n", []),
        ("const glob = 'src/**/*.js'\nimport a from './a'\n// */\n", ["./a"]),
        ("const url = 'http://x'; import('./a')", ["./a"]),
        ("const t = `a ${`b`} c`\nimport a from './a'\n", ["./a"]),
        ("const t = '`'\nimport a from './a'\n", ["./a"]),
        ("const a = 'import b from \"./b\"'", []),
        ("require('./a' + b); require(`./${c}`); require(d)", []),
        ("a.require('./a'); my_require('./b'); requires('./c'); $import('./d')", []),
        ("config = { import: './a', export: './b' }", []),
        ("import", []),
        ("export default 'x'", []),
    ],
)
def test_specifiers(text, expected):
    wanted = [one if one.startswith(".") else f"./{one}" for one in expected]
    assert sorted(set(specifiers(text))) == sorted(wanted)


def test_suffixes_folders_and_compiled_names():
    texts = {
        "src/a.ts": "import './b'; import './c.js'; import './d'; import '.'; import './e.vue'",
        "src/b.tsx": "import '../up'; import '../../out'; import './style.css'",
        "src/c.ts": "",
        "src/d/index.ts": "import '..'",
        "src/e.vue": "<script>\nimport a from './a'\n</script>",
        "src/index.ts": "import './both'",
        "src/both.ts": "",
        "src/both.js": "import './both2'",
        "src/both2.ts": "",
        "src/both2.js": "",
        "src/style.css": "",
        "up.mjs": "import './data.json'; import './x.mjs'",
        "x.mts": "",
        "data.json": "{}",
    }
    assert needs(texts) == {
        "src/a.ts": {"src/b.tsx", "src/c.ts", "src/d/index.ts", "src/index.ts", "src/e.vue"},
        "src/b.tsx": {"up.mjs", "src/style.css"},
        "src/d/index.ts": {"src/index.ts"},
        "src/e.vue": {"src/a.ts"},
        "src/index.ts": {"src/both.ts"},
        "src/both.js": {"src/both2.js"},
        "up.mjs": {"data.json", "x.mts"},
    }


def test_queries_and_loaders_are_not_part_of_a_path():
    texts = {"a.js": "import './b.js?raw'; require('style!./c.css')", "b.js": "", "c.css": ""}
    assert needs(texts) == {"a.js": {"b.js", "c.css"}}


TSCONFIG = """{
  // comments, and commas at the end
  "extends": "./configs/base",
  "compilerOptions": { "strict": true, /* "paths": {} */ },
}"""
BASE = '{"compilerOptions": {"baseUrl": "..", "paths": {"@/*": ["src/*"], "@/x/*": ["other/*"],},}}'


def test_paths_of_the_nearest_configuration():
    texts = {
        "tsconfig.json": TSCONFIG,
        "configs/base.json": BASE,
        "src/a.ts": "import '@/b'; import '@/x/c'; import 'src/d'; import 'react'",
        "src/b.ts": "",
        "other/c.ts": "",
        "src/d.ts": "",
        "sub/tsconfig.json": '{"compilerOptions": {"paths": {"lib": ["./lib/main.ts"]}}}',
        "sub/a.ts": "import 'lib'; import '@/none'",
        "sub/lib/main.ts": "",
    }
    assert needs(texts) == {
        "src/a.ts": {"src/b.ts", "other/c.ts", "src/d.ts"},
        "sub/a.ts": {"sub/lib/main.ts"},
    }


def test_configurations_that_only_refer_to_others():
    texts = {
        "tsconfig.json": '{"files": [], "references": [{"path": "./tsconfig.app.json"}]}',
        "tsconfig.app.json": '{"compilerOptions": {"paths": {"~lib/*": ["lib/*"]}}}',
        "a.ts": "import '~lib/b'",
        "lib/b.ts": "",
    }
    assert needs(texts) == {"a.ts": {"lib/b.ts"}}


def test_aliases_by_habit():
    texts = {"package.json": "{}", "src/views/A.vue": "import '@/api/b'", "src/api/b.js": ""}
    assert needs(texts) == {"src/views/A.vue": {"src/api/b.js"}}


def test_packages_of_one_repository():
    texts = {
        "packages/a/package.json": '{"name": "@me/a", "main": "dist/main.js"}',
        "packages/a/src/main.ts": "",
        "packages/a/src/more.ts": "",
        "packages/b/package.json": """{"name": "b", "exports": {
            ".": {"types": "./lib/index.d.ts", "import": {"default": "./lib/index.js"}},
            "./feature/*": "./features/*.js", "./package.json": null}}""",
        "packages/b/lib/index.js": "",
        "packages/b/features/f.js": "",
        "packages/c/package.json": '{"name": "c"}',
        "packages/c/src/index.ts": "",
        "app/main.ts": "import '@me/a'; import '@me/a/more'; import 'b'; import 'b/feature/f';"
        "import 'c'; import 'd'; import '@me/none'",
        "node_modules/d/package.json": '{"name": "d", "main": "d.js"}',
        "node_modules/d/d.js": "",
    }
    assert needs(texts) == {
        "app/main.ts": {
            "packages/a/src/main.ts",
            "packages/a/src/more.ts",
            "packages/b/lib/index.js",
            "packages/b/features/f.js",
            "packages/c/src/index.ts",
        }
    }


def test_a_folder_with_a_manifest_and_imports_of_the_own_package():
    texts = {
        "package.json": '{"imports": {"#db": "./db/real.js", "#u/*": "./util/*.js"}}',
        "a.js": "require('./lib'); import '#db'; import '#u/x'",
        "lib/package.json": '{"main": "./entry"}',
        "lib/entry.js": "",
        "lib/index.js": "",
        "db/real.js": "",
        "util/x.js": "",
    }
    assert needs(texts) == {"a.js": {"lib/entry.js", "db/real.js", "util/x.js"}}


@pytest.mark.parametrize("text", ["", "[]", "{" * 100_000, '{"name": 3, "exports": [[]]}', "\0"])
@pytest.mark.parametrize("name", ["package.json", "tsconfig.json"])
def test_damaged_configurations_are_ignored(name, text):
    assert needs({name: text, "a.js": "import './b'; import 'x'", "b.js": ""}) == {"a.js": {"b.js"}}


def test_a_configuration_that_extends_itself_ends():
    circle = '{"extends": ["./tsconfig.json", "./b"], "references": [{"path": "."}, 3]}'
    texts = {
        "tsconfig.json": circle,
        "b.json": circle,
        "a.ts": "import 'c'; import './c'",
        "c.ts": "",
    }
    assert needs(texts) == {"a.ts": {"c.ts"}}


@pytest.mark.parametrize(
    "unit",
    [
        "import (((",
        "import {a ",
        "import '",
        "export ",
        "export const x = 'a' ",
        "require(/*",
        "require('./a');",
        "import a from './b';",
        "`",
        "/*a",
        "'/*",
        "\\'`",
        "//import ",
        "/// <reference path=",
        "from from  ",
    ],
)
def test_hostile_texts_end(unit):
    """Going back over a megabyte at each of its places would take longer than a test may."""
    specifiers(unit * (1_000_000 // len(unit)) + "\nimport a from './a'\n")
