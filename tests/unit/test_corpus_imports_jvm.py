"""Edges among Java, Kotlin and Scala files, worked out by hand."""

from import_edges import edges
from midfill.corpus.dependencies import jvm


def test_java_imports_of_types_members_and_whole_packages():
    texts = {
        "src/main/java/a/Base.java": "package a;\npublic abstract class Base {}\n",
        "src/main/java/a/util/Text.java": """
            package a.util;
            public final class Text {
              public static String trim(String s) { return s; }
              public static class Nested {}
            }
            """,
        "src/main/java/a/util/Maths.java": "package a.util;\n@Deprecated public enum Maths { ONE }\n",
        "src/main/java/a/util/Unused.java": "package a.util;\nclass Unused {}\nclass Second {}\n",
        "src/main/java/a/One.java": """
            package a;
            import a.util.Text;
            class One {}
            """,
        "src/main/java/a/Nested.java": "package a;\nimport a.util.Text.Nested;\nclass N {}\n",
        "src/main/java/a/Static.java": """
            package a;
            import static a.util.Text.trim;
            import static a.util.Maths.*;
            class S {}
            """,
        "src/main/java/b/Wild.java": """
            package b;
            import a.util.*;
            import java.util.*;
            class Wild extends Object { Maths m; Second s; }
            """,
        # The test root is another folder of the same package.
        "src/test/java/a/BaseTest.java": "package a;\nclass BaseTest { Base b; }\n",
    }
    util = "src/main/java/a/util/"
    assert edges(jvm, texts) == {
        "src/main/java/a/One.java": {util + "Text.java"},
        "src/main/java/a/Nested.java": {util + "Text.java"},
        "src/main/java/a/Static.java": {util + "Text.java", util + "Maths.java"},
        "src/main/java/b/Wild.java": {util + "Maths.java", util + "Unused.java"},
        "src/test/java/a/BaseTest.java": {"src/main/java/a/Base.java"},
    }


def test_java_words_that_are_no_use_of_a_type():
    texts = {
        "p/Shape.java": "package p;\ninterface Shape {}\n",
        "p/A.java": """
            package p;
            /* import p.Shape; a Shape
               Shape */
            class A {
              // a Shape
              String s = "Shape";
              ShapeLike x; MyShape y;
            }
            """,
        "p/B.java": 'package p;\nclass B { String glob = "/*"; Shape s; String end = "*/"; }\n',
        "q/C.java": "package q;\nclass C { Shape s; }\n",  # another package, not imported
    }
    assert edges(jvm, texts) == {"p/B.java": {"p/Shape.java"}}


def test_a_type_declared_in_two_modules_is_the_nearest():
    texts = {
        "one/src/a/X.java": "package a;\nclass X {}\n",
        "two/src/a/X.java": "package a;\nclass X {}\n",
        "one/src/b/U.java": "package b;\nimport a.X;\nclass U {}\n",
        "two/src/b/U.java": "package b;\nimport a.X;\nclass U {}\n",
    }
    assert edges(jvm, texts) == {
        "one/src/b/U.java": {"one/src/a/X.java"},
        "two/src/b/U.java": {"two/src/a/X.java"},
    }


def test_kotlin_functions_properties_and_mixed_java():
    texts = {
        "k/Strings.kt": """
            package k
            fun String.shout(): String = uppercase()
            fun <T> List<T>.second(): T = this[1]
            val limit = 3
            """,
        "k/Model.kt": "package k\ndata class Model(val x: Int)\nsealed interface Event\n",
        "j/Old.java": "package j;\npublic class Old {}\n",
        "m/Main.kt": """
            package m
            import j.Old
            import k.second
            import k.shout as loud
            fun main() { val m: Old? = null }
            """,
        "m/Limit.kt": "package m\nimport k.limit\nfun f() = limit\n",
        "j/Facade.java": "package j;\nimport k.StringsKt;\nclass Facade {}\n",
        "k/Use.kt": "package k\nfun use(m: Model, e: Event) {}\n",
    }
    assert edges(jvm, texts) == {
        "m/Main.kt": {"j/Old.java", "k/Strings.kt"},
        "m/Limit.kt": {"k/Strings.kt"},
        "j/Facade.java": {"k/Strings.kt"},
        "k/Use.kt": {"k/Model.kt"},
    }


def test_scala_braces_renames_relative_packages_and_package_objects():
    texts = {
        "a/B.scala": "package a\ncase class B(x: Int)\nobject C\n",
        "a/D.scala": "package a\ntrait D\n",
        "a/c/package.scala": "package a\npackage object c { type Id = Int }\n",
        "a/c/E.scala": "package a.c\nclass E\n",
        "u/Id.scala": "package u\nimport a.c.Id\n",
        "u/One.scala": "package u\nimport a.{B => Bee, D}\nclass One\n",
        "u/Many.scala": """
            package u
            import a.{
              C,
              D => _
            }
            import _root_.a.c._
            class Many { def f = { import a.B; new E } }
            """,
        "a/Relative.scala": "package a\nimport c.E\nobject Relative\n",
        "a/c/Chained.scala": "package a\npackage c\nclass Chained(d: D, e: E)\n",
    }
    assert edges(jvm, texts) == {
        "u/Id.scala": {"a/c/package.scala"},
        "u/One.scala": {"a/B.scala", "a/D.scala"},
        "u/Many.scala": {"a/B.scala", "a/D.scala", "a/c/package.scala", "a/c/E.scala"},
        "a/Relative.scala": {"a/c/E.scala"},
        "a/c/Chained.scala": {"a/D.scala", "a/c/E.scala"},
    }
