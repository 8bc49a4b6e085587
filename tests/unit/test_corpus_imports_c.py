"""Edges among C files and their kin, worked out by hand."""

from import_edges import edges
from midfill.corpus.dependencies import c


def test_quoted_beside_then_roots_then_the_only_one():
    texts = {
        "src/a/main.c": """
            #include "near.h"
            # include  "inc.h"
            #include "only.h"
            #include "twice.h"
            #include "../b/up.h"
            """,
        "src/a/near.h": "",
        "src/near.h": "",
        "include/inc.h": "",
        "src/b/up.h": "",
        "deep/down/only.h": "",
        "x/twice.h": "",
        "y/twice.h": "",
        "src/a/near.c": '#include "near.h"\n',
    }
    assert edges(c, texts, ".c", ".h") == {
        "src/a/main.c": {"src/a/near.h", "include/inc.h", "deep/down/only.h", "src/b/up.h"},
        "src/a/near.c": {"src/a/near.h"},
    }


def test_angle_brackets_do_not_look_for_the_standard_library():
    texts = {
        "compat/string.h": "",
        "lib/vector": "",
        "lib/proj/api.h": "",
        "include/stdio.h": "",  # a C library's own
        "main.cc": "#include <string.h>\n#include <vector>\n#include <proj/api.h>\n"
        "#include <stdio.h>\n",
    }
    assert edges(c, texts, ".cc") == {"main.cc": {"lib/proj/api.h", "include/stdio.h"}}


def test_roots_that_build_files_state_and_other_includes_show():
    texts = {
        "compile_flags.txt": "-Wall\n-Ithird/one\n-I other\n",
        "lib/CMakeLists.txt": "include_directories(\n  ${CMAKE_CURRENT_SOURCE_DIR}/inner SYSTEM)\n",
        "third/one/a.h": "",
        "elsewhere/a.h": "",
        "lib/inner/b.h": "",
        "old/b.h": "",
        "shown/dir/sure.h": "",
        "shown/common.h": "",
        "old/common.h": "",
        "app/m.c": '#include "a.h"\n#include "b.h"\n#include "dir/sure.h"\n#include "common.h"\n',
    }
    assert edges(c, texts, ".c") == {
        "app/m.c": {"third/one/a.h", "lib/inner/b.h", "shown/dir/sure.h", "shown/common.h"}
    }


def test_comments_strings_and_backslashes():
    texts = {
        "x.h": "",
        "y.h": "",
        "d/z.h": "",
        "m.cpp": """
            /* #include "x.h"
            #include "x.h"
            */
            // glob: src/*.c
            #include "y.h"  // */
            const char *s = "/*";
            #include "d\\\\z.h"
            """,
    }
    assert edges(c, texts, ".cpp") == {"m.cpp": {"y.h", "d/z.h"}}


def test_objective_c_frameworks_and_include_next():
    texts = {
        "Lib/Core/Thing.h": "",
        "App/View.m": "#import <UIKit/UIKit.h>\n#import <Core/Thing.h>\n#import <Kit/Other.h>\n",
        "Lib/Base/Other.h": "",
        "wrap/limits.h": "#include_next <limits.h>\n",
        "include/limits.h": "",
    }
    assert edges(c, texts, ".m", ".h") == {
        "App/View.m": {"Lib/Core/Thing.h", "Lib/Base/Other.h"},
        "wrap/limits.h": {"include/limits.h"},
    }


def test_modules_of_cpp20():
    texts = {
        "shapes.cppm": "export module shapes;\nexport import :circle;\nimport std;\n",
        "circle.cppm": "export module shapes:circle;\n",
        "shapes.cpp": "module;\n#include <cmath>\nmodule shapes;\n",
        "main.cpp": 'import shapes;\nimport "legacy.h";\nint main() {}\n',
        "legacy.h": "",
        "word.cpp": "// import shapes;\nint importance;\n",
    }
    assert edges(c, texts, language="C++") == {
        "shapes.cppm": {"circle.cppm"},
        "shapes.cpp": {"shapes.cppm"},
        "main.cpp": {"shapes.cppm", "legacy.h"},
    }
