"""Which licences a text is or names: LICENSE files, notices at the top of files, README sections.

By distinctive phrases, after everything but letters and digits became one space; BSD and MIT are
told from their variants by the clauses near the phrase. Every licence that a text holds counts: one
with the GPL among others is under the GPL too. Of the 348 different licence files of two Python
environments and npm, 345 are recognised: not Qhull's own, nor two that say to see other files. Of
464 of Debian's, which list every file's, 417 (what they say is a person's summary).
"""

import re
from collections.abc import Callable

from pipeline.sources.license_names import all_of, any_of, expression, spdx_of_name

_TITLES = (
    ("Apache-2.0", "apache license version 2 0 january 2004"),
    ("Apache-2.0", "licensed under the apache license version 2 0"),
    ("Apache-2.0", "licensed under the apache license 2 0"),
    ("Apache-2.0", "version 2 0 january 2004 http www apache org licenses"),
    ("MPL-2.0", "mozilla public license version 2 0 1 definitions"),
    ("MPL-2.0", "mozilla public license version 2 0"),
    ("MPL-2.0", "subject to the terms of the mozilla public license v 2 0"),
    ("MPL-1.1", "mozilla public license version 1 1"),
    ("AGPL-3.0", "gnu affero general public license version 3 19 november 2007"),
    ("LGPL-3.0", "gnu lesser general public license version 3 29 june 2007"),
    ("LGPL-2.1", "gnu lesser general public license version 2 1 february 1999"),
    ("LGPL-2.0", "gnu library general public license version 2 june 1991"),
    ("GPL-3.0", "gnu general public license version 3 29 june 2007"),
    ("GPL-2.0", "gnu general public license version 2 june 1991"),
    ("GPL-1.0", "gnu general public license version 1 february 1989"),
    ("PSF-2.0", "python software foundation license version 2"),
    ("PSF-2.0", "psf license agreement for python"),
    ("PSF-2.0", "python software foundation license 1 this license agreement is between"),
    ("EPL-2.0", "eclipse public license v 2 0"),
    ("EPL-2.0", "eclipse public license version 2 0"),
    ("EPL-1.0", "eclipse public license v 1 0"),
    ("EPL-1.0", "eclipse public license version 1 0"),
    ("CDDL-1.0", "common development and distribution license cddl version 1 0"),
    ("CDDL-1.1", "common development and distribution license cddl version 1 1"),
    ("BSL-1.0", "boost software license version 1 0"),
    ("Unlicense", "this is free and unencumbered software released into the public domain"),
    ("CC0-1.0", "cc0 1 0 universal"),
    ("WTFPL", "do what the fuck you want to public license"),
    ("Artistic-2.0", "the artistic license 2 0"),
    ("Artistic-1.0", "the intent of this document is to state the conditions under which a"),
    ("OFL-1.1", "sil open font license version 1 1"),
    ("MS-PL", "microsoft public license ms pl"),
    ("EUPL-1.2", "european union public licence v 1 2"),
    ("AFL-3.0", "academic free license version 3 0"),
    ("OSL-3.0", "open software license version 3 0"),
    ("OSL-3.0", "open software license v 3 0"),
    ("UPL-1.0", "universal permissive license upl version 1 0"),
    ("MulanPSL-2.0", "mulan permissive software license version 2"),
    ("BlueOak-1.0.0", "blue oak model license version 1 0 0"),
    ("SSPL-1.0", "server side public license version 1"),
    ("BUSL-1.1", "business source license 1 1"),
    ("Elastic-2.0", "elastic license 2 0"),
    ("LicenseRef-Commons-Clause", "commons clause license condition"),
    ("LicenseRef-PolyForm", "polyform noncommercial license"),
    ("LPPL-1.3c", "lppl version 1 3c"),
    ("ECL-2.0", "educational community license version 2 0"),
    ("ZPL-2.1", "zope public license zpl version 2 1"),
    ("OpenSSL", "this product includes software developed by the openssl project for use in"),
    ("PHP-3.01", "the php license version 3 01"),
    ("Ruby", "ruby is copyrighted free software by yukihiro matsumoto"),
    ("FTL", "the freetype project license"),
    ("IJG", "this software is based in part on the work of the independent jpeg group"),
    ("Unicode-3.0", "unicode license v3"),
    ("Unicode-DFS-2016", "unicode inc license agreement data files and software"),
    ("blessing", "in place of a legal notice here is a blessing"),
    ("Libpng", "png reference library license"),
    ("Zlib", "altered source versions must be plainly marked as such and must not be"),
    ("TCL", "the authors hereby grant permission to use copy modify distribute and license this"),
    ("Vim", "there are no restrictions on distributing unmodified copies of vim"),
    ("PostgreSQL", "without fee and without a written agreement is hereby granted"),
    ("FSFAP", "copying and distribution of this file with or without modification are permitted"),
    ("LicenseRef-public-domain", "placed in the public domain"),
    ("LicenseRef-public-domain", "dedicated to the public domain"),
    ("LicenseRef-public-domain", "to this software to the public domain worldwide"),
    ("LicenseRef-public-domain", "released to the public domain"),
    ("LicenseRef-public-domain", "released into the public domain"),
    ("LicenseRef-public-domain", "this file is in the public domain"),
    ("LicenseRef-public-domain", "this code is in the public domain"),
)  # fmt: skip
# A text that is X mentions Y in passing, or includes it.
_INCLUDES = {
    "Unlicense": {"LicenseRef-public-domain"},
    "CC0-1.0": {"LicenseRef-public-domain"},
    "Python-2.0": {"PSF-2.0", "HPND"},
    "PostgreSQL": {"HPND"},
    "OpenSSL": {"BSD-3-Clause", "BSD-4-Clause"},
    "PHP-3.01": {"BSD-3-Clause", "BSD-2-Clause"},
    "BSL-1.0": {"MIT", "MIT-0"},
    "OFL-1.1": {"MIT", "MIT-0"},
    "NCSA": {"MIT", "MIT-0", "X11"},
    "Libpng": {"Zlib"},
    **{f"GFDL-1.{n}": {"CC-BY-SA-3.0", *(f"GFDL-1.{m}" for m in range(1, n))} for n in (1, 2, 3)},
    "bzip2-1.0.6": {"BSD-2-Clause"},
}
_GPL_NOTICE = re.compile(
    r"terms of (?:version (?P<first>\d)(?: (?P<first_minor>\d))? of )?the gnu (?P<kind>affero "
    r"|lesser |library )?general public license(?: version (?P<named>\d)(?: (?P<named_minor>\d))?)?"
    r"(?: (?:only )?as published by the free software foundation(?: inc)?(?: either)? version "
    r"(?P<version>\d)"
    r"(?: (?P<minor>\d))?(?: of the license)?)?(?P<later> or (?:at your option )?any later version"
    r"| or later)?"
)
_NAMED = re.compile(
    r"\b(?:licensed|released|distributed|available|published|covered|provided|governed|is)"
    r" (?:under|by|with) (?:the )?(?:terms of )?(?:the |a |an )?((?:[a-z0-9+-]+ ){1,6}?)"
    r"licen[cs]e(?: version (\d(?: \d)?)| v ?(\d(?: \d)?))?(?= |\Z)"
)
_CREATIVE = re.compile(
    r"creative commons (?:legal code )?attribution( noncommercial| non commercial)?( share ?alike"
    r"| no ?derivatives| noderivs)? (\d) (\d)"
)
_EITHER = re.compile(
    r"\b(?:dual licensed|either of the (?:following )?licenses|under (?:the terms of )?either"
    r"|your choice of|at your option under)\b"
)
_BSD = "redistribution and use in source and binary forms"
_MIT = "permission is hereby granted free of charge to any person obtaining a copy of"
_ISC = re.compile(
    r"permission to use copy modify and(?: or)? distribute this software(?P<docs> and its "
    r"documentation)?(?: in source and binary forms)? for any purpose(?: and)? (?:with or )?"
    r"without fee is hereby granted(?P<provided> provided)?"
)
_SEGMENT = 2500  # characters of a licence of the BSD or MIT family


def plain_text(text: str) -> str:
    return " ".join(re.findall(r"[a-z0-9]+", text.lower()))


def license_of_text(text: str) -> str | None:
    """The SPDX expression of every licence that a text holds or says that it is under."""
    if tag := spdx_tag(text[:1000]):  # a long text may quote the tags of parts
        return tag
    if len(text) < 100 and (named := spdx_of_name(text)):
        return named
    plain = plain_text(text)
    found: dict[str, int] = {}

    def add(name: str, at: int) -> None:
        found[name] = min(at, found.get(name, at))

    for name, phrase in _TITLES:
        if (at := plain.find(phrase)) >= 0:
            add(name, at)
    _family(plain, _BSD, _bsd, add)
    _family(plain, _MIT, _mit, add)
    for match in _ISC.finditer(plain):
        name = "HPND" if match["docs"] else "ISC" if match["provided"] else "0BSD"
        add(name, match.start())
    for match in re.finditer(r"gnu free documentation license version 1 ([123]) ", plain):
        add(f"GFDL-1.{match[1]}", match.start())
    for match in _CREATIVE.finditer(plain):
        add(_creative(match), match.start())
    if not any(name.startswith(("GPL-", "LGPL-", "AGPL-")) for name in found):
        for match in _GPL_NOTICE.finditer(plain):
            add(_gpl(match), match.start())
    if "PSF-2.0" in found and "beopen com license agreement for python 2 0" in plain:
        add("Python-2.0", found["PSF-2.0"])
    if not found:
        for match in _NAMED.finditer(plain):
            version = match[2] or match[3]
            name = match[1].strip() + (f" {version}" if version else "")
            if spdx := spdx_of_name(name):
                add(spdx, match.start())
    included = {name for whole in found for name in _INCLUDES.get(whole, ())}
    names = sorted((name for name in found if name not in included), key=lambda n: found[n])
    to_choose = 1 < len(names) <= 4 and _EITHER.search(plain[:1500])
    return any_of(names) if to_choose else all_of(names)


def _family(
    plain: str,
    phrase: str,
    variant: Callable[[str, str], str],
    add: Callable[[str, int], None],
) -> None:
    at = plain.find(phrase)
    while at >= 0:
        after = plain.find(phrase, at + 1)
        end = min(at + _SEGMENT, after if after >= 0 else len(plain))
        add(variant(plain[at:end], plain[max(0, at - 300) : at]), at)
        at = after


def _bsd(text: str, before: str) -> str:
    if "julian seward" in before or "must not misrepresent the origin of this" in text:
        return "bzip2-1.0.6"
    if 'names "apache' in text or "the names apache" in text or "the name apache" in text:
        return "Apache-1.1"
    if "advertising materials mentioning features" in text:
        return "BSD-4-Clause"
    if re.search(
        r"used to endorse or promote|neither the names? |endorse or promote products", text
    ):
        return (
            "BSD-3-Clause-Clear"
            if "no express or implied licenses to any party" in text
            else ("BSD-3-Clause")
        )
    if "irrevocable except for failure to satisfy" in text:
        return "BSD-2-Clause-Patent"
    if "redistributions in binary form must" not in text and "source code must retain" in text:
        return "BSD-1-Clause"
    return "BSD-2-Clause"


def _mit(text: str, before: str) -> str:
    if "the software shall be used for good not evil" in text:
        return "JSON"
    if "redistributions of source code must retain" in text:
        return "NCSA"
    if "except as contained in this notice the name" in text:
        return "X11"
    return "MIT" if re.search(r"shall be included|provided that the above", text) else "MIT-0"


def _creative(match: re.Match[str]) -> str:
    by, share, major, minor = match.groups()
    name = "CC-BY" + ("-NC" if by else "")
    name += {"s": "-SA", "n": "-ND"}[share.strip()[0]] if share else ""
    return f"{name}-{major}.{minor}"


def _gpl(match: re.Match[str]) -> str:
    kind = {"affero": "AGPL", "lesser": "LGPL", "library": "LGPL"}.get(
        (match["kind"] or "").strip()
    )
    pairs = (("version", "minor"), ("named", "named_minor"), ("first", "first_minor"))
    numbers = next(((match[a], match[b]) for a, b in pairs if match[a]), None)
    if numbers is None:
        return f"LicenseRef-{kind or 'GPL'}"
    version = f"{numbers[0]}.{numbers[1] or 0}"
    return f"{kind or 'GPL'}-{version}-{'or-later' if match['later'] else 'only'}"


_TAG = re.compile(r"SPDX-License-Identifier:[ \t]*([^\r\n]{1,200})")
_TAG_END = re.compile(r"\s*(?:\*/|-->|\*\)|-\}|#\}|\"\"\"|'''|\*+\s*\Z).*")


def spdx_tag(text: str) -> str | None:
    """What `SPDX-License-Identifier` lines say; None where there is none that can be read."""
    names = [_TAG_END.sub("", match[1]).strip() for match in _TAG.finditer(text)]
    found = [spdx for name in names if (spdx := expression(name))]
    return all_of(found)


_HEADING = re.compile(
    r"^(?:#{1,6}[ \t]*|=+ ?|\*\*)?(?:[\d.]+ )?(?:copyright (?:and|&) )?(?:licen[cs]e|licen[cs]ing"
    r"|copying|copyright)\b[^\n]{0,40}$",
    re.I | re.M,
)


def readme_license(text: str) -> str | None:
    """What the section about the licence says."""
    for heading in _HEADING.finditer(text[:200_000]):
        section = text[heading.end() : heading.end() + 700].lstrip("\n=-~* \t")
        section = re.split(r"\n(?:#|[=-]{4,}\n)", section)[0]
        if found := license_of_text(section):
            return found
        for words in re.findall(r"\[([^\]\n]{2,60})\]|^([^\n]{2,40}?)(?:\.|$)", section, re.M)[:3]:
            if found := spdx_of_name(words[0] or words[1]):
                return found
        if match := re.search(
            r"\b(MIT|BSD|ISC|Apache[- ]2(?:\.0)?|GPL ?v?\d|LGPL ?v?[\d.]+)\b", section
        ):
            return spdx_of_name(match[1])
    return None
