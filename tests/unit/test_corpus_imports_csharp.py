"""Edges among C# files, worked out by hand."""

from import_edges import edges
from midfill.corpus.dependencies import csharp


def test_a_namespace_over_several_files_and_only_the_types_used():
    texts = {
        "Core/Shape.cs": "namespace Acme.Core\n{\n    public abstract class Shape\n    {\n"
        "        class Hidden {}\n    }\n}\n",
        "Core/Point.cs": "namespace Acme.Core;\npublic readonly record struct Point(int X);\n",
        "Core/Never.cs": "namespace Acme.Core;\ninternal interface INever {}\n",
        "App/Circle.cs": """
            using System;
            using Acme.Core;
            namespace Acme.App
            {
                // INever
                [Serializable] public sealed class Circle : Shape { Point p; string s = "INever"; }
            }
            """,
        "App/Hidden.cs": "using Acme.Core;\nnamespace Acme.App;\nclass Other { Hidden h; }\n",
        # What lies in a namespace around needs no using.
        "Core/Inner/Deep.cs": "namespace Acme.Core.Inner;\nclass Deep { Shape s; }\n",
        "App/Lone.cs": "namespace Elsewhere;\nclass Lone { Shape s; }\n",
    }
    assert edges(csharp, texts) == {
        "App/Circle.cs": {"Core/Shape.cs", "Core/Point.cs"},
        "Core/Inner/Deep.cs": {"Core/Shape.cs"},
    }


def test_static_alias_and_global_using():
    texts = {
        "M.cs": "namespace A.Tools;\npublic static class M { public static int F() => 1; }\n",
        "N.cs": "namespace A.Tools;\npublic delegate void N(int x);\n",
        "Globals.cs": "global using A.Everywhere;\n",
        "E.cs": "namespace A.Everywhere;\npublic enum E { X }\n",
        "U.cs": "using static A.Tools.M;\nusing Fn = A.Tools.N;\nnamespace B;\nclass U { E e; }\n",
    }
    assert edges(csharp, texts) == {"U.cs": {"M.cs", "N.cs", "E.cs"}}


def test_relative_using_and_partial_types():
    texts = {
        "Big.cs": "namespace P.Data { public partial class Big { } }\n".replace("{ p", "{\n    p"),
        "Big.Parts.cs": "namespace P.Data\n{\n    public partial class Big { }\n}\n",
        "Use.cs": "namespace P\n{\n    using Data;\n    class Use { Big b; }\n}\n",
    }
    assert edges(csharp, texts)["Use.cs"] == {"Big.cs"}
