"""Edges among PHP files, worked out by hand."""

from import_edges import edges
from midfill.corpus.dependencies import php


def test_names_with_groups_functions_and_traits():
    texts = {
        "src/Model/User.php": "<?php\nnamespace App\\Model;\n\nfinal class User {}\n",
        "src/Model/Role.php": "<?php namespace App\\Model;\nenum Role: string {}\n",
        "src/Model/Base.php": "<?php\nnamespace App\\Model;\nabstract class Base { use Stamped; }\n",
        "src/Model/Stamped.php": "<?php\nnamespace App\\Model;\ntrait Stamped {}\n",
        "src/functions.php": "<?php\nnamespace App;\n\nfunction render(string $x) {}\n",
        "src/Page.php": """
            <?php
            namespace App;

            use App\\Model\\{User, Role as R};
            use function App\\render;
            use Psr\\Log\\LoggerInterface;
            /* use App\\Model\\Base; */

            class Page {
                function f() { return function () use ($x) { return new \\App\\Model\\Base(); }; }
            }
            """,
        "src/Same.php": "<?php\nnamespace App;\nclass Same extends Page {}\n",
        "src/Not.php": '<?php\nnamespace App;\n// Page\nclass Not { public $s = "Page"; }\n',
    }
    assert edges(php, texts, ".php") == {
        "src/Model/Base.php": {"src/Model/Stamped.php"},
        "src/Page.php": {
            "src/Model/User.php",
            "src/Model/Role.php",
            "src/functions.php",
            "src/Model/Base.php",
        },
        "src/Same.php": {"src/Page.php"},
    }


def test_the_autoloader_decides_between_two_declarations():
    texts = {
        "composer.json": '{"autoload": {"psr-4": {"Lib\\\\": ["src/"]}, "files": 3}}',
        "old/Thing.php": "<?php\nnamespace Lib;\nclass Thing {}\n",
        "src/Thing.php": "<?php\nnamespace Lib;\nclass Thing {}\n",
        "old/use.php": "<?php\nuse Lib\\Thing;\n",
    }
    assert edges(php, texts, ".php") == {"old/use.php": {"src/Thing.php"}}


def test_included_files():
    texts = {
        "a/b/main.php": """
            <?php
            require_once __DIR__ . '/near.php';
            include dirname(__FILE__) . "/../up.php";
            $config = require dirname(__DIR__) . '/up2.php';
            require(dirname(dirname(__FILE__)) . '/up3.php');
            require_once dirname(__DIR__, 2) . '/top.php';
            include 'beside.php';
            require 'a/rooted.php';
            include "$computed.php";
            /* include 'dead.php'; */
            """,
        "a/b/near.php": "",
        "a/up.php": "",
        "a/up2.php": "",
        "a/up3.php": "",
        "top.php": "",
        "a/b/beside.php": "",
        "a/rooted.php": "",
        "a/b/dead.php": "",
    }
    assert edges(php, texts) == {
        "a/b/main.php": {
            "a/b/near.php",
            "a/up.php",
            "a/up2.php",
            "a/up3.php",
            "top.php",
            "a/b/beside.php",
            "a/rooted.php",
        }
    }


def test_names_are_read_from_where_php_reads_them():
    """A `use` outside classes is a full name, in a class not; `\\B` in `A\\B` is no full name."""
    texts = {
        "a/User.php": r"""<?php
            namespace N;
            use Outer;
            class User {
                use Inner;
                function f() { return new M\Deep() ?? \Full\Name::x; }
            }
            """.replace("\n            ", "\n"),
        "b/N/Outer.php": "<?php\nnamespace N;\nclass outer_of_n {}\nclass Outer2 {}\n",
        "b/Outer.php": "<?php\nclass Outer {}\n",
        "b/Inner.php": "<?php\nnamespace N;\ntrait Inner {}\n",
        "b/Deep.php": "<?php\nclass Deep {}\n",
        "b/Name.php": "<?php\nnamespace Full;\nclass Name {}\n",
    }
    assert edges(php, texts) == {"a/User.php": {"b/Outer.php", "b/Inner.php", "b/Name.php"}}
