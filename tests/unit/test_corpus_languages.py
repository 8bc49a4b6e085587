"""One file for each of the 338 languages, ambiguous extensions, comment lines, hostile input."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midfill.corpus.languages import LANGUAGES, OUTSIDE, V1, comment, detect

# Language | path | text, with \n for line ends; written by hand, from what each language looks like.
EXAMPLES = r"""
ABAP | src/zcl_app.abap
AGS Script | game/GlobalScript.asc | // main global script file\nfunction game_start() {\n}\n#sectionstart a\n
AMD GPU | shaders/copy.isa
AMPL | diet.ampl
ANSYS Parametric Design Language | beam.ans
ANTLR | grammar/Expr.g4
APL | life.apl
ASP | web/default.asp
AWK | bin/report.awk
ActionScript | src/Main.as | package {\n  import flash.display.Sprite;\n  public class Main extends Sprite {}\n}\n
Ada | src/stack.adb
Agda | Data/Nat.agda
Alloy | models/tree.als
AmbientTalk | demo/chat.at | def Chat := object: {\n  when: peer discovered: { |p| p }\n};\n
Apache Configuration | public/.htaccess
AppleScript | tools/mail.applescript
Arc | news.arc
Arduino | blink/blink.ino
AspectJ | src/Tracing.aj
Assembly | boot/print.asm | org 100h\nstart:\n  mov ah, 9\n  int 21h\n  ret\n
Asymptote | fig/axes.asy | import graph;\nsize(200);\ndraw((0,0)--(1,1));\n
Augeas | lenses/hosts.aug
AutoHotkey | keys.ahk
AutoIt | setup.au3
BC | lib/pi.bc
BNF | doc/lang.bnf
BST | style/plain.bst | ENTRY { author title } {} { label }\nFUNCTION {output} { write$ }\nREAD\n
Berry | led.be
BitBake | recipes/zlib_1.2.bb | SUMMARY = "zlib"\nLICENSE = "Zlib"\nSRC_URI = "http://x/y.tar.gz"\ninherit autotools\n
BlitzBasic | game.bb | Graphics 640,480\nWhile Not KeyHit(1)\nWend\n
BlitzMax | app.bmx
Bluespec | Fifo.bsv
Boo | hello.boo
Boogie | proof.bpl
Brainfuck | hello.bf | ++++++++[>++++[>++>+++>+++>+<<<<-]>+>+>->>+[<]<-]>>.\n
BrightScript | source/main.brs
Bro | policy/detect-scan.bro
C | src/a.c
C# | src/Program.cs | using System;\nnamespace App { class Program { static void Main() {} } }\n
C++ | src/a.cpp
C2HS Haskell | src/Foreign/Gtk.chs
CADL | parts.cadl
CMake | CMakeLists.txt
COBOL | pay.cob |        IDENTIFICATION DIVISION.\n       PROGRAM-ID. PAY.\n       PROCEDURE DIVISION.\n
COBOLFree | pay.cbl | identification division.\nprogram-id. pay.\nprocedure division.\n  display "x".\n
CSS | site.css
CUDA | kernels/add.cu
CapDL | system.cdl | arch arm11\nobjects {\n  tcb = tcb\n}\n
Ceylon | run.ceylon
Chapel | stream.chpl
ChucK | sine.ck
Cirru | code.cirru
Click | router.click
Clojure | src/core.clj
CoffeeScript | app.coffee
ColdFusion CFC | User.cfc
Common Lisp | src/package.lisp | (defpackage :app (:use :cl))\n(in-package :app)\n(defun f (x) x)\n
Crystal | src/server.cr | require "http/server"\nclass A\nend\n
Csound | piece.orc
Csound Score | piece.sco
Cypher | load.cypher
Cython | fast.pyx
DASM16 | notch.dasm16
DM | mob.dm
Darcs Patch | fix.dpatch
Dart | lib/main.dart
Debian Control File | pkg/debian/control
DeviceTree | arch/arm/boot/dts/omap3.dtsi
Diff | fix.patch
Docker | services/api.docker
Dockerfile | Dockerfile
Dylan | lib.dylan
EBNF | iso.ebnf
ELPi | order.elpi
Eiffel | account.e | class\n  ACCOUNT\ncreate\n  make\nfeature\n  balance: INTEGER\nend\n
Elixir | lib/app.ex | defmodule App do\n  def f(x), do: x\nend\n
Elm | src/Main.elm
Emacs Lisp | lisp/init.el
EmberScript | app.em
Erlang | src/server.erl
Execline | service/run.exec
F# | src/Program.fs | module App\nopen System\nlet add x y = x + y\n
F* | lib/Nat.fst
Factor | core/lists.factor
Fancy | hello.fy
Fantom | src/Pod.fan
Felix | demo.flx
Fennel | game.fnl
Fish | completions/git.fish
Flux | plan.flux
Fortran | src/solve.f90
Fortran Fixed Form | blas/daxpy.f | C     DAXPY\n      SUBROUTINE DAXPY(N,DA)\n      INTEGER N\n      END\n
FoxPro | main.prg | LPARAMETERS cName\nDEFINE CLASS Form1 AS Form\nENDDEFINE\n
FreeFem | heat.edp
FreeMarker | page.ftl | <#if user??>\n<p>${user.name}</p>\n</#if>\n
Futhark | dot.fut
G-Code | part.gcode
GAP | lib/group.gi
GAS | arch/entry.s | \t.text\n\t.globl main\nmain:\n\tmovl $0, %eax\n\tret\n
GDScript | player.gd | extends Node2D\nfunc _ready():\n\tpass\n
GLSL | basic.glsl
GSQL | paths.gsql
Genshi | form.kid
Gentoo Ebuild | dev-lang/lua-5.4.ebuild
Gentoo Eclass | eclass/git-r3.eclass
Gettext Catalog | po/de.po
Glyph | book.glf
Gnuplot | fig.gnuplot
Go | main.go
Gosu | Hello.gs | uses java.util.Map\nuses gw.lang.reflect.IType\nclass Hello {\n  property get Name() : String { return "x" }\n}\n
Grace | list.grace
Gradle | build.gradle
Grammatical Framework | FoodsEng.gf
GraphQL | schema.graphql
Graphviz DOT | deps.dot
Groff | man/ls.1 | .TH LS 1 "May 2020"\n.SH NAME\nls \\- list\n
Groovy | vars/deploy.groovy
Groovy Server Pages | views/show.gsp
HCL | infra/main.hcl
HLSL | water.hlsl
HTML | index.html | <!DOCTYPE html>\n<html><body><p>x</p></body></html>\n
HTML Django | templates/base.jinja2
HTML ERB | app/views/show.html.erb
HTML PHP | views/index.phtml
HTTP | api.http | GET /users HTTP/1.1\nHost: example.org\n\n
Handlebars | page.hbs
Haskell | src/Main.hs
Haxe | Main.hx
Hy | macros.hy
IGOR Pro | fit.ipf
Idris | Vect.idr
Inform 6 Template | Output.i6t
Inno Setup | setup.iss
Io | actor.io
Isabelle | HOL/List.thy
J | stats.ijs
JAGS | model.jags
JCL | run.jcl
JFlex | Scanner.jflex
JSON | package.json | {"name": "x"}\n
JSONiq | q.jq | jsoniq version "1.0";\nfor $x in collection("c") return $x\n
JSX | App.jsx
Jade | views/layout.jade
Jasmin | Hello.j | .class public Hello\n.super java/lang/Object\n.method public <init>()V\n
Java | src/Main.java
Java Server Pages | web/index.jsp
JavaScript | lib/index.js
JavaScript MozPreproc | browser/prefs.js.in | #ifdef MOZ_WIDGET_GTK\nvar gtk = 1;\n#endif\n
Julia | src/Solve.jl
Jupyter Notebook | eda.ipynb
K | sort.k | / quick sort\nqs:{x@<x}\n
KRL | rules.krl
Kconfig | drivers/net/Kconfig
Koka | effects.kk
Kotlin | app/Main.kt
LFE | server.lfe
LLVM | add.ll
LSL | door.lsl
Lean | Mathlib/Group.lean | import Mathlib.Init\ntheorem x : 1 = 1 := rfl\n
Less | theme.less
Lex | scan.l | %{\n#include <stdio.h>\n%}\n%%\n[0-9]+ return 1;\n%%\n
Lighttpd Configuration File | etc/lighttpd.conf
LilyPond | song.ly
Limbo | appl/cat.b | implement Cat;\ninclude "sys.m";\n\tsys: Sys;\n
Linker Script | link.ld
Liquid | theme.liquid
Literate Agda | Intro.lagda
Literate CoffeeScript | tutorial.litcoffee
Logtalk | points.lgt
Lua | init.lua
M4 | macros.m4
MATLAB | fft_plot.m | % Plot it\nfunction y = fft_plot(x)\n  y = abs(fft(x));\nend\n
MQL | expert.mq5
MUF | prog.muf
Makefile | Makefile
Mako | base.mako
Mason | comp/header.mhtml
Maxima | ode.mac | /* solve */\nf(x) := x^2;\n
Meson | meson.build
Metal | Shaders.metal
MiniScript | game.ms | print "Hello"\nfor i in range(3)\n  print i\nend for\n
Mirah | app.mirah
Mizar | abcmiz_0.miz
Modelica | Tank.mo | model Tank\n  Real h;\nequation\n  der(h) = 1;\nend Tank;\n
Modula-2 | Stack.mod | IMPLEMENTATION MODULE Stack;\nFROM InOut IMPORT WriteLn;\nEND Stack.\n
Monkey | game.monkey
MooCode | core.moo
MoonScript | app.moon
Mosel | plan.mos | model "plan"\n uses "mmxprs"\n declarations\n end-declarations\nend-model\n
MuPAD | algebra.mu
NASM | boot.nasm
NCL | plot.ncl | load "$NCARG_ROOT/lib/ncarg/nclscripts/csm/gsn_code.ncl"\nbegin\n  f = addfile("x.nc","r")\nend\n
NSIS | setup.nsi
NetLinx | room.axs
Nginx Configuration File | etc/nginx.conf
Nimrod | main.nim
Ninja | build.ninja
Nit | calc.nit
Nix | default.nix
Nu | nuke.nu | ;; tasks\n(load "nu")\n(set x 1)\n
NuSMV | mutex.smv
OCaml | lib/set.ml | open Printf\nlet rec f x = match x with [] -> 0 | _ :: t -> 1 + f t\n
OMG Interface Definition Language | orb/Bank.idl | module Bank {\n  interface Account { readonly attribute long balance; };\n};\n
Objdump | a.objdump
Objective-C | View.m | #import <UIKit/UIKit.h>\n@implementation View\n@end\n
Objective-C++ | Bridge.mm | #import "Bridge.h"\n@implementation Bridge\n@end\n
Octave | poly.m | ## Copyright\nfunction y = poly(x)\n  y = x;\nendfunction\n%!assert (poly (1), 1)\n
Odin | main.odin | package main\nimport "core:fmt"\nmain :: proc() {\n}\n
Opa | hello.opa
OpenCL | add.cl | __kernel void add(__global float *a) {\n  int i = get_global_id(0);\n}\n
OpenEdge ABL | lib/Order.cls | USING Progress.Lang.*.\nCLASS lib.Order:\nEND CLASS.\n
OpenSCAD | gear.scad
Ox | arma.ox
Oz | queens.oz
PAWN | gamemode.pwn
PEG | expr.peg
PHP | index.php | <?php\necho 1;\n
POD | doc/intro.pod | =head1 NAME\n\nintro\n\n=cut\n
POV-Ray | scene.pov
Papyrus | Quest.psc
Parrot Internal Representation | hello.pir
Pascal | unit1.pas
Perl | lib/App.pm | package App;\nuse strict;\n1;\n
Perl 6 | lib/App.rakumod
Pike | server.pike
PkgConfig | zlib.pc | prefix=/usr\nName: zlib\nCflags: -I/usr/include\n
Pony | main.pony
PowerShell | build.ps1
Praat | pitch.praat
Processing | sketch.pde
Propeller Spin | blink.spin
Protocol Buffer | api.proto
Pug | views/layout.pug
Puppet | manifests/init.pp | class apt {\n  package { 'apt': ensure => present }\n}\n
PureBasic | app.pb
PureScript | src/Main.purs
Python | src/a.py
Q | tick.q | \\d .u\nsub:{[t;s] t}\n
QML | Main.qml
QVTO | uml2rdb.qvto
R | analysis.R | library(dplyr)\nx <- c(1, 2)\n
RAML | api.raml
RConsole | tests/reg.Rout
REALbasic | App.rbbas
REXX | copy.rexx
RHTML | app/views/list.rhtml
Racket | main.rkt
Ragel in Ruby Host | parser.rl
Rd | man/plot.Rd
ReasonML | src/App.re | let add = (a, b) => a + b;\nmodule M = {\n  type t = int;\n};\n
Red | hello.red
Ren'Py | script.rpy | label start:\n    "Hello."\n    return\n
RenderScript | mono.rs | #pragma version(1)\n#pragma rs java_package_name(com.x)\n
Ride | dapp.ride
Robot Framework | login.robot
Rouge | main.rg
Ruby | lib/app.rb
Rust | src/lib.rs | use std::io;\nfn main() {}\n
S | stats/fit.ssc
SARL | agents.sarl
SAS | report.sas
SCSS | _vars.scss
SMT | problem.smt2
SPARQL | people.rq
SQF | init.sqf
SQL | schema.sql | CREATE TABLE t (id INTEGER PRIMARY KEY);\n
SWIG | wrap.i | %module wrap\n%{\n#include "x.h"\n%}\n
Sage | ring.sage
Sass | theme.sass
Scala | src/Main.scala
Scheme | srfi-1.scm | (define (f x) x)\n(define y 2)\n
Scilab | pid.sce
Self | traits.self
ShExC | person.shex
Shell | build.sh
Sieve | spam.sieve
Silver | list.vpr
Singularity | Singularity
Slim | index.slim
Smali | Main.smali
Smarty | page.tpl | {include file="head.tpl"}\n{foreach $xs as $x}{$x}{/foreach}\n
Smithy | weather.smithy
Solidity | Token.sol | pragma solidity ^0.8.0;\ncontract Token {}\n
SourcePawn | plugin.sp
Squirrel | ai.nut
Stan | model.stan
Standard ML | list.sml
Stata | table.do
Stylus | app.styl
SuperCollider | synth.scd | SynthDef(\\a, { Out.ar(0, SinOsc.ar(440)) }).add;\n
Swift | App.swift
SystemVerilog | alu.sv
Tcl | app.tcl
Tcsh | login.tcsh
TeX | paper.tex
Tea | page.tea
Terminfo | terminfo.src
Thrift | api.thrift
Transact-SQL | proc.sql | SET NOCOUNT ON\nGO\nDECLARE @x NVARCHAR(10)\n
Treetop | arith.treetop
Turing | sort.tu
Twig | page.twig
TypeScript | app.ts | import { x } from './x';\nexport const y: number = x;\n
TypoScript | setup.typoscript
USD | scene.usda
Unity3D Asset | Main.unity
Uno | App.uno
UnrealScript | Pawn.uc | class Pawn extends Actor\n  native;\nvar int Health;\n
UrWeb | demo.ur
VBScript | logon.vbs
VCL | default.vcl
VHDL | counter.vhdl
Vala | window.vala
Velocity | mail.vm | #set($x = 1)\nHello $user\n
Verilog | cpu.v | module cpu(input clk);\nendmodule\n
VimL | plugin/a.vim
Visual Basic | Form1.vb
Vue | App.vue
Web IDL | Window.webidl
WebAssembly | add.wat
Whiley | sort.whiley
X10 | Fib.x10
XBase | customer.prw
XC | main.xc
XML | layout.xml | <?xml version="1.0"?>\n<a/>\n
XML Lasso | page.lasso | <?xml version="1.0"?>\n<?lasso var: 'x' = 1; ?>\n<a/>\n
XQuery | books.xq
XS | List.xs
XSLT | style.xsl
Xtend | Gen.xtend
Xtlang | synth.xtm
YANG | ietf-ip.yang
Zeek | scripts/main.zeek
Zephir | view.zep
Zig | build.zig
Zimpl | knap.zimpl
eC | app.ec
ooc | main.ooc
"""

CHOICES = r"""
C | a.h | #ifndef A_H\n#define A_H\nint f(int);\n#endif\n
C | class.h | /* The class of an object. */\nstruct class { int virtual_; };\n
C++ | a.h | namespace a {\nclass B;\n}\n
C++ | a.h | #include <vector>\n
C++ | a.h | /* -*- c++ -*- */\nint x;\n
Objective-C | a.h | #import <Foundation/Foundation.h>\n@interface A\n@end\n
- | rules.pl | :- module(rules, [p/1]).\np(X) :- q(X).\n
Perl | run.pl | use strict;\nmy $x = 1;\n
- | Nat.v | Require Import Arith.\nTheorem t : 1 = 1.\nProof. reflexivity. Qed.\n
XML | de.ts | <?xml version="1.0"?>\n<!DOCTYPE TS>\n<TS/>\n
- | README.md | # Title\n
- | ci.yml | on: push\n
- | notes.txt | plain\n
Pascal | crt.pp | unit crt;\ninterface\n
C++ | x.inc | template <class T> struct A {};\n
Visual Basic | Sheet.cls | VERSION 1.0 CLASS\nAttribute VB_Name = "Sheet"\n
TeX | thesis.cls | \\NeedsTeXFormat{LaTeX2e}\n\\ProvidesClass{thesis}\n
Nginx Configuration File | site.conf | server {\n  listen 80;\n  server_name x;\n}\n
Apache Configuration | site.conf | <VirtualHost *:80>\nServerName x\n</VirtualHost>\n
Makefile | foo.d | foo.o: foo.c foo.h\n
GAS | boot.S | #include <x.h>\n.globl start\nstart:\n
S | fit.S | fit <- function(x) {\n  x + 1\n}\n
Makefile | src/Makefile.am
Shell | configure
C | config.h.in | #undef HAVE_X\n
Tcl | test/expr.test | set testdir [file dirname $argv0]\nsource $testdir/tester.tcl\n
- | case.test | 1 + 1 = 2\n
Fortran | x.f | program x\n  use y\nend program\n
Fortran Fixed Form | x.F
Dockerfile | Dockerfile.dev
Kconfig | Kconfig.cpu
R | X.R | f <- function(x) x\n
Python | tool | #!/usr/bin/python\nprint(1)\n
Python | tool | #!/usr/bin/env -S python3.11 -u\nprint(1)\n
Python | tool | #!/usr/bin/env -i PATH=/bin python3\nprint(1)\n
Lua | tool | #!/usr/bin/lua5.3\n
Perl | tool | #! /usr/bin/perl -w\n
Tcl | tool | #!/bin/sh\n# the next line restarts using tclsh \\\nexec tclsh "$0" ${1+"$@"}\n
Shell | tool | #!/bin/sh\nexec python3 other.py\n
Shell | tool | # vim: ft=sh\nx=1\n
Ruby | tool | # -*- mode: ruby; coding: utf-8 -*-\n
XML | data.unknown | <?xml version="1.0"?>\n<a/>\n
- | data.unknown | nothing that anybody knows\n
- | LICENSE | MIT\n
"""


def rows(block: str) -> list[tuple[str, str, str | None]]:
    """Language, path and text of each line of a block."""
    found = []
    for line in block.strip().split("\n"):
        language, path, *text = line.split(" | ", 2)
        written = (
            text[0].replace("\\\\", "\0").replace("\\n", "\n").replace("\\t", "\t")
            if text
            else None
        )
        found.append((language.strip(), path.strip(), written and written.replace("\0", "\\")))
    return found


@pytest.mark.parametrize(("language", "path", "text"), rows(EXAMPLES))
def test_every_language_has_an_example(language: str, path: str, text: str | None):
    assert detect(path, text).language == language


def test_the_examples_are_the_whole_list():
    named = [language for language, _, _ in rows(EXAMPLES)]
    assert sorted(named) == sorted(LANGUAGES)
    assert len(named) == 338


def test_the_names_are_spelt_as_in_the_list(data: Path):
    listed = (data / "lists" / "deepseek-coder-v2-languages.txt").read_text().strip().split("\n")
    assert list(LANGUAGES) == [name.strip() for name in listed]


def test_the_tables_are_what_the_script_makes(data: Path, tmp_path: Path):
    root = Path(__file__).parent.parent.parent
    script = [sys.executable, str(root / "scripts" / "build_languages.py")]
    subprocess.run([*script, "--data", str(data), "--out", str(tmp_path)], check=True)
    for name in ("languages.json", "rules.json"):
        kept = root / "src" / "midfill" / "corpus" / "languages" / name
        assert (tmp_path / name).read_bytes() == kept.read_bytes()


@pytest.mark.parametrize(("language", "path", "text"), rows(CHOICES))
def test_the_text_decides_where_the_name_does_not(language: str, path: str, text: str | None):
    assert detect(path, text).language == (None if language == "-" else language)


def test_what_decided_is_said():
    assert detect("a.py").by == "name"
    assert detect("tool", "#!/bin/sh\n").by == "interpreter"
    assert detect("a.h", "namespace a {\n").by == "content"
    assert detect("a.h").by == "ambiguous"
    assert (detect("a.h").language, detect("a.h").outside) == ("C", None)
    assert (detect("a.yml").language, detect("a.yml").outside) == (None, "YAML")


def test_v1_has_87_languages_nine_of_them_outside_the_list():
    assert len(V1) == 87
    assert V1 - set(LANGUAGES) == set(OUTSIDE) - {"Markdown", "reStructuredText"}
    assert {"Python", "C#", "YAML", "Wolfram Language", "Batchfile"} <= V1
    assert not {"Markdown", "Vue", "Cython"} & V1


def test_folders_do_not_matter():
    assert detect("node_modules/x/a.js") == detect("a.js")


@pytest.mark.parametrize(
    ("language", "line"),
    [
        ("Python", "#src/utils.py"),
        ("C", "// src/utils.py"),
        ("HTML", "<!-- src/utils.py -->"),
        ("JSON", "#src/utils.py"),
        (None, "#src/utils.py"),
        ("Haskell", "-- src/utils.py"),
        ("OCaml", "(* src/utils.py *)"),
        ("CSS", "/* src/utils.py */"),
        ("TeX", "% src/utils.py"),
        ("Fortran Fixed Form", "C src/utils.py"),
        ("COBOL", "      * src/utils.py"),
        ("VimL", '" src/utils.py'),
        ("YAML", "#src/utils.py"),
        ("Markdown", "<!-- src/utils.py -->"),
    ],
)
def test_a_comment_is_in_the_language_itself(language: str | None, line: str):
    assert comment(language, "src/utils.py") == line


def test_every_language_but_json_has_its_own_comment():
    bare = [n for n, one in LANGUAGES.items() if not (one.line_comment or one.block_comment)]
    assert bare == ["JSON"]


PARTS = [
    "-->",
    "*/",
    "--",
    "->",
    "\n",
    "\r",
    "\u2028",
    "(*",
    "*)",
    "]]",
    "}}",
    '"',
    "]",
    "\\",
    "%}",
]
ODD = st.lists(st.one_of(st.text(max_size=8), st.sampled_from(PARTS))).map("".join)


@given(st.sampled_from([*LANGUAGES, *OUTSIDE, None]), ODD)
def test_no_path_breaks_out_of_its_comment(language: str | None, path: str):
    line = comment(language, path)
    assert len(line.splitlines()) == 1
    assert not line.endswith("\\")
    known = LANGUAGES.get(language or "")
    if known and known.block_comment and not known.line_comment:
        start, end = known.block_comment
        assert line.endswith(end)
        assert end not in line[len(start) : -len(end)]
        assert start not in line[len(start) : -len(end)]


@pytest.mark.parametrize("name", ["a" + ".in" * 100_000, "." * 1_000_000, ".in", "a/.in", "", "/"])
def test_no_name_is_too_odd(name: str):
    assert detect(name, "").language is None


ANY = st.text(st.characters(codec=None), max_size=200)


@given(ANY, st.one_of(st.none(), ANY))
def test_detection_never_raises(path: str, text: str | None):
    found = detect(path, text)
    assert found.language is None or found.language in LANGUAGES


SHARED = ["h", "m", "pl", "v", "ts", "r", "pro", "cls", "fs", "inc", "sql", "t", "S", "conf", "l"]


@given(st.lists(ANY, max_size=3), st.sampled_from(SHARED), ANY)
def test_folders_change_nothing(folders: list[str], extension: str, text: str):
    path = "/".join([*folders, f"name.{extension}"])
    assert detect(path, text) == detect(f"name.{extension}", text)


@pytest.mark.parametrize(
    "unit", ["\n", " ", "\t", "a", "(", "#", "a\n", " \n", "\r", ".", "x y ", "a:"]
)
def test_no_text_makes_an_extension_slow(unit: str):
    """A megabyte of one thing: only the head is read, and no pattern goes back and forth in it."""
    text = unit * (1_000_000 // len(unit))
    extensions = {end for one in LANGUAGES.values() for end in one.extensions}
    for extension in sorted(extensions):  # over a thousand: a slow pattern would end the test
        detect("name" + extension, text)


def test_a_text_is_read_no_further_than_its_head_and_its_mode_lines():
    late = "int x;\n" * 5_000 + "namespace a {\n" + "int x;\n" * 1_000
    assert detect("a.h", late).language == "C"
    assert re.search("^namespace", late, re.MULTILINE)
