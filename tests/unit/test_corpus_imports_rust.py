"""Edges among Rust files, worked out by hand."""

from import_edges import edges
from midfill.corpus.dependencies import rust


def test_the_module_tree_and_paths_through_it():
    texts = {
        "Cargo.toml": '[package]\nname = "my-crate"\n',
        "src/lib.rs": """
            pub mod a;
            mod b;
            #[path = "odd/place.rs"]
            mod moved;
            #[cfg(test)] mod tests;
            // mod ghost;
            pub use b::Thing;
            """,
        "src/ghost.rs": "",
        "src/a/mod.rs": "pub mod deep;\nmod inner { pub fn f() {} }\n",
        "src/a/deep.rs": "use super::super::b::{self, Thing as T};\nuse std::fmt;\n",
        "src/b.rs": "mod part;\npub struct Thing;\n",
        "src/b/part.rs": "use crate::{a::deep::*, moved::{x, y as z}};\n",
        "src/odd/place.rs": "pub fn x() {}\npub fn y() {}\n",
        "src/tests.rs": "use super::*;\nfn t() { crate::a::deep::run(); }\n",
        "src/main.rs": "use my_crate::Thing;\nfn main() {}\n",
        "examples/e.rs": "use my_crate::a::deep::Item;\n",
    }
    assert edges(rust, texts, ".rs") == {
        "src/lib.rs": {"src/a/mod.rs", "src/b.rs", "src/odd/place.rs", "src/tests.rs"},
        "src/a/mod.rs": {"src/a/deep.rs"},
        "src/a/deep.rs": {"src/b.rs"},
        "src/b.rs": {"src/b/part.rs"},
        "src/b/part.rs": {"src/a/deep.rs", "src/odd/place.rs"},
        "src/tests.rs": {"src/lib.rs", "src/a/deep.rs"},
        "src/main.rs": {"src/b.rs"},  # where lib.rs re-exports it from
        "examples/e.rs": {"src/a/deep.rs"},
    }


def test_crates_of_one_workspace_also_renamed():
    texts = {
        "Cargo.toml": '[workspace]\nmembers = ["one", "two"]\n',
        "one/Cargo.toml": '[package]\nname = "first-crate"\n',
        "one/src/lib.rs": "mod err;\npub use self::err::*;\n",
        "one/src/err.rs": "pub enum Error {}\n",
        "two/Cargo.toml": '[package]\nname = "two"\n[lib]\npath = "src/two.rs"\n'
        '[dependencies]\nuno = { path = "../one", package = "first-crate" }\n',
        "two/src/two.rs": "use uno::Error;\n",
        "two/tests/it.rs": "extern crate two;\nuse first_crate::Missing;\n",
    }
    assert edges(rust, texts, ".rs") == {
        "one/src/lib.rs": {"one/src/err.rs"},
        "two/src/two.rs": {"one/src/err.rs"},
        "two/tests/it.rs": {"two/src/two.rs", "one/src/lib.rs"},
    }


def test_included_files_and_a_broken_manifest():
    texts = {
        "Cargo.toml": "[[[",
        "src/main.rs": 'mod x;\nstatic S: &str = include_str!("../data/s.txt");\n',
        "src/x.rs": "use super::x::f;\n",
        "data/s.txt": "",
    }
    assert edges(rust, texts, ".rs") == {"src/main.rs": {"src/x.rs", "data/s.txt"}}


def test_a_file_named_by_its_path_keeps_its_modules_beside_it():
    """Also with another attribute behind the path; text of a string that begins with `use` is none."""
    texts = {
        "Cargo.toml": '[package]\nname = "c"\n',
        "src/lib.rs": """
            #[cfg(unix)]
            #[path = "odd/unix.rs"]
            mod imp;
            #[path = "odd/tests.rs"]
            #[cfg(test)]
            mod tests;
            const HELP: &str = "\
                use c deep and others";
            """,
        "src/odd/unix.rs": "mod deep;\n",
        "src/odd/deep.rs": "",
        "src/odd/unix/deep.rs": "",
        "src/odd/tests.rs": "use c::{imp::{self as unix, r#deep}, /* x */ // y,\n imp as again};\n",
    }
    assert edges(rust, texts, ".rs") == {
        "src/lib.rs": {"src/odd/unix.rs", "src/odd/tests.rs"},
        "src/odd/unix.rs": {"src/odd/deep.rs"},
        "src/odd/tests.rs": {"src/odd/unix.rs", "src/odd/deep.rs"},
    }
