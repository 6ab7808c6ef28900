"""Names of licences: SPDX expressions, what people write instead, and which licences are
permissive."""

import re

_PERMISSIVE = """
0BSD AFL-2.1 AFL-3.0 Apache-1.0 Apache-1.1 Apache-2.0 Artistic-2.0 Beerware blessing BlueOak-1.0.0
BSD-1-Clause BSD-2-Clause BSD-2-Clause-FreeBSD BSD-2-Clause-NetBSD BSD-2-Clause-Patent
BSD-2-Clause-Views BSD-3-Clause BSD-3-Clause-Attribution BSD-3-Clause-Clear BSD-3-Clause-LBNL
BSD-3-Clause-Open-MPI BSD-4-Clause BSD-4-Clause-UC BSD-Source-Code BSL-1.0 bzip2-1.0.6 CC-BY-2.0
CC-BY-2.5 CC-BY-3.0 CC-BY-4.0 CC0-1.0 CNRI-Python curl ECL-2.0 EFL-2.0 FSFAP FTL HPND
HPND-sell-variant ICU IJG ImageMagick ISC Libpng libpng-2.0 LicenseRef-BSD LicenseRef-public-domain
Linux-OpenIB MIT MIT-0 MIT-advertising MIT-CMU MIT-enna MIT-feh MIT-Modern-Variant MIT-open-group
MITNFA MS-PL MulanPSL-1.0 MulanPSL-2.0 NCSA NTP OpenSSL PHP-3.0 PHP-3.01 PostgreSQL PSF-2.0
Python-2.0 Ruby SGI-B-2.0 SMLNJ SunPro TCL TCP-wrappers Unicode-3.0 Unicode-DFS-2015
Unicode-DFS-2016 Unlicense UPL-1.0 W3C WTFPL X11 Xnet Zlib zlib-acknowledgement ZPL-2.0 ZPL-2.1
"""
PERMISSIVE = tuple(_PERMISSIVE.split())
"""Licences under which a changed copy may be passed on under other terms, its source kept back:
what they ask is attribution, a notice, another name, or peace over patents. Not: copyleft of files
(MPL, EPL, CDDL), of libraries (LGPL) or of texts (CC-BY-SA), changes owed to the maintainer (Vim),
fields of use (JSON's "Good, not Evil"; NC). After The Stack v1.1 (Kocetkov et al. 2022, arXiv
2211.15533), which has 193 and left out v1.0's MPL, EPL and LGPL. All are SPDX ids but LicenseRef-.
"""

_OTHERS = """
AGPL-3.0 AGPL-3.0-only AGPL-3.0-or-later APSL-2.0 Artistic-1.0 Artistic-1.0-Perl BUSL-1.1
CC-BY-NC-4.0 CC-BY-NC-ND-4.0 CC-BY-NC-SA-4.0 CC-BY-ND-4.0 CC-BY-SA-3.0 CC-BY-SA-4.0 CDDL-1.0
CDDL-1.1 CECILL-2.1 CECILL-B CECILL-C CPL-1.0 Elastic-2.0 EPL-1.0 EPL-2.0 EUPL-1.1 EUPL-1.2
GFDL-1.1 GFDL-1.2 GFDL-1.3 GPL-1.0 GPL-2.0 GPL-2.0-only GPL-2.0-or-later GPL-3.0 GPL-3.0-only
GPL-3.0-or-later JSON LGPL-2.0 LGPL-2.1 LGPL-2.1-only LGPL-2.1-or-later LGPL-3.0 LGPL-3.0-only
LGPL-3.0-or-later LPPL-1.3c MPL-1.1 MPL-2.0 MS-RL NOASSERTION OFL-1.1 OSL-3.0 QPL-1.0 Sleepycat
SSPL-1.0 Vim
"""
_KNOWN = {name.lower(): name for name in (*PERMISSIVE, *_OTHERS.split())}

# SPDX: what people write. In lower case, without punctuation and the words of _NOISE; an indented
# line goes on.
_WRITTEN = """
MIT: mit | expat | mit x11 | mit expat | osi approved mit | mit mit
Apache-2.0: apache 2 | apache2 | apache 2 0 | apache | apache software | apache software 2 0 | asl
  2 0 | al2 | apachev2 | apache2 0 | apache software foundation 2 0 | apache software 2 | apl2 |
  alv2
BSD-3-Clause: bsd 3 | bsd3 | 3 clause bsd | bsd 3 clause | new bsd | modified bsd | revised bsd |
  bsd 3 clause new or revised | three clause bsd | bsd 3 clauses | bsd new
BSD-2-Clause: bsd 2 | bsd2 | 2 clause bsd | bsd 2 clause | simplified bsd | freebsd | two clause
  bsd
LicenseRef-BSD: bsd | bsd style | bsd like | bsd derived | original bsd
0BSD: zero clause bsd | bsd zero clause | bsd 0 clause
ISC: isc | iscl | isc iscl
PSF-2.0: psf | psfl | python software foundation | psf 2 | python | python software foundation 2
MPL-2.0: mpl 2 | mpl2 | mpl | mozilla public | mozilla public 2 | mozilla public 2 0 | mozilla
  public 2 0 mpl 2 0
GPL-2.0: gpl2 | gplv2 | gpl 2 | gnu gpl 2 | gnu gpl v2 | gnu general public 2 | gnu general public
  v2 gplv2
GPL-2.0-or-later: gplv2+ | gpl2+ | gnu general public v2 or later gplv2+
GPL-3.0: gpl3 | gplv3 | gpl 3 | gnu gpl 3 | gnu gpl v3 | gnu gplv3 | gnu general public 3 | gnu
  general public v3 gplv3
GPL-3.0-or-later: gplv3+ | gpl3+ | gnu general public v3 or later gplv3+
LicenseRef-GPL: gpl | gnu gpl | gnu general public | gnu | gnu general public gpl
LGPL-2.1: lgplv2 1 | lgpl 2 1 | lgpl2 1 | gnu lgpl 2 1 | lgpl 2 | lgplv2 | gnu lesser general
  public 2 1 | gnu lesser general public v2 lgplv2
LGPL-2.1-or-later: lgplv2+ | lgplv2 1+ | gnu lesser general public v2 or later lgplv2+
LGPL-3.0: lgplv3 | lgpl 3 | lgpl3 | gnu lgpl 3 | gnu lgplv3 | gnu lesser general public v3 lgplv3
LGPL-3.0-or-later: lgplv3+ | gnu lesser general public v3 or later lgplv3+
LicenseRef-LGPL: lgpl | gnu lgpl | gnu lesser general public | gnu library or lesser general
  public lgpl
AGPL-3.0: agpl | agplv3 | agpl 3 | agpl3 | gnu agpl | gnu agplv3 | gnu affero general public | gnu
  affero general public v3 | gnu affero general public 3
AGPL-3.0-or-later: agplv3+ | gnu affero general public v3 or later agplv3+
BSL-1.0: boost | boost software | boost software 1 0 | boost software 1 0 bsl 1 0 | bsl 1 0
Zlib: zlib | zlib libpng | zlib png
Unlicense: unlicense | unlicence | un
CC0-1.0: cc0 | cc0 1 0 | cc0 1 0 universal | creative commons zero | cc0 1 0 universal cc0 1 0
  public domain dedication
LicenseRef-public-domain: public domain | publicdomain
WTFPL: wtfpl | wtfpl 2 | do what the fuck you want to public
Artistic-2.0: artistic 2 | artistic 2 0 | artistic2
Artistic-1.0: artistic | artistic 1 0
Artistic-1.0-Perl OR GPL-1.0: perl | perl 5 | same as perl | perl5
EPL-2.0: epl 2 | epl 2 0 | eclipse public 2 0 | eclipse public 2 | eclipse public v 2 0 epl 2 0
EPL-1.0: epl | epl 1 0 | eclipse public | eclipse public 1 0 | eclipse public v1 0
CDDL-1.0: cddl | cddl 1 0
ZPL-2.1: zpl | zpl 2 1 | zope public
NCSA: ncsa | university of illinois ncsa open source
UPL-1.0: upl | upl 1 0 | universal permissive
HPND: hpnd | historical permission notice and disclaimer
Ruby: ruby | ruby s
PostgreSQL: postgresql | postgres
EUPL-1.2: eupl 1 2 | eupl
LicenseRef-proprietary: unlicensed | proprietary | other proprietary | commercial | all rights
  reserved | closed | private | nvidia proprietary software | nvidia proprietary
"""
_ALIASES = {
    alias.strip(): entry.partition(": ")[0]
    for entry in _WRITTEN.replace("\n  ", " ").strip().splitlines()
    for alias in entry.partition(": ")[2].split("|")
}
_NOISE = re.compile(r"\b(?:the|licen[cs]ed?|licen[cs]es|version|under|v(?=\.? ?\d))\b")


def spdx_of_name(name: str) -> str | None:
    """The SPDX id or expression of what a person wrote as a licence's name; None if not known."""
    if len(name) > 200:
        return None
    if found := expression(name):
        return found
    name = name.strip().strip("\"'()[].,;")
    if found := _KNOWN.get(name.lower()):
        return found
    plain = " ".join(re.findall(r"[a-z0-9]+\+?", _NOISE.sub(" ", name.lower())))
    if found := _ALIASES.get(plain):
        return found
    return expression(name)


def expression(text: str) -> str | None:
    """An SPDX expression in its usual form, `MIT OR (Apache-2.0 AND ISC)`; None for what is none,
    or names no licence that is known here. Cargo's old `MIT/Apache-2.0` is an OR."""
    text = re.sub(r"\s*/\s*", " OR ", text) if "/" in text and " " not in text.strip() else text
    tokens = re.findall(r"[()]|[^\s()]+", text[:500])
    parser = _Parser(tokens)
    tree = parser.any_of(0)
    if tree is None or parser.at != len(tokens) or not any(map(_known, leaves(tree))):
        return None
    return _render(tree)


# An expression as a tree: a name, or ("AND" | "OR", [trees]).
Tree = str | tuple[str, list["Tree"]]


class _Parser:
    def __init__(self, tokens: list[str]) -> None:
        self.tokens, self.at = tokens, 0

    def _next_is(self, *words: str) -> bool:
        return self.at < len(self.tokens) and self.tokens[self.at].upper() in words

    def any_of(self, depth: int) -> Tree | None:
        return self._joined("OR", ("OR", "||"), depth)

    def _joined(self, joint: str, words: tuple[str, ...], depth: int) -> Tree | None:
        if depth > 20:
            return None
        parts: list[Tree] = []
        while True:
            part = self._joined("AND", ("AND", "&&"), depth) if joint == "OR" else self._one(depth)
            if part is None:
                return None
            parts.append(part)
            if not self._next_is(*words):
                return parts[0] if len(parts) == 1 else (joint, parts)
            self.at += 1

    def _one(self, depth: int) -> Tree | None:
        if self.at >= len(self.tokens):
            return None
        token = self.tokens[self.at]
        self.at += 1
        if token == "(":
            inner = self.any_of(depth + 1)
            if inner is None or not self._next_is(")"):
                return None
            self.at += 1
            return inner
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.+:-]*", token):
            return None
        name = _KNOWN.get(token.lower(), token)
        if name.endswith("+") and _KNOWN.get(name[:-1].lower()):
            name = _KNOWN[name[:-1].lower()] + "-or-later"
        if self._next_is("WITH") and self.at + 1 < len(self.tokens):
            name += " WITH " + self.tokens[self.at + 1]
            self.at += 2
        return name


def leaves(tree: Tree) -> list[str]:
    return [tree] if isinstance(tree, str) else [name for part in tree[1] for name in leaves(part)]


def _known(name: str) -> bool:
    name = name.partition(" WITH ")[0]
    return name.lower() in _KNOWN or name.startswith(("LicenseRef-", "DocumentRef-"))


def _render(tree: Tree, inside: str = "") -> str:
    if isinstance(tree, str):
        return tree
    joint, parts = tree
    text = f" {joint} ".join(dict.fromkeys(_render(part, joint) for part in parts))
    return f"({text})" if inside and inside != joint and f" {joint} " in text else text


def allowed(text: str, allow: frozenset[str]) -> bool:
    """Whether an SPDX expression can be met by allowed licences alone: every one of an AND, one of
    an OR. An exception (WITH) only ever permits more, so `X WITH E` is allowed where X is."""
    tokens = re.findall(r"[()]|[^\s()]+", text)
    tree = _Parser(tokens).any_of(0)
    return tree is not None and _allowed(tree, allow)


def _allowed(tree: Tree, allow: frozenset[str]) -> bool:
    if isinstance(tree, str):
        return tree in allow or tree.partition(" WITH ")[0] in allow
    joint, parts = tree
    verdicts = [_allowed(part, allow) for part in parts]
    return any(verdicts) if joint == "OR" else all(verdicts)


def all_of(names: list[str]) -> str | None:
    """Licences that hold together."""
    names = list(dict.fromkeys(names))
    if len(names) > 1:
        names = [f"({name})" if " OR " in name else name for name in names]
    return " AND ".join(names) or None


def any_of(names: list[str]) -> str | None:
    """Licences to choose from."""
    return " OR ".join(dict.fromkeys(names)) or None
