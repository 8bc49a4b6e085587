"""Edges among Swift, Haskell and Dart files, worked out by hand."""

from import_edges import edges
from midfill.corpus.dependencies import dart, haskell, swift


def test_swift_modules_see_their_own_types_and_imported_ones():
    texts = {
        "Package.swift": """
            let package = Package(targets: [
              .target(name: "Core", path: "Code/Core"),
              .target(name: "App", dependencies: ["Core"]),
              .testTarget(name: "AppTests", dependencies: ["App"]),
            ])
            """,
        "Code/Core/Shape.swift": "public protocol Shape {}\nextension Int: Shape {}\n",
        "Code/Core/Point.swift": "public struct Point { struct Inner {} }\n",
        "Sources/App/Circle.swift": """
            import Foundation
            import Core
            // Point
            @MainActor final class Circle: Shape {}
            """,
        "Sources/App/Use.swift": 'func f(_ c: Circle) { print("Point") }\nextension Circle {}\n',
        "Sources/App/Unseen.swift": "struct Unseen { var s: Shape }\n",  # Core is not imported
        "Tests/AppTests/T.swift": "@testable import App\nclass T { let c = Circle() }\n",
    }
    assert edges(swift, texts, ".swift") == {
        "Sources/App/Circle.swift": {"Code/Core/Shape.swift"},
        "Sources/App/Use.swift": {"Sources/App/Circle.swift"},
        "Tests/AppTests/T.swift": {"Sources/App/Circle.swift"},
    }


def test_haskell_modules():
    texts = {
        "src/Data/Tree.hs": "{-# LANGUAGE X #-}\n-- | Trees\nmodule Data.Tree (Tree) where\n",
        "src/Data/Tree/Walk.hs": """
            module Data.Tree.Walk
              ( walk ) where
            import           Data.Tree
            import qualified Data.Map as M
            {- import Main -}
            """,
        "app/Main.hs": "module Main where\nimport qualified Data.Tree.Walk as W\n-- import Data.Tree\n",
    }
    assert edges(haskell, texts) == {
        "src/Data/Tree/Walk.hs": {"src/Data/Tree.hs"},
        "app/Main.hs": {"src/Data/Tree/Walk.hs"},
    }


def test_dart_libraries_and_parts():
    texts = {
        "pubspec.yaml": "name: mine\n",
        "lib/mine.dart": "import 'dart:io';\nexport 'src/a.dart' show A;\npart 'src/p.g.dart';\n",
        "lib/src/a.dart": "// import '../mine.dart';\n",
        "lib/src/p.g.dart": "part of '../mine.dart';\n",
        "test/t.dart": 'import "package:mine/src/a.dart";\nimport "package:other/src/a.dart";\n',
    }
    wanted = {
        "lib/mine.dart": {"lib/src/a.dart", "lib/src/p.g.dart"},
        "lib/src/p.g.dart": {"lib/mine.dart"},
        "test/t.dart": {"lib/src/a.dart"},
    }
    assert edges(dart, texts, ".dart") == wanted
