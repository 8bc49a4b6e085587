"""One small task of our own in MultiPL-E's form, in every language, solved well and badly.

triangle(n): the sum of the whole numbers from 1 to n. A program is `prompt + answer`, the tests follow.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Triangle:
    """The task in one language, and answers that end in different ways."""

    prompt: str
    tests: str
    right: str
    wrong: str
    leaves: str  # ends the program with status 0 before the tests do
    endless: str
    crashes: str  # by something that is no failed test
    broken: str | None  # does not compile, or cannot be read


TRIANGLES = {
    "cpp": Triangle(
        prompt="""#include<assert.h>
#include<bits/stdc++.h>
// The sum of the whole numbers from 1 to n.
// >>> triangle((4))
// (10)
long triangle(long n) {
""",
        tests="""}
int main() {
    auto candidate = triangle;
    assert(candidate((0)) == (0));
    assert(candidate((4)) == (10));
    assert(candidate((10)) == (55));
}
""",
        right="  return n * (n + 1) / 2;",
        wrong="  return n * n;",
        leaves="  exit(0);",
        endless="  for (volatile long i = 0;; i = i + 1) {}",
        crashes="  return *(volatile long*)(n * 0);",
        broken="  return n *;",
    ),
    "java": Triangle(
        prompt="""import java.util.*;
import java.lang.reflect.*;
import org.javatuples.*;
import java.util.stream.*;
class Problem {
    // The sum of the whole numbers from 1 to n.
    // >>> triangle((4l))
    // (10l)
    public static long triangle(long n) {
""",
        tests="""    }
    public static void main(String[] args) {
    assert(triangle((0l)) == (0l));
    assert(triangle((4l)) == (10l));
    assert(triangle((10l)) == (55l));
    }

}
""",
        right="        return n * (n + 1) / 2;",
        wrong="        return n * n;",
        leaves="        System.exit(0); return 0;",
        endless="        while (true) { n = n + 1; }",
        crashes='        throw new IllegalStateException("no");',
        broken='        return "ten";',
    ),
    "php": Triangle(
        prompt="""<?php
// The sum of the whole numbers from 1 to n.
// >>> triangle(4)
// 10
function triangle($n) {
""",
        tests="""function candidate(...$args) {
    return triangle(...$args);
}

function test(): void {
    if (candidate(0) !== 0) { throw new Exception("Test failed!"); }
    if (candidate(4) !== 10) { throw new Exception("Test failed!"); }
    if (candidate(10) !== 55) { throw new Exception("Test failed!"); }
}

test();
""",
        right="    return intdiv($n * ($n + 1), 2);\n}",
        wrong="    return $n * $n;\n}",
        leaves="    exit(0);\n}",
        endless="    while (true) { $n++; }\n}",
        crashes='    throw new LogicException("no");\n}',
        broken="    return $n *;\n}",
    ),
    "typescript": Triangle(
        prompt="""//The sum of the whole numbers from 1 to n.
// >>> triangle(4)
// 10
function triangle(n: number): number {
""",
        tests="""declare var require: any;
const assert = require('node:assert');


function test() {
  let candidate = triangle;
  assert.deepEqual(candidate(0),0);
  assert.deepEqual(candidate(4),10);
  assert.deepEqual(candidate(10),55);
}

test();
""",
        right="  return n * (n + 1) / 2;\n}",
        wrong="  return n * n;\n}",
        leaves="  (globalThis as any).process.exit(0);\n  return 0;\n}",
        endless="  while (true) { n = n + 1; }\n}",
        crashes='  throw new RangeError("no");\n}',
        broken='  return "ten";\n}',
    ),
    "csharp": Triangle(
        prompt="""using System;
using System.Numerics;
using System.Diagnostics;
using System.Collections.Generic;
using System.Linq;
using System.Text;
using System.Security.Cryptography;
class Problem {
    // The sum of the whole numbers from 1 to n.
    // >>> Triangle((4L))
    // (10L)
    public static long Triangle(long n) {
""",
        tests="""    }
    public static void Main(string[] args) {
    Debug.Assert(Triangle((0L)) == (0L));
    Debug.Assert(Triangle((4L)) == (10L));
    Debug.Assert(Triangle((10L)) == (55L));
    }

}
""",
        right="        return n * (n + 1) / 2;",
        wrong="        return n * n;",
        leaves="        Environment.Exit(0); return 0;",
        endless="        while (true) { n = n + 1; }",
        crashes='        throw new InvalidOperationException("no");',
        broken='        return "ten";',
    ),
    "bash": Triangle(
        prompt="""#!/bin/bash
# The sum of the whole numbers from 1 to n.
# >>> $(triangle "4")
# "10"
#
# $1 is an integer
triangle() {
""",
        tests="""}

candidate() {
    triangle "$@"
}

set -e
run_test() {
    [[ $(candidate "0") = "0" ]]
    [[ $(candidate "4") = "10" ]]
    [[ $(candidate "10") = "55" ]]
}

run_test
""",
        right="    echo $(( $1 * ($1 + 1) / 2 ))",
        wrong="    echo $(( $1 * $1 ))",
        leaves="    :\n}\nexit 0\nmore() {\n    :",
        endless="    while true; do :; done",
        crashes="    kill -SEGV $$",
        broken="    if true; then echo",
    ),
    "javascript": Triangle(
        prompt="""//The sum of the whole numbers from 1 to n.
// >>> triangle(4)
// 10
function triangle(n){
""",
        tests="""const assert = require('node:assert');


function test() {
  let candidate = triangle;
  assert.deepEqual(candidate(0),0);
  assert.deepEqual(candidate(4),10);
  assert.deepEqual(candidate(10),55);
}

test();
""",
        right="  return n * (n + 1) / 2;\n}",
        wrong="  return n * n;\n}",
        leaves="  process.exit(0);\n}",
        endless="  while (true) { n = n + 1; }\n}",
        crashes='  throw new RangeError("no");\n}',
        broken="  return n *;\n}",
    ),
    "python": Triangle(
        prompt='def triangle(n):\n    """The sum of the whole numbers from 1 to n."""\n',
        tests="""def check(candidate):
    assert candidate(0) == 0
    assert candidate(4) == 10
    assert candidate(10) == 55


check(triangle)
""",
        right="    return n * (n + 1) // 2",
        wrong="    return n * n",
        leaves="    raise SystemExit(0)",
        endless="    while True: n += 1",
        crashes='    raise ValueError("no")',
        broken="    return n *",
    ),
    "go": Triangle(
        prompt="""package triangle_test

import (
    "testing"
    "fmt"
    "os"
)

var _ = os.Args // imported for answers that need it

// The sum of the whole numbers from 1 to n.
// >>> triangle(4)
// 10
func triangle(n int) int {
""",
        tests="""func TestTriangle(t *testing.T) {
  candidate := triangle
	type test struct {
		actual   interface{}
		expected interface{}
	}
   tests := []test{
     { actual: candidate(0), expected: 0 },
     { actual: candidate(4), expected: 10 },
     { actual: candidate(10), expected: 55 },
   }

	for i, tc := range tests {
		t.Run(fmt.Sprintf("test num % d", i), func(t *testing.T) {
			if fmt.Sprintf("%v", tc.actual) != fmt.Sprintf("%v", tc.expected) {
				t.Errorf("expected '%s', got '%s'", tc.expected, tc.actual)
			}
		})
	}
}
""",
        right="    return n * (n + 1) / 2\n}",
        wrong="    return n * n\n}",
        leaves="    os.Exit(0)\n    return 0\n}",
        endless="    for { n = n + 1 }\n}",
        crashes='    panic("no")\n}',
        broken='    return "ten"\n}',
    ),
    "rust": Triangle(
        prompt="""/// The sum of the whole numbers from 1 to n.
/// >>> triangle(4)
/// 10
fn triangle(n: isize) -> isize {
""",
        tests="""}

fn main() {
    let candidate = triangle;
    assert_eq!(candidate(0), 0);
    assert_eq!(candidate(4), 10);
    assert_eq!(candidate(10), 55);
}
""",
        right="    n * (n + 1) / 2",
        wrong="    n * n",
        leaves="    std::process::exit(0)",
        endless="    let mut i = n; loop { i = i.wrapping_add(1); }",
        crashes='    panic!("no {}", n)',
        broken='    "ten"',
    ),
    "r": Triangle(
        prompt="""# The sum of the whole numbers from 1 to n.
# >>> triangle(4)
# 10
triangle <- function(n) {
""",
        tests="""test_humaneval <- function() {
    candidate <- triangle
    stopifnot(isTRUE(all.equal(candidate(0), 0)))
    stopifnot(isTRUE(all.equal(candidate(4), 10)))
    stopifnot(isTRUE(all.equal(candidate(10), 55)))
}
test_humaneval()
""",
        right="    n * (n + 1) / 2\n}",
        wrong="    n * n\n}",
        leaves="    quit(status = 0)\n}",
        endless="    while (TRUE) n <- n + 1\n}",
        crashes='    stop("no")\n}',
        broken="    n * * 2\n}",
    ),
    "ruby": Triangle(
        prompt="""# The sum of the whole numbers from 1 to n.
# >>> triangle.call(4)
# 10
def triangle(n)
""",
        tests="""require 'test/unit'
class TestHumanEval < Test::Unit::TestCase
  def test_triangle
    candidate = method(:triangle)
    assert_equal(0, candidate.call(0))
    assert_equal(10, candidate.call(4))
    assert_equal(55, candidate.call(10))
  end
end
""",
        right="  n * (n + 1) / 2\nend",
        wrong="  n * n\nend",
        leaves="  exit!(0)\nend",
        endless="  loop { n += 1 }\nend",
        crashes='  raise ArgumentError, "no"\nend',
        broken="  n * * 2 (\nend",
    ),
    "lua": Triangle(
        prompt="""-- The sum of the whole numbers from 1 to n.
-- >>> triangle(4)
-- 10
local function triangle(n)
""",
        tests="""lu = require('luaunit')

function test_humaneval()
local candidate = triangle
    lu.assertEquals(candidate(0), 0)
    lu.assertEquals(candidate(4), 10)
    lu.assertEquals(candidate(10), 55)
end

os.exit(lu.LuaUnit.run())
""",
        right="    return n * (n + 1) // 2\nend",
        wrong="    return n * n\nend",
        leaves="    os.exit(0)\nend",
        endless="    while true do n = n + 1 end\nend",
        crashes='    error("no")\nend',
        broken="    return n *\nend",
    ),
    "perl": Triangle(
        prompt="""# The sum of the whole numbers from 1 to n.
# >>> triangle(4)
# 10
sub triangle {
    my($n) = @_;
""",
        tests="""use Test::Deep;


sub testhumaneval {
    my $candidate = \\&triangle;
        if(eq_deeply($candidate->(0),0)) {
        print "ok!" }else{
        exit 1;
        }
        if(eq_deeply($candidate->(4),10)) {
        print "ok!" }else{
        exit 1;
        }
        if(eq_deeply($candidate->(10),55)) {
        print "ok!" }else{
        exit 1;
        }
}

testhumaneval();
""",
        right="    return $n * ($n + 1) / 2;\n}",
        wrong="    return $n * $n;\n}",
        leaves="    exit 0;\n}",
        endless="    while (1) { $n++; }\n}",
        crashes='    die "no";\n}',
        broken="    return $n * ;;) }\n}",
    ),
    "d": Triangle(
        prompt="""import std.math;
/*
The sum of the whole numbers from 1 to n.
    >>> triangle(4L)
    10L

*/
long triangle(long n)
""",
        tests="""unittest
{
    alias candidate = triangle;

    assert(candidate(0L) == 0L);
    assert(candidate(4L) == 10L);
    assert(candidate(10L) == 55L);
}
void main(){}
""",
        right="{\n    return n * (n + 1) / 2;\n}",
        wrong="{\n    return n * n;\n}",
        leaves="{\n    import core.stdc.stdlib : exit;\n    exit(0);\n    return 0;\n}",
        endless="{\n    while (true) { n = n + 1; }\n}",
        crashes='{\n    throw new Exception("no");\n}',
        broken='{\n    return "ten";\n}',
    ),
    "racket": Triangle(
        prompt="""#lang racket

;; The sum of the whole numbers from 1 to n.
;; >>> (triangle 4)
;; 10
(define (triangle n)
""",
        tests="""(require rackunit)

(define (test-humaneval)

  (let (( candidate triangle))
    (check-within (candidate 0) 0 0.001)
    (check-within (candidate 4) 10 0.001)
    (check-within (candidate 10) 55 0.001)
))

(test-humaneval)
""",
        right="  (quotient (* n (+ n 1)) 2))",
        wrong="  (* n n))",
        leaves="  (exit 0))",
        endless="  (let again () (again)))",
        crashes="  (vector-ref (vector) n))",
        broken="  (quotient (* n (+ n 1)) 2)))",
    ),
}
