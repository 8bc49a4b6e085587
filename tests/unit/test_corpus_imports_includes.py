"""Edges of languages that name files by literal paths, worked out by hand."""

import pytest

from midfill.corpus.dependencies import includes
from midfill.corpus.dependencies.family import File


@pytest.mark.parametrize(
    ("language", "path", "text", "others", "expected"),
    [
        (
            "Protocol Buffer",
            "api/v1/a.proto",
            'syntax = "proto3";\nimport public "api/v1/b.proto";\n// import "c.proto";\n',
            ["api/v1/b.proto", "api/v1/c.proto"],
            {"api/v1/b.proto"},
        ),
        (
            "Zig",
            "src/main.zig",
            'const std = @import("std");\nconst a = @import("a.zig");\n// @import("b.zig")\n',
            ["src/a.zig", "src/b.zig", "std"],
            {"src/a.zig"},
        ),
        (
            "TeX",
            "book/main.tex",
            "\\documentclass{style}\n\\input{part/one}\n% \\input{two}\n\\include{three.tex}\n",
            ["book/style.cls", "book/part/one.tex", "book/two.tex", "book/three.tex"],
            {"book/style.cls", "book/part/one.tex", "book/three.tex"},
        ),
        (
            "SCSS",
            "css/main.scss",
            "@use 'base';\n@import \"theme/dark\";\n/* @import 'old'; */\n",
            ["css/_base.scss", "css/theme/dark.scss", "css/old.scss"],
            {"css/_base.scss", "css/theme/dark.scss"},
        ),
        (
            "Makefile",
            "sub/Makefile",
            "-include rules.mk\ninclude $(TOP)/common.mk\n# include dead.mk\n",
            ["sub/rules.mk", "common.mk", "sub/dead.mk"],
            {"sub/rules.mk", "common.mk"},
        ),
        (
            "CMake",
            "CMakeLists.txt",
            "include(cmake/flags.cmake)\nadd_subdirectory(src)\n#add_subdirectory(old)\n",
            ["cmake/flags.cmake", "src/CMakeLists.txt", "old/CMakeLists.txt"],
            {"cmake/flags.cmake", "src/CMakeLists.txt"},
        ),
        (
            "Verilog",
            "rtl/top.v",
            '`include "defs/all.vh"\n// `include "old.vh"\n',
            ["inc/defs/all.vh", "rtl/old.vh"],
            {"inc/defs/all.vh"},
        ),
        (
            "Solidity",
            "c/A.sol",
            'import "./B.sol";\nimport {X, Y} from "../d/C.sol";\nimport "https://x/y.sol";\n',
            ["c/B.sol", "d/C.sol"],
            {"c/B.sol", "d/C.sol"},
        ),
        ("Julia", "src/M.jl", 'include("a.jl")\n', ["src/a.jl", "a.jl"], {"src/a.jl"}),
        ("R", "R/z.R", "source('a.R')\n# source('b.R')\n", ["R/a.R", "R/b.R"], {"R/a.R"}),
        (
            "Nix",
            "default.nix",
            "{ x = import ./lib; y = callPackage ./y.nix { }; }\n",
            ["lib/default.nix", "y.nix"],
            {"lib/default.nix", "y.nix"},
        ),
    ],
)
def test_paths(language: str, path: str, text: str, others: list[str], expected: set[str]):
    own = File(path, text, language)
    everything = {path: own, **{name: File(name, "", None) for name in others}}
    assert {*includes.FAMILY([own], everything).needs(own)} == expected


def test_every_pattern_has_a_language_of_the_list():
    from midfill.corpus.languages import LANGUAGES

    assert not set(includes.LANGUAGES) - set(LANGUAGES)
