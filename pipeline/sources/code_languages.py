"""Which language a file is in: by its name, its first line and, where several languages share an
extension, its content.

Whose an extension is: the common part of GitHub Linguist's languages.yml (facts). Linguist falls
back on a trained classifier; here an extension that no pattern decides is its commonest
owner's. Patterns look at the first 32 KB, and their repetitions are bounded.
"""

import re

HEAD_BYTES = 1 << 15

_CODE = """
actionscript as| ada adb ada ads| agda agda lagda| alloy als| antlr g4| apex apex trigger| apl apl
dyalog| applescript applescript| arduino ino| asciidoc adoc asciidoc| asp asp asax ascx ashx|
assembly asm s nasm a51 yasm| augeas aug| autohotkey ahk| autoit au3| awk awk gawk| ballerina bal|
basic bas| batch bat cmd| bazel bzl bazel star| bison bison| bluespec bsv| c c h cats idc| ceylon
ceylon| chapel chpl| clojure clj cljs cljc edn boot| cmake cmake| cobol cob cbl cpy| coffeescript
coffee cson litcoffee| common-lisp lisp lsp cl asd| coq coq| cpp cc cpp cxx c++ hpp hh hxx h++ inl
ipp tcc tpp inc| crystal cr| csharp cs csx cake| css css| csound csd| cuda cu cuh| cython pyx pxd
pxi| d d di| dart dart| dhall dhall| dockerfile dockerfile containerfile| eiffel e| elixir ex exs|
elm elm| emacs-lisp el| erb erb| erlang erl hrl escript| factor factor| fennel fnl| fish fish|
fortran f f77 f90 f95 f03 f08 for fpp ftn| forth fth 4th| fsharp fs fsi fsx| fstar fst fsti| gap
gap| gdscript gd| gherkin feature| gleam gleam| glsl glsl vert frag geom comp tesc tese vsh fsh
shader| gnuplot gp gnuplot plt| go go| gradle gradle| graphql graphql gql| graphviz dot gv| groovy
groovy gvy| hack hack| handlebars handlebars hbs| haml haml| haskell hs hsc| haxe hx| hcl hcl tf
tfvars| hlsl hlsl fx| html html htm xhtml xht| idl dlm| idris idr lidr| igor ipf| isabelle thy|
janet janet| java java| java-server-pages jsp| javascript js mjs cjs jsx es6 jsm| jinja jinja
jinja2 j2| jsonnet jsonnet libsonnet| julia jl| jupyter-notebook ipynb| kotlin kt kts ktm| lean
lean hlean| less less| lex l lex| liquid liquid| literate-haskell lhs| llvm ll| lua lua nse
rockspec| m4 m4 ac| makefile mk mak make| mako mako| maple mpl| markdown md markdown mkd mdown mdx
ronn| mathematica mathematica wl wlt nb ma| matlab m matlab| max maxpat| mercury moo| meson meson|
metal metal| mlir mlir| modelica mo| modula-2 mod def| motoko motoko| motorola-68k-assembly x68|
move move| mustache mustache| netlogo nlogo| nim nim nims| nix nix| objective-c++ mm| ocaml ml mli
mll mly ml4| odin odin| opencl opencl| openscad scad| pascal pas dpr lpr| perl pl pm t plx psgi
cgi fcgi pod| php php phtml php3 php4 php5 phps phpt ctp| plsql pls pks pkb plsql| postscript ps
eps| powershell ps1 psm1 psd1| prolog pro prolog yap| promela pml| protobuf proto| pug pug jade|
puppet pp| purescript purs| python py pyi pyw pyde gyp gypi wsgi| q q| qml qml| r r rsx| racket
rkt scrbl| raku raku rakumod p6 pm6 nqp| razor cshtml razor| reason re rei| rebol reb| rescript
res resi| restructuredtext rst rest| rexx rexx rex| rmarkdown rmd qmd| robotframework robot| roff
man roff ms me mdoc| ruby rb rake gemspec ru builder jbuilder rabl podspec thor rbw| rust rs| sas
sas| sass sass scss| scala scala sc sbt| scheme scm ss sld sps| shell sh bash zsh ksh bats
command| slim slim| smali smali| smalltalk st| smarty tpl| smt smt2 smt| solidity sol| sparql
sparql rq| sql sql ddl udf prc tab| squirrel nut| stan stan| standard-ml sml fun sig| starlark
starlark| stata do ado doh mata matah| stylus styl| supercollider scd| svelte svelte| swift swift|
systemverilog sv svh vh| tcl tcl adp tm| tcsh csh tcsh| terra terra| tex tex sty cls ltx dtx ins
bbx cbx| textile textile| thrift thrift| tla tla| twig twig| typescript ts tsx mts cts| typst typ|
vala vala vapi| verilog v veo| vhdl vhd vhdl vho vht| vim-script vim vimrc| visual-basic vb vbs
vba frm| vue vue| wasm-text wat wast| webidl webidl| wgsl wgsl| xquery xq xql xqm xquery| xslt xsl
xslt| xtend xtend| yacc y yy| yang yang| zig zig| zimpl zpl
"""
# Data and configuration: no programs, and by far the most bytes of most repositories.
_DATA = """
csv csv tsv psv| diff diff patch| desktop desktop| editorconfig editorconfig| gettext po pot|
hdl-netlist edif vcd| ini ini cfg conf cnf prefs| json json jsonl ndjson geojson topojson
webmanifest jsonld json5 jsonc avsc har map lock code-workspace| log log out err| opml opml| plist
plist| properties properties| data-file dat data| sum sum| svg svg| toml toml| turtle ttl nt n3 nq
owl| unity unity meta prefab asset mat| wavefront obj mtl| xml xml xsd wsdl dtd rdf resx csproj
vbproj vcxproj fsproj props targets xaml xib storyboard kml gpx nuspec xlf ui qrc wsf config| yaml
yaml yml
"""
_NAMES = """
apkbuild:shell build:bazel build.bazel:bazel buck:bazel cmakelists.txt:cmake configure.ac:m4
dockerfile:dockerfile containerfile:dockerfile gemfile:ruby guardfile:ruby rakefile:ruby
vagrantfile:ruby podfile:ruby fastfile:ruby brewfile:ruby capfile:ruby emakefile:erlang
gnumakefile:makefile makefile:makefile makefile.am:makefile jenkinsfile:groovy justfile:just
kbuild:makefile kconfig:kconfig meson.build:meson meson_options.txt:meson pkgbuild:shell
sconstruct:python sconscript:python snakefile:python wscript:python workspace:bazel go.mod:go-module
.bashrc:shell .bash_profile:shell .profile:shell .zshrc:shell .vimrc:vim-script .emacs:emacs-lisp
.gitignore:ini .gitattributes:ini .gitmodules:ini .npmrc:ini .dockerignore:ini .editorconfig:ini
.clang-format:yaml .babelrc:json .eslintrc:json .jshintrc:json .prettierrc:json procfile:yaml
"""
_SHEBANGS = (
    (rb"python", "python"), (rb"node|deno|bun\b", "javascript"), (rb"perl", "perl"),
    (rb"ruby|rake", "ruby"), (rb"php", "php"), (rb"Rscript", "r"), (rb"tclsh|wish|expect", "tcl"),
    (rb"awk", "awk"), (rb"\bt?csh\b", "tcsh"), (rb"\bfish\b", "fish"), (rb"lua", "lua"),
    (rb"(?:ba|z|k|da|a)?sh\b", "shell"), (rb"make\b", "makefile"), (rb"groovy", "groovy"),
    (rb"pwsh|powershell", "powershell"), (rb"escript", "erlang"), (rb"elixir", "elixir"),
    (rb"julia", "julia"), (rb"runhaskell|stack\b", "haskell"), (rb"ocaml", "ocaml"),
    (rb"scala", "scala"), (rb"swipl", "prolog"), (rb"racket", "racket"), (rb"guile", "scheme"),
    (rb"sbcl|clisp", "common-lisp"), (rb"crystal", "crystal"), (rb"osascript", "applescript"),
)  # fmt: skip

# For an extension of several languages: patterns in the order in which they are tried. Where none
# is found, the file is the language's that the tables above name.
_XML = rb"\A\s{0,99}<(?:\?xml|!DOCTYPE|TS\b|tileset|map\b)"
_SHARED = {
    "h": (
        ("objective-c", rb"^[ \t]*(?:@(?:interface|protocol|property|class|end)\b|#import )"),
        ("cpp", rb"^[ \t]*(?:class \w+[^;{\n]{0,200}[{:]|class \w+[ \t]*$|namespace\b|template ?<|"
         rb"using \w|(?:public|private|protected):|virtual |typename |#include <(?:string|vector"
         rb"|map|set|memory|iostream|cstdint|cstddef|functional|utility|algorithm)>)|\bstd::"),
    ),
    "m": (
        ("objective-c", rb"^[ \t]*(?:@(?:interface|implementation|protocol|property|end|import"
         rb"|class)\b|#(?:import|include)\b)"),
        ("mathematica", rb"^[ \t]*(?:\(\*|BeginPackage\[|Module\[)|:=[ \t]*Module\["),
        ("mercury", rb"^:- module\b"),
    ),
    "mm": (("xml", _XML),),
    "pl": (
        ("prolog", rb"^[a-z]\w{0,60}(?:\([^()\n]{0,200}\))?[ \t]*:-|^:- \w"),
        ("raku", rb"^use v6"),
    ),
    "pm": (("raku", rb"^(?:use v6|unit (?:class|module))"),),
    "t": (("terra", rb"^(?:local )?terra \w"), ("raku", rb"^use v6")),
    "v": (
        ("coq", rb"^[ \t]*(?:Require |Import |Theorem |Lemma |Definition |Proof\.|Inductive |"
         rb"Section \w+\.)"),
        ("vlang", rb"^(?:pub )?(?:fn \(?\w|struct \w+ \{)|^module [a-z_]+$"),
    ),
    "ts": (("xml", _XML),),
    "tsx": (("xml", _XML),),
    "r": (("rebol", rb"^[ \t]*REBOL\b"),),
    "cls": (
        ("visual-basic", rb"^VERSION [\d.]{1,9} CLASS|^Attribute VB_"),
        ("tex", rb"\\(?:ProvidesClass|NeedsTeXFormat|LoadClass|documentclass|newcommand)"),
        ("apex", rb"(?i:^[ \t]*(?:@istest|(?:public|private|global)[^\n]{0,80}\bclass ))"),
    ),
    "inc": (
        ("php", rb"<\?(?:php|=)"),
        ("html", rb"\A\s{0,99}<[a-zA-Z!]"),
        ("cpp", rb"^[ \t]*#[ \t]*(?:include|define|ifn?def|if|pragma)\b"),
        ("pascal", rb"(?i:^[ \t]*(?:\{\$|(?:procedure|function|unit|begin|uses)\b))"),
        ("assembly", rb"(?i:^[ \t]*(?:%macro|\.macro|section|\.globl|mov[lq]?[ \t])|^\w+[ \t]+(?:"
         rb"equ|db|dw|macro)\b)"),
        ("sql", rb"(?i:^[ \t]*(?:create|insert|select|drop)[ \t])"),
    ),
    "pro": (
        ("qmake", rb"^[ \t]*(?:TEMPLATE|CONFIG|QT|SOURCES|HEADERS|TARGET)[ \t]*[+-]?="),
        ("proguard", rb"^-(?:keep|dont|optimi)"),
        ("idl", rb"(?i:^[ \t]*(?:pro|function) \w+[ \t]*(?:,|$))"),
    ),
    "fs": (
        ("forth", rb"^: \S+ "),
        ("glsl", rb"^[ \t]*(?:#version|precision|uniform|varying)\b|\bvec[234]\b"),
    ),
    "f": (("forth", rb"^: \S+ "),),
    "for": (("forth", rb"^: \S+ "),),
    "d": (
        ("makefile", rb"^[\w./-]{1,200}\.o[ \t]*:"),
        ("dtrace", rb"^(?:#!.{0,60}dtrace|dtrace:::|syscall::)"),
    ),
    "cl": (
        ("opencl", rb"\b(?:__kernel|__global|get_global_id)\b|^[ \t]*kernel void\b"),
        ("cool", rb"^class \w+ (?:inherits|\{)"),
    ),
    "ml": (("standard-ml", rb"^(?:structure|signature|functor) \w+|^[ \t]*fun \w+.{0,80}=$"),),
    "rs": (("xml", _XML), ("renderscript", rb"^#pragma (?:rs|version)\b")),
    "md": (("gcc-machine-description", rb"^\(define_(?:insn|expand|attr|split)"),),
    "php": (("hack", rb"\A<\?hh"),),
    "pp": (("pascal", rb"(?i:^[ \t]*(?:unit|program|uses|begin|procedure|interface)\b)"),),
    "sc": (("supercollider", rb"\bSynthDef\b|\.(?:ar|kr)\(|^\+ \w+ \{"),),
    "cs": (("smalltalk", rb"^![\w ]{1,80} methodsFor:"),),
    "gd": (("gap", rb"^Declare(?:Operation|Attribute|Property|GlobalFunction)\("),),
    "bas": (("visual-basic", rb"^Attribute VB_|(?i:^[ \t]*(?:public|private) (?:sub|function) )"),),
    "l": (
        ("common-lisp", rb"^\((?:def|in-package)"),
        ("roff", rb"^\.(?:TH|SH|Dd)\b"),
    ),
    "mod": (("xml", _XML), ("ampl", rb"(?i:^(?:param|var|set|minimize|subject to)\b)")),
    "def": (("windows-def", rb"^(?:LIBRARY|EXPORTS)\b"),),
    "tab": (("sql", rb"(?i:^[ \t]*(?:create|insert) )"),),
    "do": (("tcl", rb"^[ \t]*(?:vlib|vlog|vsim|add wave)\b"),),
    "nb": (),
    "frm": (("visual-basic", rb"^VERSION [\d.]{1,9}|^Attribute VB_"),),
    "tpl": (("html", rb"\A\s{0,99}<!?[a-zA-Z]"),),
    "res": (("rescript", rb"^(?:let|open|module|type|@react) "),),
    "sig": (("standard-ml", rb"^signature \w+"),),
    "fun": (("standard-ml", rb"^(?:functor|structure|fun|val) "),),
    "obj": (),
    "ui": (),
    "e": (("eiffel", rb"(?i:^(?:class|note|indexing|deferred class|feature)\b)"),),
    "q": (),
    "dat": (),
}  # fmt: skip
# Their extensions are mostly something else's: without one of their patterns, no language.
_NEEDS_PATTERN = {"res", "sig", "fun", "tab", "e", "def", "frm"}
_ROFF = re.compile(rb"\A(?:\.\\\"|'\\\"|\.(?:TH|Dd|SH|so)\b)")
# StarCoder2 keeps plain text only under names like these (its language-specific filters).
_TEXT_NAME = re.compile(r"\A(?:readme|notes|todo|description|cmakelists)\b|requirement")


def _table(text: str) -> dict[str, str]:
    table: dict[str, str] = {}
    for entry in text.split("|"):
        name, *extensions = entry.split()
        for extension in extensions:
            table.setdefault(extension, name)
    return table


BY_EXTENSION = _table(_DATA) | _table(_CODE)
DATA = {entry.split()[0] for entry in _DATA.split("|")}
BY_NAME = dict(pair.split(":") for pair in _NAMES.split())
_PATTERNS = {
    extension: [(name, re.compile(pattern, re.M)) for name, pattern in patterns]
    for extension, patterns in _SHARED.items()
}
LANGUAGES = (
    set(BY_EXTENSION.values())
    | set(BY_NAME.values())
    | {name for _, name in _SHEBANGS}
    | {name for patterns in _SHARED.values() for name, _ in patterns}
    | {"text"}
)
_ALIASES = {
    "c++": "cpp", "c#": "csharp", "f#": "fsharp", "c-sharp": "csharp", "f-sharp": "fsharp",
    "batchfile": "batch", "protocol-buffer": "protobuf", "webassembly": "wasm-text", "viml":
    "vim-script", "visual-basic-.net": "visual-basic", "unix-assembly": "assembly", "scss": "sass",
    "tsx": "typescript", "f*": "fstar", "jsx": "javascript",
}  # fmt: skip


def canonical(name: str) -> str:
    """A language's name as this module writes it, from Linguist's or The Stack's: C++ -> cpp."""
    plain = "-".join(name.lower().split())
    return _ALIASES.get(plain, plain)


def extension_of(path: str) -> str:
    """The lower-cased extension, "" for none; of `config.h.in` that of `config.h`."""
    name = path.rsplit("/", 1)[-1].lower()
    name = name.removesuffix(".in")
    stem, _, extension = name.rpartition(".")
    return extension if stem else ""


def may_be_code(path: str) -> bool:
    """Whether the content could make it one of the languages: what has no known extension is not
    opened."""
    extension = extension_of(path)
    return bool(
        extension in BY_EXTENSION
        or by_name(path)
        or extension.isdigit()
        or (not extension and not _is_license(path))
    )


def is_data_name(path: str) -> str | None:
    """The data language of a file whose name alone says that it is one."""
    extension = extension_of(path)
    language = by_name(path) or (None if extension in _PATTERNS else BY_EXTENSION.get(extension))
    return language if language in DATA else None


def _is_license(path: str) -> bool:
    name = path.rsplit("/", 1)[-1].lower()
    return name.startswith(("license", "licence", "copying", "unlicense", "notice", "patents"))


def by_name(path: str) -> str | None:
    """The language of a file of this name, whatever its extension: Makefile, README.txt."""
    name = path.rsplit("/", 1)[-1].lower()
    if name in BY_NAME:
        return BY_NAME[name]
    stem = name.partition(".")[0]
    if stem in ("dockerfile", "makefile", "jenkinsfile") and "." in name:
        return BY_NAME[stem] if extension_of(path) not in BY_EXTENSION else None
    if name.endswith(".txt") or "." not in name:
        return "text" if _TEXT_NAME.search(name) else None
    return None


def language_of(path: str, content: bytes) -> str | None:
    """The language of a file, or None for what is none of them."""
    if language := by_name(path):
        return language
    extension = extension_of(path)
    head = content[:HEAD_BYTES]
    for name, pattern in _PATTERNS.get(extension, ()):
        if pattern.search(head):
            return name
    if extension in BY_EXTENSION:
        return None if extension in _NEEDS_PATTERN else BY_EXTENSION[extension]
    if extension.isdigit():
        return "roff" if _ROFF.match(head) else None
    return None if extension else shebang(head)


def shebang(head: bytes) -> str | None:
    """The language of the interpreter that the first line names."""
    line = head[:200].partition(b"\n")[0]
    if not line.startswith(b"#!"):
        return None
    return next((language for pattern, language in _SHEBANGS if re.search(pattern, line)), None)
