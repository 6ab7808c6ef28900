"""Licences: texts, names, notices, the folders of a repository; and what is cut of a file's top."""

import re
from importlib.metadata import distributions
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.extract.license_header import cut_license_header, header_text, line_comment
from pipeline.sources.license_names import PERMISSIVE, allowed, expression, spdx_of_name
from pipeline.sources.license_texts import license_of_text, readme_license, spdx_tag
from pipeline.sources.licenses import Licenses, is_evidence, metadata_license, own_license

BSD = "Redistribution and use in source and binary forms, with or\nwithout modification,"
BINARY = " Redistributions in binary form must reproduce the above copyright notice."
NAMES = " Neither the names may be used to endorse or promote products derived from this software."
GIVEN = (
    "Permission is hereby granted, free of charge, to any person obtaining a copy of this software"
)
KEPT = " The above copyright notice shall be included in all copies."


def test_texts():
    for text, spdx in (
        (GIVEN + KEPT, "MIT"),
        (GIVEN, "MIT-0"),
        (GIVEN + KEPT + " The Software shall be used for Good, not Evil.", "JSON"),
        (GIVEN + KEPT + " Except as contained in this notice, the name of the X", "X11"),
        (BSD + BINARY, "BSD-2-Clause"),
        (BSD + BINARY + NAMES, "BSD-3-Clause"),
        (BSD + BINARY + " All advertising materials mentioning features" + NAMES, "BSD-4-Clause"),
        ("Apache License\nVersion 2.0, January 2004", "Apache-2.0"),
        ("Licensed under the Apache License, Version 2.0 (the", "Apache-2.0"),
        ("Version 2.0, January 2004\nhttp://www.apache.org/licenses/ TERMS", "Apache-2.0"),
        ("PYTHON SOFTWARE FOUNDATION LICENSE\n---\n1. This LICENSE AGREEMENT is between A and you",
         "PSF-2.0"),
        ("GNU LESSER GENERAL PUBLIC LICENSE\n Version 2.1, February 1999", "LGPL-2.1"),
        ("GNU GENERAL PUBLIC LICENSE Version 3, 29 June 2007 ... GNU Affero", "GPL-3.0"),
        ("Permission to use, copy, modify, and/or distribute this software for any purpose with or "
         "without fee is hereby granted, provided that", "ISC"),
        ("Permission to use, copy, modify, and/or distribute this software for any purpose with or "
         "without fee is hereby granted. THE SOFTWARE", "0BSD"),
        ("under the terms of the GNU General Public License as published by\n the Free Software "
         "Foundation; either version 2 of the License, or\n (at your option) any later version.",
         "GPL-2.0-or-later"),
        ("under the terms of the GNU Lesser General Public License as published by the Free "
         "Software Foundation; version 3.", "LGPL-3.0-only"),
        ("This Source Code Form is subject to the terms of the Mozilla Public License, v. 2.0.",
         "MPL-2.0"),
        ("Creative Commons Attribution-NonCommercial-ShareAlike 4.0", "CC-BY-NC-SA-4.0"),
        ("released into the public domain", "LicenseRef-public-domain"),
        (GIVEN + KEPT + "\n\n" + BSD + BINARY, "MIT AND BSD-2-Clause"),
        ("Dual licensed.\n" + GIVEN + KEPT + "\nApache License Version 2.0, January 2004",
         "MIT OR Apache-2.0"),
        ("This is distributed under the MIT license.", "MIT"),
        ("Apache 2.0", "Apache-2.0"),
        ("All rights reserved.", "LicenseRef-proprietary"),
        ("You may look at it on Mondays.", None),
        ("", None),
    ):  # fmt: skip
        assert license_of_text(text) == spdx, text


def test_names_and_expressions():
    for name, spdx in (
        ("MIT", "MIT"),
        ("mit", "MIT"),
        ("The MIT License (MIT)", "MIT"),
        ("Apache License, Version 2.0", "Apache-2.0"),
        ("apache2", "Apache-2.0"),
        ("BSD", "LicenseRef-BSD"),
        ("BSD 3-Clause License", "BSD-3-Clause"),
        ("New BSD License", "BSD-3-Clause"),
        ("GNU General Public License v3 (GPLv3)", "GPL-3.0"),
        ("GPLv2+", "GPL-2.0-or-later"),
        ("MIT/Apache-2.0", "MIT OR Apache-2.0"),
        ("(MIT AND (isc or bsd-2-clause))", "MIT AND (ISC OR BSD-2-Clause)"),
        ("GPL-2.0-only WITH Classpath-exception-2.0", "GPL-2.0-only WITH Classpath-exception-2.0"),
        ("see license file", None),
        ("(" * 50 + "MIT" + ")" * 50, "MIT"),
        ("", None),
    ):
        assert spdx_of_name(name) == spdx, name
    assert expression("MIT OR") is None and expression("words words") is None
    permissive = frozenset(PERMISSIVE)
    assert allowed("GPL-3.0 OR MIT", permissive) and not allowed("GPL-3.0 AND MIT", permissive)
    assert allowed("(GPL-3.0 OR MIT) AND ISC", permissive)
    assert allowed("Apache-2.0 WITH LLVM-exception", permissive)
    assert not allowed("MPL-2.0", permissive) and not allowed("", permissive)


@given(st.text(st.sampled_from("()AND OR MIT/+\n\0é"), max_size=60))
def test_no_name_raises(text):
    spdx_of_name(text)
    license_of_text(text)
    allowed(text, frozenset({"MIT"}))


def test_the_licences_of_this_machine():
    """Every package here that states a licence by an SPDX expression, and brings one text of it."""
    tried = wrong = 0
    for package in distributions():
        stated = package.metadata.get("License-Expression")
        files = [f for f in package.files or [] if re.fullmatch(r"LICEN[CS]E(\.\w+)?", f.name)]
        if not stated or len(files) != 1 or expression(stated) is None:
            continue
        found = license_of_text(files[0].locate().read_text(errors="replace"))
        tried += 1
        names = set(re.findall(r"[\w.-]+", stated)) - {"AND", "OR", "WITH"}
        wrong += found is None or not names & set(re.findall(r"[\w.-]+", found))
    assert tried >= 10 and wrong <= 0.1 * tried
    common = Path("/usr/share/common-licenses")
    for name in ("Apache-2.0", "GPL-2", "GPL-3", "LGPL-2.1", "MPL-2.0", "CC0-1.0"):
        if (common / name).exists():
            found = license_of_text((common / name).read_text()) or ""
            assert found.removesuffix(".0") == name.removesuffix(".0"), name


def test_tags_and_notices():
    assert spdx_tag("// SPDX-License-Identifier: MIT OR Apache-2.0\n") == "MIT OR Apache-2.0"
    assert spdx_tag("/* SPDX-License-Identifier: GPL-2.0+ */") == "GPL-2.0-or-later"
    assert spdx_tag("SPDX-License-Identifier: \n") is None
    notice = "# Licensed under the Apache License, Version 2.0\nimport os\n"
    assert own_license(notice, "python") == ("Apache-2.0", "notice")
    assert (
        own_license("import os\n# Licensed under the Apache License, Version 2.0\n", "python")
        is None
    )
    assert own_license("# SPDX-License-Identifier: ISC\n", "python") == ("ISC", "tag")
    governed = "// governed by a BSD-style license that is in the LICENSE file\n"
    assert own_license(governed, "go") is None


def test_folders():
    licenses = Licenses()
    files = {
        "LICENSE": GIVEN + KEPT,
        "sub/COPYING": "GNU GENERAL PUBLIC LICENSE Version 2, June 1991",
        "rust/LICENSE-MIT": GIVEN + KEPT,
        "rust/LICENSE-APACHE": "Apache License Version 2.0, January 2004",
        "both/COPYING": "GNU GENERAL PUBLIC LICENSE Version 3, 29 June 2007",
        "both/COPYING.LESSER": "GNU LESSER GENERAL PUBLIC LICENSE Version 3, 29 June 2007",
        "own/LICENSE": "You may look at it on Mondays.",
        "named/package.json": '{"license": "ISC"}',
        "read/README.md": "# A\n\n## License\n\n[MIT](LICENSE)\n",
        "reuse/LICENSES/CC0-1.0.txt": "",
        "reuse/LICENSES/ISC.txt": "",
        "w-1.0.dist-info/METADATA": "Name: w\nClassifier: License :: OSI Approved :: MIT License\n",
        "w-1.0.dist-info/RECORD": "w/__init__.py,sha256=x,1\nsix.py,,\n../../bin/w,,\n",
        "licenses/code.py": "x",
    }
    for path, text in files.items():
        assert is_evidence(path) or path == "licenses/code.py"
        if is_evidence(path):
            licenses.add(path, text.encode())

    def at(path):
        found = licenses.nearest(path)
        return found and found[0]

    assert licenses.nearest("a.c") == ("MIT", "LICENSE")
    assert [at(f"{name}/deep/a.c") for name in ("sub", "rust", "both", "own")] == [
        *("GPL-2.0", "Apache-2.0 OR MIT", "LGPL-3.0", "NOASSERTION")
    ]
    assert [at(f"{name}/a.c") for name in ("named", "read", "reuse", "w", "none")] == [
        *("ISC", "MIT", "CC0-1.0 AND ISC", "MIT", "MIT")
    ]
    assert licenses.nearest("six.py") == ("MIT", "w-1.0.dist-info/METADATA")
    assert Licenses().nearest("a/b/c.py") is None


@pytest.mark.parametrize(
    ("name", "text", "spdx"),
    [
        ("package.json", '{"license": {"type": "MIT"}}', "MIT"),
        ("package.json", '{"licenses": [{"type": "MIT"}, {"type": "GPL-2.0"}]}', "MIT OR GPL-2.0"),
        ("package.json", '{"license": "UNLICENSED"}', "LicenseRef-proprietary"),
        ("package.json", '{"license": "SEE LICENSE IN x"}', None),
        ("package.json", "[" * 100_000, None),
        ("package.json", "[1]", None),
        ("pyproject.toml", '[project]\nlicense = {text = "BSD-3-Clause"}', "BSD-3-Clause"),
        ("pyproject.toml", '[tool.poetry]\nlicense = "MIT"', "MIT"),
        ("pyproject.toml", "[project\n", None),
        ("Cargo.toml", '[package]\nlicense = "MIT/Apache-2.0"', "MIT OR Apache-2.0"),
        ("setup.cfg", "[metadata]\nlicense = Apache 2.0\n", "Apache-2.0"),
        ("setup.py", "setup(name='a', license='BSD')", "LicenseRef-BSD"),
        ("DESCRIPTION", "Package: a\nLicense: MIT + file LICENSE\n", "MIT"),
        ("a.gemspec", "  s.licenses = ['MIT']", "MIT"),
        ("pom.xml", "<license>\n <name>Apache License, Version 2.0</name>", "Apache-2.0"),
        ("METADATA", "Name: a\nLicense-Expression: MIT AND ISC\n\nbody", "MIT AND ISC"),
    ],
)
def test_metadata(name, text, spdx):
    assert metadata_license(name, text) == spdx


def test_readme():
    assert readme_license("Title\n\nLicense\n-------\n\nMIT, see LICENSE\n") == "MIT"
    assert (
        readme_license("# A\n\n## Licence\nReleased under the Apache 2.0 license.\n")
        == "Apache-2.0"
    )
    assert readme_license("# A\n\nThis checks the license of files. MIT is nice.\n") is None


C = """/*
 * list.c - a list
 *
 * Copyright (C) 2010 Somebody
 *
 * This program is free software; you can redistribute it and/or modify
 * it under the terms of the GNU General Public License.
 */

#include "list.h"
"""


def test_notices_are_cut():
    for language, text, expected in (
        ("c", C, '/*\n * list.c - a list\n */\n\n#include "list.h"\n'),
        ("python", "#!/bin/x\n# -*- coding: utf-8 -*-\n# Copyright 2020 A\n\nx\n",
         "#!/bin/x\n# -*- coding: utf-8 -*-\nx\n"),
        ("python", '"""Words.\n\n:copyright: 2020 A\n"""\nx = 1\n', '"""Words.\n"""\nx = 1\n'),
        ("python", '"""Checks the license of files."""\nx = 1\n',
         '"""Checks the license of files."""\nx = 1\n'),
        ("python", "x = 1\n# Copyright 2020 A\n", "x = 1\n# Copyright 2020 A\n"),
        ("go", "// Copyright 2020 A\n\n// Package a does it.\npackage a\n",
         "// Package a does it.\npackage a\n"),
        ("html", "<!DOCTYPE html>\n<!-- (c) 2020 A -->\n<p>\n", "<!DOCTYPE html>\n<p>\n"),
        ("php", "<?php\n/* Copyright A */\n$a;\n", "<?php\n$a;\n"),
        ("lua", "-- Copyright A\n-- MIT license: see it\nx = 1\n", "x = 1\n"),
        ("python", "# Copyright 2020 A\r\n\r\nx\r\n", "x\r\n"),
        ("python", "# Copyright 2020 A", ""),
        ("nonsense", "# Copyright 2020 A\nx\n", "# Copyright 2020 A\nx\n"),
        ("c", "/* Copyright A", "/* Copyright A"),
        ("c", "/* Copyright A */ int x;\n", "/* Copyright A */ int x;\n"),
        ("python", "", ""),
    ):  # fmt: skip
        assert cut_license_header(text, language) == expected, text
    assert header_text(C, "c").splitlines()[1] == "list.c - a list"
    assert [line_comment(x) for x in ("python", "c", "haskell", "x")] == ["#", "//", "--", "#"]


@given(st.lists(st.sampled_from(["# Copyright A\n", "#\n", "\n", "# words\n", "x = 1\n"])))
def test_cutting_takes_whole_lines_and_no_code(lines):
    text = "".join(lines)
    cut = cut_license_header(text, "python")
    assert cut.count("x = 1\n") == text.count("x = 1\n")
    assert cut_license_header(cut, "python").count("# words\n") == cut.count("# words\n")
    rest = iter(text.splitlines())
    assert all(any(line == other for other in rest) for line in cut.splitlines() if line)


@pytest.mark.parametrize(
    "text", ["/*" * 200_000, "#" * 1_000_000, "# (c) \n" * 100_000, "\n" * 500_000]
)
def test_hostile_tops_end(text):
    for language in ("c", "python", "html"):
        cut_license_header(text, language)
        own_license(text, language)
    license_of_text(text)
    readme_license("# License\n" * 20_000)
