"""Licences of files and repositories: headers, texts, names, expressions."""

import json
import os
from pathlib import Path

import pytest

from midfill.corpus.record import Document
from midfill.corpus.rules.licence import assign, header, normalise, permissive, recognise

CODE = "\nint main(void) { return 0; }\n"
MIT = """Copyright (c) 2020 Ann Example

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and
associated documentation files (the "Software"), to deal in the Software without restriction,
including without limitation the rights to use, copy, modify, merge, publish, distribute,
sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial
portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT
NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND
NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES
OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN
CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""
NOTICE = "The above copyright notice and this permission notice"
MIT_0 = (
    MIT[: MIT.index(NOTICE)].replace(", subject to the following conditions:", ".")
    + MIT[MIT.index("THE SOFTWARE IS") :]
)
BSD_2 = """Copyright 2019 Ann Example. All rights reserved.

Redistribution and use in source and binary forms, with or without modification, are permitted
provided that the following conditions are met:

1. Redistributions of source code must retain the above copyright notice, this list of conditions
   and the following disclaimer.
2. Redistributions in binary form must reproduce the above copyright notice, this list of conditions
   and the following disclaimer in the documentation and/or other materials provided with the
   distribution.
{more}
THIS SOFTWARE IS PROVIDED BY THE COPYRIGHT HOLDERS AND CONTRIBUTORS "AS IS" AND ANY EXPRESS OR
IMPLIED WARRANTIES, INCLUDING, BUT NOT LIMITED TO, THE IMPLIED WARRANTIES OF MERCHANTABILITY AND
FITNESS FOR A PARTICULAR PURPOSE ARE DISCLAIMED. IN NO EVENT SHALL THE COPYRIGHT HOLDER OR
CONTRIBUTORS BE LIABLE FOR ANY DIRECT, INDIRECT, INCIDENTAL, SPECIAL, EXEMPLARY, OR CONSEQUENTIAL
DAMAGES (INCLUDING, BUT NOT LIMITED TO, PROCUREMENT OF SUBSTITUTE GOODS OR SERVICES; LOSS OF USE,
DATA, OR PROFITS; OR BUSINESS INTERRUPTION) HOWEVER CAUSED AND ON ANY THEORY OF LIABILITY, WHETHER IN
CONTRACT, STRICT LIABILITY, OR TORT (INCLUDING NEGLIGENCE OR OTHERWISE) ARISING IN ANY WAY OUT OF THE
USE OF THIS SOFTWARE, EVEN IF ADVISED OF THE POSSIBILITY OF SUCH DAMAGE.
"""
THIRD = """3. Neither the name of the copyright holder nor the names of its contributors may be used to
   endorse or promote products derived from this software without specific prior written permission.
"""
FOURTH = """3. All advertising materials mentioning features or use of this software must display the
   following acknowledgement: This product includes software developed by Ann Example.
""" + THIRD.replace("3.", "4.")
ISC = """Permission to use, copy, modify, and/or distribute this software for any purpose with or
without fee is hereby granted, provided that the above copyright notice and this permission notice
appear in all copies.

THE SOFTWARE IS PROVIDED "AS IS" AND THE AUTHOR DISCLAIMS ALL WARRANTIES WITH REGARD TO THIS
SOFTWARE INCLUDING ALL IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS.
"""
APACHE = """Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file
except in compliance with the License. You may obtain a copy of the License at

    http://www.apache.org/licenses/LICENSE-2.0
"""
GPL = """This program is free software; you can redistribute it and/or modify it under the terms of
the GNU General Public License as published by the Free Software Foundation; either version 2 of the
License, or (at your option) any later version."""


def comment(text: str, sign: str = "# ") -> str:
    return "".join(f"{sign}{line}".rstrip() + "\n" for line in text.splitlines())


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("// SPDX-License-Identifier: MIT", "MIT"),
        ("/* SPDX-License-Identifier: GPL-2.0 */", "GPL-2.0-only"),
        ("# SPDX-License-Identifier: GPL-2.0+", "GPL-2.0-or-later"),
        ("<!-- SPDX-License-Identifier: apache-2.0 -->", "Apache-2.0"),
        ("# SPDX-License-Identifier: (MIT OR Apache-2.0)", "MIT OR Apache-2.0"),
        (
            "-- SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note",
            "GPL-2.0-only WITH Linux-syscall-note",
        ),
        ("# SPDX-License-Identifier: MIT AND (ISC OR 0BSD)", "MIT AND (ISC OR 0BSD)"),
        ('x = "SPDX-License-Identifier: MIT"', None),
    ],
)
def test_spdx_line(line: str, expected: str | None):
    assert header(f"#!/bin/sh\n{line}\n{CODE}") == expected


@pytest.mark.parametrize("sign", ["# ", "// ", " * ", "-- ", "; ", "% "])
@pytest.mark.parametrize(
    ("notice", "expected"),
    [
        (MIT, "MIT"),
        (MIT_0, "MIT-0"),
        (BSD_2.format(more=""), "BSD-2-Clause"),
        (BSD_2.format(more=THIRD), "BSD-3-Clause"),
        (BSD_2.format(more=FOURTH), "BSD-4-Clause"),
        (ISC, "ISC"),
        (APACHE, "Apache-2.0"),
        (GPL, "GPL-2.0-or-later"),
        (GPL.replace("; either version 2", ", version 3").split(", or (")[0], "GPL-3.0-only"),
        (GPL.replace("General", "Lesser General").replace("version 2", "version 2.1"), "LGPL-2.1-or-later"),
        (GPL.replace("General", "Affero General").replace("version 2", "version 3"), "AGPL-3.0-or-later"),
        ("This Source Code Form is subject to the terms of the Mozilla Public License, v. 2.0.", "MPL-2.0"),
        ("Distributed under the Boost Software License, Version 1.0.", "BSL-1.0"),
        ("This file is released under the MIT license, see LICENSE.", "MIT"),
        ("This module has been placed in the public domain.", "LicenseRef-Public-Domain"),
        ("Use of this source code is governed by a BSD-style license, see LICENSE.", None),
        ("Copyright 2020 Ann Example. All rights reserved.", None),
        ("Computes the licence fee of a driver.", None),
    ],
)  # fmt: skip
def test_notices(notice: str, expected: str | None, sign: str):
    text = comment(notice, sign)
    if sign == " * ":
        text = f"/*\n{text} */\n"
    assert header(text + CODE) == expected


def test_a_choice_of_two():
    text = comment("Licensed under either of the MIT license or\n" + APACHE)
    assert set((header(text) or "").split(" OR ")) == {"MIT", "Apache-2.0"}


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ("MIT", "MIT"),
        ("mit", "MIT"),
        ("MIT License", "MIT"),
        ("The MIT License (MIT)", "MIT"),
        ("Expat", "MIT"),
        ("Apache Software License 2.0", "Apache-2.0"),
        ("Apache License, Version 2.0", "Apache-2.0"),
        ("Apache 2", "Apache-2.0"),
        ("License :: OSI Approved :: Apache Software License", "Apache-2.0"),
        ("BSD-3-Clause OR MIT", "BSD-3-Clause OR MIT"),
        ("BSD", "BSD-3-Clause"),
        ("BSD 2-Clause", "BSD-2-Clause"),
        ("Simplified BSD", "BSD-2-Clause"),
        ("3-Clause BSD License", "BSD-3-Clause"),
        ("New BSD License", "BSD-3-Clause"),
        ("ISC License (ISCL)", "ISC"),
        ("Apache Software License; MIT License", "Apache-2.0 AND MIT"),
        ("MIT or Apache 2.0", "MIT OR Apache-2.0"),
        ("MIT/X11", "MIT OR X11"),
        ("GPLv3", "GPL-3.0-only"),
        ("GPLv2+", "GPL-2.0-or-later"),
        ("GNU General Public License v2 or later (GPLv2+)", "GPL-2.0-or-later"),
        ("LGPL-2.1", "LGPL-2.1-only"),
        ("GNU Library or Lesser General Public License (LGPL)", "LGPL-2.0-or-later"),
        ("Mozilla Public License 2.0 (MPL 2.0)", "MPL-2.0"),
        ("Python Software Foundation License", "PSF-2.0"),
        ("Public Domain", "LicenseRef-Public-Domain"),
        ("Other/Proprietary License", None),
        ("Proprietary", "LicenseRef-Proprietary"),
        ("", None),
        (None, None),
        ("UNKNOWN", None),
        ("Foo Bar Licence", None),
        ("MIT AND", None),
        ("((MIT)", None),
        ("(" * 250, None),
        (MIT, "MIT"),
    ],
)
def test_names_that_people_use(stated: str | None, expected: str | None):
    assert normalise(stated) == expected


@pytest.mark.parametrize(
    ("expression", "allowed"),
    [
        ("MIT", True),
        ("GPL-3.0-only", False),
        ("MIT OR GPL-3.0-only", True),
        ("MIT AND GPL-3.0-only", False),
        ("MIT AND (GPL-3.0-only OR ISC)", True),
        ("MIT AND GPL-3.0-only OR ISC", True),
        ("ISC OR MIT AND GPL-3.0-only", True),
        ("(ISC OR MIT) AND GPL-3.0-only", False),
        ("Apache-2.0 WITH LLVM-exception", True),
        ("GPL-2.0-only WITH Classpath-exception-2.0", False),
        ("LicenseRef-Public-Domain", True),
        ("LicenseRef-Proprietary", False),
        ("nonsense", False),
        ("MIT MIT", False),
        ("OR", False),
        ("", False),
        (None, False),
    ],
)
def test_permissive(expression: str | None, allowed: bool):
    assert permissive(expression) is allowed


def test_an_allow_list_of_ones_own():
    assert permissive("GPL-3.0-only", frozenset({"GPL-3.0-only"}))
    assert not permissive("MIT", frozenset({"GPL-3.0-only"}))
    with_exception = frozenset({"GPL-2.0-only WITH Classpath-exception-2.0"})
    assert permissive("GPL-2.0-only WITH Classpath-exception-2.0", with_exception)
    assert not permissive("GPL-2.0-only", with_exception)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (MIT, "MIT"),
        (MIT_0, "MIT-0"),
        (comment(MIT, "> "), "MIT"),
        (MIT.replace("AUTHORS OR COPYRIGHT HOLDERS", "REGENTS OF NOWHERE").upper(), "MIT"),
        (BSD_2.format(more=""), "BSD-2-Clause"),
        (BSD_2.format(more=THIRD), "BSD-3-Clause"),
        (BSD_2.format(more=THIRD).replace("COPYRIGHT HOLDER", "ACME CORPORATION"), "BSD-3-Clause"),
        (BSD_2.format(more=FOURTH), "BSD-4-Clause"),
        (MIT + "\n----\n" + BSD_2.format(more=THIRD), "MIT AND BSD-3-Clause"),
        (MIT + "\nThird-party software:\n" + BSD_2.format(more=THIRD), "MIT"),
        (APACHE, "Apache-2.0"),
        ("See the web page.", None),
        ("", None),
    ],
)
def test_texts(text: str, expected: str | None):
    assert recognise(text) == expected


COMMON = Path("/usr/share/common-licenses")


@pytest.mark.skipif(not COMMON.is_dir(), reason="no Debian: its licence texts are not here")
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Apache-2.0", "Apache-2.0"),
        ("GPL-1", "GPL-1.0-only"),
        ("GPL-2", "GPL-2.0-only"),
        ("GPL-3", "GPL-3.0-only"),
        ("LGPL-2", "LGPL-2.0-only"),
        ("LGPL-2.1", "LGPL-2.1-only"),
        ("LGPL-3", "LGPL-3.0-only"),
        ("MPL-1.1", "MPL-1.1"),
        ("MPL-2.0", "MPL-2.0"),
        ("CC0-1.0", "CC0-1.0"),
        ("GFDL-1.3", "GFDL-1.3-only"),
        ("Artistic", "Artistic-1.0"),
        ("BSD", "BSD-3-Clause"),
    ],
)
def test_texts_of_debian(name: str, expected: str):
    found = recognise((COMMON / name).read_text(encoding="utf-8")) or ""
    assert found.removesuffix("-Perl") == expected


def repository(**files: str) -> list[Document]:
    return [
        Document(repo="r", path=path, text=text, size=0, sha256="") for path, text in files.items()
    ]


def test_the_nearest_licence_file_upward():
    documents = repository(
        **{
            "LICENSE": MIT,
            "a.c": CODE,
            "src/deep/b.c": CODE,
            "src/own/COPYING": BSD_2.format(more=THIRD),
            "src/own/deep/c.c": CODE,
            "src/own/d.c": "// SPDX-License-Identifier: ISC\n" + CODE,
            "odd/LICENSE.txt": "Ask Ann.",
            "odd/e.c": CODE,
            "src/license.py": "def license(): return 'GPL-3.0'\n",
        }
    )
    licences = assign(documents, "GPL-3.0-only")
    assert licences["a.c"] == licences["src/deep/b.c"] == licences["src/license.py"] == "MIT"
    assert licences["src/own/deep/c.c"] == "BSD-3-Clause"
    assert licences["src/own/d.c"] == "ISC"
    assert licences["odd/e.c"] is None  # it has a licence of its own, and nobody can say which
    assert assign(list(reversed(documents)), "GPL-3.0-only") == licences


def test_metadata_counts_last():
    assert assign(repository(**{"a.c": CODE}), "MIT License") == {"a.c": "MIT"}
    assert assign(repository(**{"a.c": CODE, "LICENSE": "Ask Ann."}), "MIT")["a.c"] == "MIT"
    assert assign(repository(**{"a.c": CODE}))["a.c"] is None


def test_an_archive_with_one_folder():
    documents = repository(**{"x-1.0/LICENSE": "Ask Ann.", "x-1.0/a.c": CODE})
    assert assign(documents, "MIT")["x-1.0/a.c"] == "MIT"


def test_two_licence_files_are_a_choice():
    documents = repository(**{"LICENSE-MIT": MIT, "LICENSE-APACHE": APACHE, "a.c": CODE})
    assert assign(documents)["a.c"] == "Apache-2.0 OR MIT"


def test_the_lesser_licence_beside_the_general_one():
    lesser = "GNU LESSER GENERAL PUBLIC LICENSE\nVersion 3, 29 June 2007\n additional permissions"
    general = "GNU GENERAL PUBLIC LICENSE\nVersion 3, 29 June 2007\n Preamble"
    documents = repository(**{"COPYING": general, "COPYING.LESSER": lesser, "a.c": CODE})
    assert assign(documents)["a.c"] == "LGPL-3.0-only"


def test_metadata_of_popular_packages_is_understood():
    listed = Path(os.environ.get("MIDFILL_DATA", "")) / "corpora" / "pypi_sdists_272.json"
    if not listed.is_file():
        pytest.skip("no list of packages: set MIDFILL_DATA")
    rows = json.loads(listed.read_text(encoding="utf-8"))
    understood = {row["name"]: normalise(row["licence"]) for row in rows}
    assert sorted(name for name, found in understood.items() if found is None) == [
        "azure-core",
        "peewee",
    ]
    strict = {name for name, found in understood.items() if found and not permissive(found)}
    assert strict == set(
        """certifi psycopg2 psycopg tqdm paramiko ansible-core pylint astroid orjson docutils
        hypothesis mysqlclient""".split()
    )
