"""StackExchange's Posts.xml (plain, .gz, .bz2, .zst, .xz) -> one document a question, with its
answers from the best score down, as in LLaMA (Touvron et al. 2023, arXiv 2302.13971, section 2.1).

Rows are cut out of the file by their tag and parsed alone, so that a broken one costs itself, and
no entity but the five of XML and numbers is known. Questions and answers are rows of their own, far
apart: they are brought together by `grouping.py`, and every range reads the whole file.
Format: meta.stackexchange.com/questions/2677, "Posts".
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from pipeline import quarantine
from pipeline.extract.html import Extract, ExtractError, html_to_text
from pipeline.schema import HEAD_BYTES, Document, Fault
from pipeline.sources.grouping import Group, Row, bucket, grouped, split_by_key
from pipeline.sources.streams import elements, whole_file_fault


@dataclass(frozen=True, kw_only=True)
class StackExchange:
    """The questions of a site, with their answers."""

    site: str | None = None
    """Such as `math.stackexchange.com`, for URLs; told by the path (`.../SITE/Posts.xml`,
    `SITE-Posts.xml.zst`) where it is not given."""
    min_question_score: int | None = None
    """A question below is marked low_score. Unset: none is."""
    min_answer_score: int | None = None
    """Answers below are left out. Unset: none are."""
    max_answers: int = 0
    """The best ones; 0 is all."""
    min_answers: int = 1
    """A question with fewer, after these rules, is marked unanswered."""
    accepted: Literal["by_score", "first", "marked"] = "by_score"
    """What of the accepted answer: nothing, it comes first, or it is labelled as accepted."""
    question_label: str = "Q: "
    answer_label: str = "A: "
    accepted_label: str = "A (accepted): "
    extract: Extract = field(default_factory=Extract)
    """The HTML engine for the bodies."""
    max_document_bytes: int = 32 << 20
    """A row, or a question with its answers, of more XML is an error."""

    def __post_init__(self) -> None:
        for name in ("max_answers", "min_answers"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} {getattr(self, name)} is below 0")


class _Post(NamedTuple):
    locator: str
    fields: dict[str, str]

    @property
    def score(self) -> int:
        return _number(self.fields.get("Score", ""))


_KEY = re.compile(rb'\s(Id|PostTypeId|ParentId)="(\d{1,18})"')
_ID = re.compile(r"[0-9]{1,18}")
_FIELD = re.compile(r'\s+([A-Za-z]{1,40})\s*=\s*"([^"<]*)"')
_ENTITY = re.compile(r"&(#\d{1,7}|#x[0-9a-fA-F]{1,6}|[a-z]{1,4});|&")
_NAMED = {"lt": "<", "gt": ">", "amp": "&", "quot": '"', "apos": "'"}
_SITE = re.compile(r"(?:^|[/_-])((?:[a-z0-9]+\.)+(?:com|net|org))(?=[/_.-])")
_LICENSES = (("2018-05-02", "CC-BY-SA-4.0"), ("2011-04-08", "CC-BY-SA-3.0"), ("", "CC-BY-SA-2.5"))


def split_stackexchange(path: str, split_bytes: int) -> list[tuple[int, int]]:
    """Ranges of hashes of question ids."""
    return split_by_key(path, split_bytes)


def read_stackexchange(
    path: str, start: int, end: int, config: StackExchange
) -> Iterator[Document | Fault]:
    """The questions of a range of buckets. Locator: the question's id; of an answer without its
    question, both ids; of a row that cannot be read, `@` and its offset."""
    if fault := whole_file_fault(path):
        if start == 0:
            yield fault
        return
    site = config.site or _site(path)
    rows = _keyed_rows(path, start, end, config.max_document_bytes)
    for group in grouped(rows, start, end, config.max_document_bytes):
        if isinstance(group, Fault):
            yield group
        else:
            yield from _read_group(group, site, config)


def _site(path: str) -> str | None:
    found = _SITE.findall(path.lower())
    return found[-1] if found else None


def _keyed_rows(path: str, start: int, end: int, limit: int) -> Iterator[tuple[bytes, Row] | Fault]:
    """(id of its question, row). What is wrong with the file is a fault of the first range, what is
    wrong with a row, of the range of its offset's hash."""
    for item in elements(path, 0, 1 << 62, b"<row ", b"/>", limit):
        if isinstance(item, Fault):
            if start == 0:
                yield item._replace(locator=f"@{item.locator}")
            continue
        key = _question(item.data) if item.length <= limit else None
        if key is not None:
            yield key, Row(item.locator, item.data)
        elif start <= bucket(item.locator.encode()) < end:
            error, message = "bad_row", "no Id, PostTypeId or ParentId; a row of Posts.xml has them"
            if item.length > limit:
                error, message = "too_large", f"{item.length} bytes (max_document_bytes {limit})"
            yield Fault(f"@{item.locator}", error, message, item.data[:HEAD_BYTES])


def _question(row: bytes) -> bytes | None:
    """The id of the question to which a row belongs; of other posts, their own."""
    # A quote inside a value is &quot;, so these names cannot be met in a body.
    head = row.partition(b' Body="')[0]
    fields = dict(_KEY.findall(head if b" Id=" in head else row))
    key = fields.get(b"ParentId") if fields.get(b"PostTypeId") == b"2" else fields.get(b"Id")
    return key.lstrip(b"0") or b"0" if key and b"PostTypeId" in fields and b"Id" in fields else None


def _read_group(
    group: Group, site: str | None, config: StackExchange
) -> Iterator[Document | Fault]:
    locator = f"{int(group.key):010d}"
    if group.rows is None:
        message = (
            f"{group.n_rows} posts of {group.n_bytes} bytes (max_document_bytes "
            f"{config.max_document_bytes})"
        )
        yield Fault(locator, "too_large", message)
        return
    if deadly := quarantine.refusal(locator):
        yield deadly
        return
    question: _Post | None = None
    answers: dict[int, _Post] = {}
    for row in group.rows:
        try:
            post = _Post(row.locator, _parse(row.data))
        except ValueError as error:
            yield Fault(f"@{row.locator}", "bad_xml", str(error), row.data[:HEAD_BYTES])
            continue
        kind, number = post.fields["PostTypeId"], int(post.fields["Id"])
        if kind not in ("1", "2"):
            place = f"{locator}@{row.locator}"
            yield Document(place, "", meta={"post_type": kind}, rule="not_a_question")
        elif (kind == "1" and question) or (kind == "2" and number in answers):
            place = f"{number:010d}@{row.locator}"
            yield Document(place, _plain(post, config), rule="duplicate_id")
        elif kind == "1":
            question = post
        else:
            answers[number] = post
    if question:
        yield _read_question(locator, question, list(answers.values()), site, config)
        return
    for number, answer in sorted(answers.items()):
        meta = {"question": group.key.decode()}
        yield Document(
            f"{locator}/{number:010d}", _plain(answer, config), meta=meta, rule="orphan_answer"
        )


def _parse(row: bytes) -> dict[str, str]:
    """The attributes of a row. Raises ValueError for what is no XML."""
    text = row.decode()
    fields: dict[str, str] = {}
    at = len("<row")
    while match := _FIELD.match(text, at):
        fields[match[1]] = _ENTITY.sub(_entity, match[2]) if "&" in match[2] else match[2]
        at = match.end()
    if text[at:].strip() != "/>":
        raise ValueError(f"no attribute at character {at}: {text[at : at + 40]!r}")
    if not all(_ID.fullmatch(fields.get(name, "")) for name in ("Id", "PostTypeId")):
        raise ValueError("Id or PostTypeId is no number")
    return fields


def _entity(match: re.Match[str]) -> str:
    name = match[1] or ""
    if name in _NAMED:
        return _NAMED[name]
    code = int(name[2:], 16) if name[:2] == "#x" else int(name[1:]) if name[:1] == "#" else 0
    if code in (9, 10, 13) or 32 <= code < 0xD800 or 0xE000 <= code <= 0x10FFFF:
        return chr(code)
    raise ValueError(f"{match[0]!r} is no entity of XML")


def _number(text: str) -> int:
    return int(text) if re.fullmatch(r"-?\d{1,18}", text) else 0


def _plain(post: _Post, config: StackExchange) -> str:
    body = post.fields.get("Body", "")
    try:
        return html_to_text(body, config.extract, main_content=False)[0]
    except ExtractError:
        return ""


def _read_question(
    locator: str, question: _Post, answers: list[_Post], site: str | None, config: StackExchange
) -> Document | Fault:
    fields = question.fields
    accepted = fields.get("AcceptedAnswerId", "")
    n_all = len(answers)
    if config.min_answer_score is not None:
        answers = [a for a in answers if a.score >= config.min_answer_score]
    n_low = n_all - len(answers)
    first = config.accepted == "first"
    answers.sort(
        key=lambda a: (first and a.fields["Id"] != accepted, -a.score, int(a.fields["Id"]))
    )
    n_over = max(len(answers) - config.max_answers, 0) if config.max_answers else 0
    answers = answers[: len(answers) - n_over]
    try:
        body = html_to_text(fields.get("Body", ""), config.extract, main_content=False)[0]
        bodies = [
            html_to_text(a.fields.get("Body", ""), config.extract, main_content=False)[0]
            for a in answers
        ]
    except ExtractError as error:
        return Fault(locator, error.kind, str(error), fields.get("Body", "")[:HEAD_BYTES].encode())
    title = " ".join(fields.get("Title", "").split())
    blocks = [config.question_label + "\n\n".join(part for part in (title, body) if part)]
    written = [(a, text) for a, text in zip(answers, bodies, strict=True) if text]
    for answer, text in written:
        marked = config.accepted == "marked" and answer.fields["Id"] == accepted
        blocks.append((config.accepted_label if marked else config.answer_label) + text)
    rule = None
    if not title and not body:
        rule = "no_text"
    elif config.min_question_score is not None and question.score < config.min_question_score:
        rule = "low_score"
    elif len(written) < config.min_answers:
        rule = "unanswered"
    meta = {
        "title": title,
        "site": site or "",
        "tags": " ".join(re.findall(r"[^<>|\s]+", fields.get("Tags", ""))),
        "score": str(question.score),
        "answer_scores": " ".join(str(answer.score) for answer, _ in written),
        "n_answers": str(n_all),
        "n_answers_low_score": str(n_low) if n_low else "",
        "n_answers_over_most": str(n_over) if n_over else "",
    }
    return Document(
        locator,
        "\n\n".join(blocks),
        url=f"https://{site}/questions/{int(locator)}" if site else None,
        created=fields.get("CreationDate"),
        license=_license([question, *(answer for answer, _ in written)]),
        meta={key: value for key, value in meta.items() if value},
        rule=rule,
    )


def _license(posts: list[_Post]) -> str:
    """What the posts state, else what the network's terms were at their dates, joined as SPDX."""
    found = set()
    for post in posts:
        stated = post.fields.get("ContentLicense", "")
        stated = stated if re.fullmatch(r"CC BY-SA [0-9]\.[0-9]", stated) else ""
        day = post.fields.get("CreationDate", "")
        found.add(stated.replace(" ", "-") or next(name for date, name in _LICENSES if day >= date))
    return " AND ".join(sorted(found))
