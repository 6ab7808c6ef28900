"""A web page -> its main text, or all its text, by one of three engines.

On the 181 labelled pages of article-extraction-benchmark, on one core (benchmarks/extract.py):

    corpusmill   F1 .973 held out, 540 pages/s   blocks and boosted trees: main_content.py
    resiliparse  F1 .916, 560 pages/s             Bevendorff et al. 2018, ECIR
    trafilatura  F1 .960,  64 pages/s             Barbaresi 2021, ACL; an optional dependency

corpusmill's takes linear time whatever the page; for the others pages nested too deeply are
refused.
"""

import importlib.util
from dataclasses import dataclass
from typing import Literal

import numpy as np
from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import HTMLParserException, HTMLTree

from pipeline.extract import nesting
from pipeline.extract.assemble import assemble
from pipeline.extract.main_content import all_blocks, main_blocks, read_page


@dataclass(frozen=True, kw_only=True)
class Extract:
    """How the text of a page is found."""

    engine: Literal["corpusmill", "resiliparse", "trafilatura"] = "corpusmill"
    """trafilatura needs `pip install corpusmill[trafilatura]`."""

    def __post_init__(self) -> None:
        if self.engine == "trafilatura" and importlib.util.find_spec("trafilatura") is None:
            raise ValueError(
                "engine: trafilatura is not installed (pip install 'corpusmill[trafilatura]')"
            )


class ExtractError(ValueError):
    """A page that cannot be parsed in bounded time. `kind` names the fault."""

    def __init__(self, kind: str, message: str):
        super().__init__(message)
        self.kind = kind


def html_to_text(
    html: str, config: Extract = Extract(), *, main_content: bool = True
) -> tuple[str, str]:
    """(text, title): blocks on lines of their own, list bullets, no links, no alternative texts.
    Without `main_content`, all that a reader sees of the page, in its order; of
    that trafilatura has no form with lines, so it is corpusmill's.

    Raises ExtractError for a page that the engine cannot parse.
    """
    if config.engine == "corpusmill" or (config.engine == "trafilatura" and not main_content):
        page = read_page(html)
        keep = main_blocks(page) if main_content else all_blocks(page.markup)
        return assemble(page.markup, keep), page.title
    html = html.replace("\0", "").encode(errors="replace").decode()
    _refuse_deep(html)
    if config.engine == "resiliparse":
        return _resiliparse(html, main_content)
    return _trafilatura(html)


def _refuse_deep(html: str) -> None:
    depth, depth_work, formatting_work = nesting.nesting(np.frombuffer(html.encode(), np.uint8))
    if (
        depth > nesting.MAX_DEPTH
        or depth_work > nesting.MAX_DEPTH_WORK
        or formatting_work > nesting.MAX_FORMATTING_WORK
    ):
        raise ExtractError(
            "too_deep",
            f"{depth} elements are nested (at most {nesting.MAX_DEPTH}), {formatting_work} times "
            "an open formatting element would be repeated (at most "
            f"{nesting.MAX_FORMATTING_WORK})",
        )


def _resiliparse(html: str, main_content: bool) -> tuple[str, str]:
    try:
        tree = HTMLTree.parse(html)
        text = extract_plain_text(
            tree,
            preserve_formatting=True,
            main_content=main_content,
            list_bullets=True,
            alt_texts=False,
            links=False,
        )
    except HTMLParserException as error:
        raise ExtractError("bad_html", str(error)) from error
    return text.replace("\0", "").strip(), " ".join((tree.title or "").replace("\0", "").split())


def _trafilatura(html: str) -> tuple[str, str]:
    import trafilatura

    # Never deduplicate=True: that remembers pages, so their order would matter.
    text = trafilatura.extract(html, include_comments=False)
    tree = HTMLTree.parse(html)
    return (text or "").replace("\0", "").strip(), " ".join((tree.title or "").split())
