"""pipeline/sources/arxiv.py on bulk tars made here."""

import gzip
import io
import random
import tarfile

from pipeline.schema import Document, Fault
from pipeline.sources.arxiv import Arxiv, read_arxiv, split_arxiv

PAPER = "\\documentclass{article}\\title{T}\\begin{document}\\section{One}Words.\\end{document}"


def tar(files) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            if data is None:
                info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
                archive.addfile(info)
            else:
                data = data.encode() if isinstance(data, str) else data
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def read(tmp_path, data, config=None):
    path = tmp_path / "arXiv_src_2401_001.tar"
    path.write_bytes(data)
    [(start, end)] = split_arxiv(str(path), 10)
    return list(read_arxiv(str(path), start, end, config or Arxiv()))


def kinds(items):
    return [(x.locator, x.error if isinstance(x, Fault) else (x.rule or "ok")) for x in items]


def test_papers(tmp_path):
    multi = tar(
        {
            "main.tex": PAPER.replace("Words.", "\\input{sec/a}"),
            "sec/a.tex": "Inner.",
            "f.png": b"\0",
        }
    )
    items = read(
        tmp_path,
        tar(
            {
                "2401/2401.00001.gz": gzip.compress(PAPER.encode()),
                "2401/2401.00002.gz": gzip.compress(multi),
                "2401/2401.00003.pdf": b"%PDF-1.5 xyz",
                "2401/2401.00004.gz": gzip.compress(b"%PDF-1.5 xyz"),
                "2401/2401.00005.gz": gzip.compress(tar({"paper.pdf": b"%PDF", "readme": "x"})),
                "2401/2401.00006.gz": gzip.compress(tar({"readme": "x"})),
                "9901/hep-th9901001.gz": gzip.compress("\\section{Ä}Old.".encode("latin-1")),
            }
        ),
    )
    assert kinds(items) == [
        ("2401.00001", "ok"),
        ("2401.00002", "ok"),
        ("2401.00003", "pdf_only"),
        ("2401.00004", "pdf_only"),
        ("2401.00005", "pdf_only"),
        ("2401.00006", "no_main_file"),
        ("hep-th/9901001", "ok"),
    ]
    first, second, *_, last = items
    assert first == Document(
        "2401.00001",
        "\\section{One}Words.",
        url="https://arxiv.org/abs/2401.00001",
        created="2024-01",
        meta={"title": "T"},
    )
    assert second.text == "\\section{One}Inner."
    assert (last.text, last.created) == ("\\section{Ä}Old.", "1999-01")
    assert items[2].head == b"%PDF-1.5 xyz"


def test_damage_costs_one_paper(tmp_path):
    good = gzip.compress(PAPER.encode())
    outside = tar(
        {"../x.tex": "out", "link.tex": None, "m.tex": PAPER.replace("Words.", "\\input{../x}.")}
    )
    bomb = gzip.compress(tar({"main.tex": PAPER, "big.eps": bytes(50_000_000), "z.tex": "z"}))
    huge = gzip.compress(PAPER.encode() + b" " * 3_000_000)
    data = tar(
        {
            "2401/2401.00001.gz": good[:-20],
            "2401/2401.00002.gz": gzip.compress(tar({"main.tex": PAPER * 50}))[:-100],
            "2401/2401.00003.gz": gzip.compress(outside),
            "2401/2401.00004.gz": bomb,
            "2401/2401.00005.gz": huge,
            "2401/2401.00006.gz": gzip.compress(b"\\section{A}\0"),
            "../2401.00007.gz": good,
            "2401/2401.00008.gz": b"",
            "2401/2401.00009.gz": good,
        }
    )
    items = read(tmp_path, data, Arxiv(max_document_bytes=1 << 20))
    assert kinds(items) == [
        ("2401.00001", "truncated_gzip"),
        ("2401.00002", "truncated_gzip"),
        ("2401.00003", "ok"),
        ("2401.00004", "bomb"),
        ("2401.00005", "too_large"),
        ("2401.00006", "nul_bytes"),
        ("../2401.00007.gz", "path_outside"),
        ("2401.00008", "no_text"),
        ("2401.00009", "ok"),
    ]
    assert items[2].text == "\\section{One}."


def test_damaged_tar(tmp_path):
    data = tar({f"2401/2401.0000{i}.gz": gzip.compress(PAPER.encode()) for i in range(4)})
    broken = bytearray(data)
    broken[2 * 1024] ^= 0xFF  # in the header of the third member
    items = read(tmp_path, bytes(broken))
    assert [k for _, k in kinds(items)] == ["ok", "ok", "damaged_tar"]
    items = read(tmp_path, data[: 2 * 1024 + 600])
    assert [k for _, k in kinds(items)] == ["ok", "ok", "truncated_gzip"] or kinds(items)[-1][
        1
    ] == "damaged_tar"
    assert kinds(read(tmp_path, b"")) == [("", "empty_file")]
    assert kinds(read(tmp_path, b"no tar at all" * 99)) == [("@", "damaged_tar")]


def test_real_bulk_tar(shared_data):
    path = shared_data / "arxiv/arXiv_src_2401_001.tar"
    items = list(read_arxiv(str(path), 0, path.stat().st_size, Arxiv()))
    assert [x.locator for x in items] == [f"2401.{i:05d}" for i in range(1, 19)]
    assert kinds(items)[-1] == ("2401.00018", "pdf_only")
    for document in items[:-1]:
        assert document.rule is None and document.meta["title"]
        assert document.text.startswith(("\\section", "\\chapter")), document.text[:80]
        assert "\\documentclass" not in document.text and "thebibliography" not in document.text
    categories, hott = items[1], items[16]
    assert categories.text.startswith(
        "\\section{Introduction}\n\\label{section-introduction}\n\n\\noindent\n"
        "Categories were first introduced in \\cite{GenEqui}."
    )
    # \Ob is the paper's own; its references in comments are gone
    assert "A set of objects $\\mathop{\\mathrm{Ob}}\\nolimits(\\mathcal{C})$." in categories.text
    assert "\\begin{reference}" not in categories.text and "\\Ob" not in categories.text
    # the HoTT book, out of its 60 files
    assert hott.meta == {
        "title": "Homotopy Type Theory: Univalent Foundations of Mathematics",
        "author": "The Univalent Foundations Program",
    }
    assert len(hott.text) > 1_400_000 and "\\jdeq" not in hott.text.replace("vs-jdeq", "")
    assert hott.text.startswith("\\chapter*{Preface}\n\\label{cha:preface}")
    assert "a function $f:A\\to B$" in hott.text


def test_real_papers_as_plain_text(shared_data):
    path = shared_data / "arxiv/arXiv_src_2401_001.tar"
    items = list(read_arxiv(str(path), 0, path.stat().st_size, Arxiv(markup="text", math="drop")))
    text = items[1].text
    assert text.startswith(
        "Introduction\n\nCategories were first introduced in [cite]. The category of categories "
        "(which is a proper class) is a -category."
    )
    for document in items[:-1]:
        assert "\\section" not in document.text and "$" not in document.text, document.locator


def test_what_has_no_tex(tmp_path):
    kinds_of = {
        "pdf_only": [b"%PDF-1.5", tar({"p.pdf": b"%PDF"})],
        "ps_only": [b"%!PS-Adobe-2.0", tar({"p.ps": b"%!PS", "f.eps": b"x"})],
        "html_only": [b"<html><p>x", tar({"p.html": b"<p>"})],
        "docx_only": [b"PK\x03\x04", tar({"p.docx": b"PK"})],
        "no_main_file": [tar({"readme": "x"}), tar({"a.sty": "\\def\\x{}"})],
    }
    files = {
        f"2401/2401.0000{i}{j}.gz": gzip.compress(data)
        for i, datas in enumerate(kinds_of.values())
        for j, data in enumerate(datas)
    }
    found = kinds(read(tmp_path, tar(files)))
    assert [kind for _, kind in found] == [kind for kind in kinds_of for _ in range(2)]


def test_options_charsets_and_withdrawn_papers(tmp_path):
    koi8 = "\\documentclass{a}\\usepackage[koi8-r]{inputenc}\\begin{document}\\section{Мир}"
    data = tar(
        {
            "2401/2401.00001.gz": gzip.compress(koi8.encode("koi8-r")),
            "2401/2401.00002.gz": gzip.compress(b"%auto-ignore\nThis paper has been withdrawn."),
            "2401/2401.00003.gz": gzip.compress(
                tar({"paper": PAPER.replace("Words.", "A $x$."), "Makefile": "all:"})
            ),
        }
    )
    items = read(tmp_path, data)
    assert items[0].text == "\\section{Мир}" and items[1].rule == "withdrawn"
    assert items[2].text == "\\section{One}A $x$."
    items = read(tmp_path, data, Arxiv(markup="text", math="drop"))
    assert items[2].text == "One\n\nA."


def test_mutations(tmp_path):
    random.seed(4)
    seed = tar(
        {
            "2401/2401.00001.gz": gzip.compress(tar({"m.tex": PAPER, "a.sty": "x"})),
            "2401/2401.00002.gz": gzip.compress(PAPER.encode()),
        }
    )
    for _ in range(200):
        data = bytearray(seed[:4096])
        for _ in range(random.randint(1, 8)):
            data[random.randrange(len(data))] = random.randrange(256)
        for item in read(tmp_path, bytes(data)):
            assert isinstance(item, Fault) or len(item.text) < 1000
