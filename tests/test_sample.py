"""The demo's inputs: the same bytes each time, readable by the readers, and true to truth.jsonl."""

import json
import os
import random
import subprocess
import sys
import zlib
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from fastwarc.warc import ArchiveIterator, WarcRecordType

from pipeline.config import load
from pipeline.sample.inputs import make_inputs
from pipeline.sample.languages import SENTENCES
from pipeline.sample.plant_strings import LOOKALIKES, PII, luhn_digit, make_items, personal_string
from pipeline.sample.plants import EDIT_RATES, jaccard, near_duplicates, reworded
from pipeline.sample.prose import Article, Chain, articles, prose_paragraphs, words
from pipeline.schema import Document, Fault
from pipeline.sources import FORMATS
from pipeline.storage import expand

SCALE = 0.05
DEMO = Path(__file__).resolve().parent.parent / "configs" / "demo.toml"


class Inputs(NamedTuple):
    root: Path
    truth: list[dict[str, Any]]
    documents: dict[str, Document]  # by id, as the readers give them
    faults: dict[str, list[str]]

    def of(self, component: str) -> list[dict[str, Any]]:
        found = [plant for plant in self.truth if plant["component"] == component]
        assert found, component
        return found

    def text(self, plant: dict[str, Any]) -> str:
        return self.documents[plant["id"]].text


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    root = tmp_path_factory.mktemp("inputs")
    make_inputs(root, scale=SCALE)
    documents: dict[str, Document] = {}
    faults: dict[str, list[str]] = defaultdict(list)
    for name, source in load(DEMO).sources.items():
        for path, shard in expand(f"{root}/{source.paths[0]}"):
            for record in FORMATS[source.format].read(path, 0, 1 << 60, source.reader):
                id = f"{name}/{shard}/{record.locator}"
                if isinstance(record, Fault):
                    faults[id].append(record.error)
                else:
                    documents[record.id or id] = record
    lines = (root / "truth.jsonl").read_text().splitlines()
    return Inputs(root, [json.loads(line) for line in lines], documents, faults)


def test_same_bytes_in_another_process(inputs: Inputs, tmp_path: Path) -> None:
    call = f"make_inputs(Path({str(tmp_path)!r}), scale={SCALE})"
    code = f"from pathlib import Path; from pipeline.sample.inputs import make_inputs; {call}"
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    first, second = (
        {f.relative_to(r): f.read_bytes() for f in r.rglob("*") if f.is_file()}
        for r in (inputs.root, tmp_path)
    )
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


def test_the_demo_reads_every_shard(inputs: Inputs) -> None:
    sources = load(DEMO).sources
    assert all(len(source.paths) == 1 for source in sources.values())
    read = {
        path
        for source in sources.values()
        for path, _ in expand(f"{inputs.root}/{source.paths[0]}")
    }
    written = {str(f) for f in (inputs.root / "shards").rglob("*") if f.is_file()}
    assert read == written
    assert {id.split("/")[0] for id in inputs.documents} >= set(sources) - {"table"}


def test_another_seed_gives_other_pages(inputs: Inputs, tmp_path: Path) -> None:
    make_inputs(tmp_path, seed=1, scale=SCALE)
    name = "shards/web-00000.warc.gz"
    assert (tmp_path / name).read_bytes() != (inputs.root / name).read_bytes()


def test_every_plant_is_where_the_truth_says(inputs: Inputs) -> None:
    missing = [
        p["id"]
        for p in inputs.truth
        if p["id"] not in inputs.documents.keys() | inputs.faults.keys()
    ]
    assert missing == []
    assert {p["expect"] for p in inputs.truth} == {"removed", "kept", "scrubbed", "cut", "error"}


def test_faults_are_found_by_the_readers(inputs: Inputs) -> None:
    for plant in inputs.of("fault"):
        names = plant["detail"]["names"]
        if plant["expect"] == "error":
            assert set(names) & set(inputs.faults[plant["id"]]), plant
        elif plant["expect"] == "removed":
            assert f"ingest.{inputs.documents[plant['id']].rule}" in names, plant
        else:
            assert plant["detail"]["contains"] in inputs.text(plant), plant


def test_fastwarc_reads_the_shards(inputs: Inputs) -> None:
    with (inputs.root / "shards/spam-00000.warc.gz").open("rb") as file:
        pages = list(ArchiveIterator(file, record_types=WarcRecordType.response))
        assert len(pages) == 3
        assert all(page.http_headers.get("Content-Type") == "text/html" for page in pages)


def test_web_locators_are_offsets_of_gzip_members(inputs: Inputs) -> None:
    plants = [p for p in inputs.truth if p["id"].startswith("web/")]
    for plant in plants:
        _, shard, offset = plant["id"].split("/")
        data = (inputs.root / "shards" / shard).read_bytes()[int(offset) :]
        head = zlib.decompressobj(31).decompress(data, 200)
        assert head.startswith(b"WARC/1.1\r\nWARC-Type: response"), plant
    assert len(plants) > 50


def test_exact_duplicates_are_equal_after_extraction(inputs: Inputs) -> None:
    groups = defaultdict(list)
    for plant in inputs.of("exact_duplicate"):
        groups[plant["group"]].append(inputs.text(plant))
    assert all(len(texts) == 2 and texts[0] == texts[1] for texts in groups.values())
    assert len({texts[0] for texts in groups.values()}) == len(groups)


def test_near_duplicates_are_as_similar_as_recorded(inputs: Inputs) -> None:
    groups = defaultdict(list)
    for plant in inputs.of("near_duplicate"):
        groups[plant["group"], plant["detail"]["jaccard"]].append(inputs.text(plant))
    for (_, recorded), (a, b) in groups.items():
        assert jaccard(a, b) == pytest.approx(recorded, abs=0.02)
    assert len(groups) == 2 * len(EDIT_RATES) + 1


def test_jaccard() -> None:
    assert jaccard("a b c d e f", "A, b c d e f") == 1
    assert jaccard("a b c d e f", "a b c d e g") == pytest.approx(1 / 3)
    assert jaccard("a b c d e", "v w x y z") == 0


def test_edit_rate_is_the_share_of_words_replaced() -> None:
    text = " ".join(f"{a}{b}" for a in "abcdefghij" for b in "klmnopqrst")
    pages = near_duplicates(iter([Article("t", (text,))] * len(EDIT_RATES)), random.Random(0), 1)
    changed = []
    for first, second in zip(pages[::2], pages[1::2], strict=True):
        pairs = zip(
            words(first.article.paragraphs[0]), words(second.article.paragraphs[0]), strict=True
        )
        changed.append(sum(a != b for a, b in pairs))
    assert changed == [1, 2, 3, 5, 10, 20]


def test_strings_are_in_the_text_before_any_stage(inputs: Inputs) -> None:
    for plant in inputs.of("pii") + inputs.of("pii_lookalike"):
        assert plant["detail"]["string"] in inputs.text(plant), plant
    assert {p["detail"]["kind"] for p in inputs.of("pii")} == set(PII)
    assert {p["detail"]["kind"] for p in inputs.of("pii_lookalike")} == set(LOOKALIKES)


def test_passages_are_in_all_their_documents(inputs: Inputs) -> None:
    for plant in inputs.of("ngram_repeat"):
        passage = words(plant["detail"]["passage"])
        assert len(passage) >= 80
        assert f" {' '.join(passage)} " in f" {' '.join(words(inputs.text(plant)))} "


def test_checksums() -> None:
    assert luhn_digit("411111111111111") == "1"
    assert luhn_digit("7992739871") == "3"
    rng = random.Random(0)
    for _ in range(50):
        iban = personal_string("iban", rng).replace(" ", "")
        assert int("".join(str(int(c, 36)) for c in iban[4:] + iban[:4])) % 97 == 1, iban
        card = personal_string("card", rng).replace(" ", "")
        order = personal_string("order_number", rng).replace(" ", "")
        assert luhn_digit(card[:-1]) == card[-1]
        assert luhn_digit(order[:-1]) != order[-1]


def test_items_hold_13_grams_that_their_retelling_does_not() -> None:
    items = make_items(random.Random(3), "f.jsonl", 200)
    grams = {gram for item in items for gram in _grams(item.question) + _grams(item.answer)}
    assert all(len(words(item.question)) >= 40 for item in items)
    assert all(
        words(reworded(item.question, random.Random(1))) == words(item.question) for item in items
    )
    assert all(
        len(_grams(item.retold)) > 20 and grams.isdisjoint(_grams(item.retold)) for item in items
    )


def test_contaminated_documents_hold_their_item(inputs: Inputs) -> None:
    sets = {}
    for path in sorted((inputs.root / "testsets").glob("*.jsonl")):
        for i, line in enumerate(path.read_text().splitlines()):
            sets[f"{path.name}/{i}"] = json.loads(line)["question"]
    for plant in inputs.of("decontamination"):
        shared = set(_grams(inputs.text(plant))) & set(_grams(sets[plant["detail"]["item"]]))
        assert bool(shared) == (plant["expect"] == "removed"), plant


def _grams(text: str) -> list[tuple[str, ...]]:
    parts = words(text)
    return [tuple(parts[i : i + 13]) for i in range(len(parts) - 12)]


def test_articles_do_not_share_eight_words() -> None:
    found = articles(random.Random(0), 120)
    assert len(found) == 120
    seen: set[tuple[str, ...]] = set()
    for article in found:
        assert article.n_words >= 150
        for paragraph in article.paragraphs:
            parts = words(paragraph)
            runs = {tuple(parts[i : i + 8]) for i in range(len(parts) - 7)}
            assert seen.isdisjoint(runs)
            seen |= runs


def test_too_little_prose_is_an_error() -> None:
    with pytest.raises(ValueError, match="articles in the packages installed, 1000000 wanted"):
        articles(random.Random(0), 1_000_000)


def test_prose_paragraphs() -> None:
    good = "This is a paragraph of good prose that has the words of the language in it, and an end."
    assert list(
        prose_paragraphs(f"Title\n\n{good}\n\n    x = [1, 2, 3]\n\n* a list\n* of things")
    ) == [good]
    marked = (
        "This is a **paragraph** of :func:`~a.good` prose that has\nthe [words](http://x) of the "
        "language in it, and an end."
    )
    assert list(prose_paragraphs(marked)) == [good.replace("good", "a.good")]
    assert list(prose_paragraphs(good.replace("prose", "prose@example.com"))) == []
    assert list(prose_paragraphs("")) == []


def test_chain_makes_sentences_of_known_triples() -> None:
    text = "The cat sat on the mat in the sun. The dog sat on the mat in the rain."
    rng = random.Random(0)
    made = {Chain([text]).sentence(rng) for _ in range(50)}
    assert made == {
        f"The {a} sat on the mat in the {b}." for a in ("cat", "dog") for b in ("sun", "rain")
    }


@pytest.mark.parametrize("language", SENTENCES)
def test_sentences_can_be_written_in_their_encoding(language: str) -> None:
    charset, sentences = SENTENCES[language]
    assert len(set(sentences)) == 7
    for sentence in sentences:
        assert sentence.encode(charset).decode(charset) == sentence
