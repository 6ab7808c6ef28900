"""Finding personal data: speed on real pages, recall and precision on two labelled sets, against
presidio 2.2 on a blank pipeline.

    python -m benchmarks.pii [--data DIR] [--peers PYTHON] [--repeats 5]

presidio's recognizers for the same entities run over whole texts, its e-mail recognizer with the
public suffixes of its package (it would fetch them). A span counts as found, or as right, if it
overlaps one of its kind. The first set is presidio-research's. The second is made here with a
fixed seed, after the rules: sentences with data by Faker in thirteen locales (needs --peers, a
python with it), keys in their issuers' formats, wallets with right checksums (presidio knows no
Ethereum), and 500 look-alikes. Its first run changed two rules (numbers after a plus, numbers
inside a DOI); on phones it had .850 and .991 then. Speed is CPU time on one core.
"""

import argparse
import gzip
import hashlib
import json
import os
import platform
import random
import statistics
import string
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parent.parent
PRESIDIO = {
    "EMAIL_ADDRESS": "email",
    "PHONE_NUMBER": "phone",
    "IP_ADDRESS": "ip",
    "CREDIT_CARD": "card",
    "US_SSN": "ssn",
    "IBAN_CODE": "iban",
    "CRYPTO": "crypto",
}
LOCALES = (
    "en_US", "en_GB", "en_IN", "en_AU", "de_DE", "fr_FR", "es_ES", "it_IT", "nl_NL", "pl_PL",
    "sv_SE", "pt_BR", "ja_JP",
)  # fmt: skip
Row = tuple[str, list[tuple[str, int, int]]]  # a text; entity, start and end in characters
Find = Callable[[list[str]], list[list[tuple[str, int, int]]]]


# --- labelled sets -----------------------------------------------------------------------------


def research_set(data: Path) -> list[Row]:
    with gzip.open(data / "pii/synth_dataset_v2.json.gz", "rt", encoding="utf-8") as file:
        rows = json.load(file)
    return [
        (
            row["full_text"],
            [
                (PRESIDIO[s["entity_type"]], s["start_position"], s["end_position"])
                for s in row["spans"]
                if s["entity_type"] in PRESIDIO
            ],
        )
        for row in rows
    ]


def faker_set() -> list[Row]:
    """In the peers' environment: 40 of each kind and locale."""
    from faker import Faker

    sentences = {
        "email": ["Write to {} before Friday.", "{}", "The list is kept by <{}>, he said."],
        "phone": ["Phone: {}", "Call me at {} after six.", "Tel. {}", "{}", "Contact: {} (Mo-Fr)"],
        "ip": ["The request came from {} again.", "ping {}", "host={} port=80"],
        "iban": ["Pay to {} by Monday.", "IBAN: {}", "{}"],
        "card": ["My card is {}, exp. 11/27.", "Visa {}", "{}"],
        "ssn": ["SSN {}", "Her social security number is {}.", "{}"],
    }
    rows = []
    for locale in LOCALES:
        fake = Faker(locale)
        fake.seed_instance(locale)
        makers = {
            "email": fake.email,
            "phone": fake.phone_number,
            "ip": fake.ipv4_public,
            "iban": fake.iban,
            "card": fake.credit_card_number,
        }
        if locale == "en_US":
            makers["ssn"] = fake.ssn
        for kind, make in makers.items():
            for i in range(40):
                value = make()
                if kind == "ip" and i % 2:
                    value = "2" + fake.ipv6()[1:]
                rows.append(placed(sentences[kind][i % len(sentences[kind])], kind, value))
    return rows


def placed(sentence: str, kind: str, value: str) -> Row:
    before, after = sentence.split("{}")
    return before + value + after, [(kind, len(before), len(before) + len(value))]


def keys_and_wallets() -> list[Row]:
    rng = random.Random(1)
    alnum = string.ascii_letters + string.digits

    def some(n: int, of: str = alnum) -> str:
        return "".join(rng.choices(of, k=n))

    def jwt() -> str:
        import base64

        parts = [b'{"alg":"HS256","typ":"JWT"}', b'{"sub":"%d"}' % rng.getrandbits(32)]
        encoded = [base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts]
        return ".".join([*encoded, some(43)])

    def private_key() -> str:
        lines = "\n".join(some(64, alnum + "+/") for _ in range(12))
        return f"-----BEGIN RSA PRIVATE KEY-----\n{lines}\n-----END RSA PRIVATE KEY-----"

    makers: dict[str, list[Callable[[], str]]] = {
        "secret": [
            lambda: "AKIA" + some(16, string.ascii_uppercase + "234567"),
            lambda: "ghp_" + some(36),
            lambda: "github_pat_" + some(22) + "_" + some(59),
            lambda: "glpat-" + some(20),
            lambda: f"xoxb-{some(12, string.digits)}-{some(12, string.digits)}-{some(24)}",
            lambda: "AIza" + some(35, alnum + "_-"),
            lambda: "sk_live_" + some(24),
            lambda: "sk-proj-" + some(74, alnum + "_-"),
            lambda: "npm_" + some(36),
            lambda: "pypi-AgEIcHlwaS5vcmc" + some(150, alnum + "_-"),
            jwt,
            private_key,
        ],
        "crypto": [
            lambda: bitcoin(rng),
            lambda: bech32(rng),
            lambda: "0x" + some(40, "0123456789abcdef"),
        ],
    }
    sentences = ["export TOKEN={}", 'key: "{}"', "Use {} for it.", "{}"]
    return [
        placed(sentences[i % 4], kind, make())
        for kind, group in makers.items()
        for make in group
        for i in range(40)
    ]


def bitcoin(rng: random.Random) -> str:
    """base58check of a made-up key's hash."""
    payload = b"\0" + rng.randbytes(20)
    payload += hashlib.sha256(hashlib.sha256(payload).digest()).digest()[:4]
    digits = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
    number, out = int.from_bytes(payload, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        out = digits[digit] + out
    return "1" * (len(payload) - len(payload.lstrip(b"\0"))) + out


def bech32(rng: random.Random) -> str:
    from presidio_analyzer.predefined_recognizers.generic import crypto_recognizer as reference

    recognizer = reference.CryptoRecognizer
    data = [0] + [rng.randrange(32) for _ in range(32)]
    values = recognizer.bech32_hrp_expand("bc") + data + [0] * 6
    checksum = recognizer.bech32_polymod(values) ^ 1
    data += [(checksum >> 5 * (5 - i)) & 31 for i in range(6)]
    return "bc1" + "".join(reference.CHARSET[d] for d in data)


def look_alikes() -> list[Row]:
    rng = random.Random(2)

    def digits(n: int) -> str:
        return "".join(rng.choices(string.digits, k=n))

    n = rng.randrange
    makers: list[Callable[[], str]] = [
        lambda: f"On {n(1990, 2030)}-{n(10, 13)}-{n(10, 29)} at 12:30:45.",
        lambda: f"version {n(0, 9)}.{n(0, 20)}.{n(0, 99)}.{n(0, 999)}",
        lambda: f"commit {hashlib.sha1(digits(9).encode()).hexdigest()}",
        lambda: str(uuid.UUID(int=rng.getrandbits(128))),
        lambda: f"ISBN 978-{digits(1)}-{digits(3)}-{digits(5)}-{digits(1)}",
        lambda: f"The total is {n(10**6, 10**9):,} in {n(1900, 2030)}.",
        lambda: f"at {rng.uniform(-90, 90):.6f}, {rng.uniform(-180, 180):.6f}",
        lambda: f"from 10.{n(0, 256)}.{n(0, 256)}.7 and fe80::{digits(3)}",
        lambda: f"arXiv:{digits(4)}.{digits(5)}, doi 10.{digits(4)}/{digits(7)}",
        lambda: f"std::vector<int> a::b; x = {digits(3)} - {digits(4)} + {digits(2)};",
    ]
    return [(make(), []) for make in makers for _ in range(50)]


# --- the sides ---------------------------------------------------------------------------------


def corpusmill() -> Find:
    import pyarrow as pa

    from filters.pii import ScrubPii, find_pii

    def find(texts: list[str]) -> list[list[tuple[str, int, int]]]:
        found: list[list[tuple[str, int, int]]] = [[] for _ in texts]
        for row, text, _, spans in find_pii(pa.array(texts, pa.string()), ScrubPii()):
            found[row] = [
                (s.entity, len(text[: s.start].decode()), len(text[: s.end].decode()))
                for s in spans
            ]
        return found

    return find


def presidio() -> Find:
    import spacy
    import tldextract
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
    from presidio_analyzer import predefined_recognizers as known
    from presidio_analyzer.nlp_engine import SpacyNlpEngine
    from presidio_analyzer.predefined_recognizers.generic import email_recognizer

    offline: Any = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)
    email_recognizer.tldextract.extract = offline
    nlp = SpacyNlpEngine(models=[{"lang_code": "en", "model_name": "blank"}])
    nlp.nlp = {"en": spacy.blank("en")}
    nlp.nlp["en"].max_length = 10**8
    recognizers = [
        known.EmailRecognizer(),
        known.PhoneRecognizer(),
        known.IpRecognizer(),
        known.CreditCardRecognizer(),
        known.UsSsnRecognizer(),
        known.IbanRecognizer(),
        known.CryptoRecognizer(),
    ]
    registry = RecognizerRegistry(recognizers=recognizers, supported_languages=["en"])
    engine = AnalyzerEngine(registry=registry, nlp_engine=nlp, supported_languages=["en"])
    return lambda texts: [
        [(PRESIDIO[r.entity_type], r.start, r.end) for r in engine.analyze(text, "en")]
        for text in texts
    ]


def scores(rows: list[Row], found: list[list[tuple[str, int, int]]]) -> dict[str, dict[str, int]]:
    """By entity: how many are marked, how many of them are found; how many are found, how many of
    those are right."""
    out: dict[str, dict[str, int]] = {}

    def hits(span: tuple[str, int, int], others: list[tuple[str, int, int]]) -> bool:
        return any(span[0] == e and span[1] < b and a < span[2] for e, a, b in others)

    for (_, gold), ours in zip(rows, found, strict=True):
        for left, right, total, good in (
            (gold, ours, "marked", "recalled"),
            (ours, gold, "found", "right"),
        ):
            for span in left:
                counts = out.setdefault(
                    span[0], {"marked": 0, "recalled": 0, "found": 0, "right": 0}
                )
                counts[total] += 1
                counts[good] += hits(span, right)
    return dict(sorted(out.items()))


def show(name: str, rows: list[Row], sides: dict[str, Find]) -> dict[str, Any]:
    texts = [text for text, _ in rows]
    results = {side: scores(rows, find(texts)) for side, find in sides.items()}
    print(f"\n{name}: {len(rows)} texts\n{'':<10}" + "".join(f"{side:>34}" for side in sides))
    print(f"{'':<10}" + f"{'recall':>20}{'precision':>14}" * len(sides))
    for entity in sorted({e for result in results.values() for e in result}):
        line = f"{entity:<10}"
        for result in results.values():
            c = result.get(entity, {"marked": 0, "recalled": 0, "found": 0, "right": 0})
            recall = f"{c['recalled'] / c['marked']:.3f}" if c["marked"] else "-"
            right = f"{c['right'] / c['found']:.3f}" if c["found"] else "-"
            line += f"{recall:>20}{right:>14}"
        print(line)
    return results


def speed(texts: list[str], sides: dict[str, Find], repeats: int) -> dict[str, list[float]]:
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    rates: dict[str, list[float]] = {}
    for name, find in sides.items():
        find(texts[:5])
        rates[name] = []
        for _ in range(repeats if name == "corpusmill" else max(1, repeats // 2)):
            started = time.process_time()
            find(texts)
            rates[name].append(megabytes / (time.process_time() - started))
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    default = os.environ.get("CORPUSMILL_DATA", str(REPO.parent / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=Path(default))
    parser.add_argument("--peers", default=".venv-peers/bin/python", help="a python with Faker")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--side", choices=["faker"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:  # in the peers' environment
        print(json.dumps(faker_set()))
        return
    if not (args.data / "pii").is_dir():
        sys.exit(f"{args.data}/pii: not there; give --data")
    from benchmarks.decontaminate import page_texts

    sides = {"corpusmill": corpusmill(), "presidio": presidio()}
    made = keys_and_wallets() + look_alikes()
    if Path(args.peers).exists():
        command = [args.peers, "-m", "benchmarks.pii", "--side", "faker"]
        env = {**os.environ, "PYTHONPATH": str(REPO)}
        done = subprocess.run(command, capture_output=True, text=True, cwd=REPO, env=env)
        if done.returncode:
            sys.exit(f"Faker failed:\n{done.stderr[-2000:]}")
        made += [(text, [tuple(s) for s in spans]) for text, spans in json.loads(done.stdout)]
    else:
        print(f"Faker: skipped, no {args.peers}; give --peers")
    figures: dict[str, Any] = {
        "presidio-research": show("presidio-research", research_set(args.data), sides),
        "made here": show("made here", made, sides),
    }
    pages = list(page_texts(args.data))
    print(f"\n{len(pages)} real pages, {sum(len(t.encode()) for t in pages) / 1e6:.2f} MB of text")
    medians = {}
    for side, values in speed(pages, sides, args.repeats).items():
        medians[side] = round(statistics.median(values), 3)
        print(f"  {side:<14}{medians[side]:9.2f} MB/s ({min(values):.2f} .. {max(values):.2f})")
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=REPO
    ).stdout.strip()
    print(
        json.dumps(
            {
                "name": "pii",
                "figures": figures,
                "mb_per_s": medians,
                "ratio": round(medians["corpusmill"] / medians["presidio"], 1),
                "machine": f"{os.cpu_count()} cores, {platform.machine()}",
                "versions": {"presidio-analyzer": version("presidio-analyzer")},
                "commit": commit,
            }
        )
    )


if __name__ == "__main__":
    main()
