"""Edges among Go files, worked out by hand."""

from import_edges import edges
from midfill.corpus.dependencies import go


def test_a_package_is_every_file_of_its_folder_but_tests():
    texts = {
        "go.mod": 'module example.org/app // "x"\n\ngo 1.19\n',
        "main.go": """
            // Package main
            package main
            import (
                "fmt"
                // "example.org/app/dead"
                kv "example.org/app/store"
                _ `example.org/app/internal/hook`
            )
            /* import "example.org/app/dead" */
            func main() { s := "example.org/app/dead" }
            """,
        "store/get.go": "package store\n\nfunc Get() {}\n",
        "store/put.go": "package store\n",
        "store/get_test.go": "package store\n",
        "store/out_test.go": 'package store_test\nimport "example.org/app/store"\n',
        "store/gen.go": "//go:build ignore\n\npackage main\n",
        "internal/hook/hook.go": "package hook\n",
        "dead/dead.go": "package dead\n",
    }
    store = {"store/get.go", "store/put.go"}
    assert edges(go, texts, ".go") == {
        "main.go": store | {"internal/hook/hook.go"},
        "store/get_test.go": store,
        "store/out_test.go": store,
    }


def test_files_of_one_package_by_the_exported_names_they_use():
    texts = {
        "go.mod": "module m\n",
        "p/types.go": "package p\n\ntype Node struct{}\n\nfunc (n *Node) Walk() {}\n",
        "p/errors.go": "package p\n\nvar (\n\tErrGone = 1\n)\n",
        "p/use.go": "package p\n\nfunc use(n Node) error { return ErrGone }\n",
        "p/other.go": 'package p\n\n// Node\nvar s = "Node"\n',
    }
    assert edges(go, texts, ".go") == {"p/use.go": {"p/types.go", "p/errors.go"}}


def test_several_modules_replacements_and_vendored_packages():
    texts = {
        "go.mod": "module big.org/root\n\nrequire far.org/lib v1.0.0\n"
        "replace far.org/lib v1.0.0 => ./local/lib\n",
        "go.work": "use ./tool\n",
        "tool/go.mod": "module big.org/root/tool\n",
        "tool/run/run.go": "package run\n",
        "local/lib/go.mod": "module renamed.org/lib\n",
        "local/lib/sub/sub.go": "package sub\n",
        "vendor/third.org/v/v.go": "package v\n",
        "a.go": 'package root\nimport "big.org/root/tool/run"\nimport s "far.org/lib/sub"\n'
        'import "third.org/v"\n',
    }
    assert edges(go, texts, ".go") == {
        "a.go": {"tool/run/run.go", "local/lib/sub/sub.go", "vendor/third.org/v/v.go"}
    }
