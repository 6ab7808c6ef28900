"""Short texts that the demo plants in documents: made-up personal data, strings that only look like
it, and test-set items."""

import random
import re
import string
from typing import NamedTuple

# In the first sentence of a kind a word tells what is coming, in the second none does.
PII = {
    "email": (
        "Questions about this page reach the author by e-mail at {} within a week or two.",
        "On the last page somebody had written {} in very small letters.",
    ),
    "ip": (
        "The machine that served these files had the address {} until last spring.",
        "Nobody remembers why {} was painted on the door of the cellar.",
    ),
    "phone": (
        "Call {} on weekdays if the form on this page does not work for you.",
        "The editor sits in the old mill, {}, and is there from nine to five.",
    ),
    "card": (
        "The receipt in the appendix shows the card number {} next to the total.",
        "In the wrong field of the form stood {} and nothing else at all.",
    ),
    "ssn": (
        "His social security number {} was printed on the form by mistake.",
        "Under the name somebody had pencilled {} and the day of the visit.",
    ),
    "iban": (
        "Donations can be sent to the account {} from any bank in the country.",
        "The letter ended with {} and a drawing of a small fish.",
    ),
}
LOOKALIKES = {
    "private_ip": ("Point the browser to {} once the small router has started again.",),
    "version": ("The fault was mended in version {} of the tool and in all later ones.",),
    "order_number": ("Keep the order number {} until the parcel has come to your door.",),
    "decorator": ("Write {} above the function and import it where the tests can see it.",),
    "date": ("The committee changed the schedule on {} for the second time that year.",),
    "isbn": ("The handbook has the ISBN {} and has been out of print for years.",),
    "range": ("The survey counted between {} visitors a year before the bridge was built.",),
}


def random_word(rng: random.Random, alphabet: str) -> str:
    return "".join(rng.choices(alphabet, k=rng.randint(3, 9)))


def personal_string(kind: str, rng: random.Random) -> str:
    """One made-up string of a kind of PII or LOOKALIKES, made up."""

    def digits(n: int) -> str:
        return "".join(rng.choices(string.digits, k=n))

    if kind == "email":
        name = f"{rng.choice(['ada', 'jo', 'max'])}.{random_word(rng, 'aeioulmnrst')}{digits(2)}"
        return f"{name}@{random_word(rng, 'bcdfaeiou')}.example.{rng.choice(['com', 'org'])}"
    if kind == "ip":
        return f"{rng.choice([8, 62, 81, 185, 203])}.{rng.randint(100, 105)}." + ".".join(
            str(rng.randint(16, 250)) for _ in range(2)
        )
    if kind == "phone":
        area = rng.choice(["212", "303", "415", "617"])
        line = f"555-{rng.randint(2, 9)}{digits(3)}"
        return rng.choice([f"({area}) {line}", f"+1 {area}-{line}", f"{area}-{line}"])
    if kind in ("card", "order_number"):
        number = "4" + digits(14)
        check = luhn_digit(number)
        number += check if kind == "card" else str((int(check) + rng.randint(1, 9)) % 10)
        return rng.choice([number, " ".join(re.findall("....", number))])
    if kind == "ssn":
        return f"{rng.randint(301, 599)}-{rng.randint(11, 98)}-{rng.randint(1200, 9800)}"
    if kind == "iban":
        account = f"{rng.choice(['3704', '1002', '5005'])}{digits(14)}"
        remainder = int(account + "131400") % 97  # D = 13, E = 14, then 00: ISO 13616
        number = f"DE{98 - remainder:02d}{account}"
        return rng.choice([number, " ".join(re.findall("..?.?.?", number))])
    if kind == "private_ip":
        return (
            f"{rng.choice(['192.168', '10.11', '172.16'])}.{rng.randint(0, 9)}.{rng.randint(1, 99)}"
        )
    if kind == "version":
        return f"{rng.randint(1, 9)}.{rng.randint(0, 40)}.{rng.randint(0, 40)}.{rng.randint(1, 40)}"
    if kind == "decorator":
        return rng.choice(["@functools.cache", "@pytest.fixture", "@app.route", "@njit.once"])
    if kind == "date":
        return f"{rng.randint(2001, 2024)}-0{rng.randint(1, 9)}-{rng.randint(10, 28)}"
    if kind == "range":
        return f"{rng.randint(100, 400)}000-{rng.randint(500, 900)}000"
    assert kind == "isbn", kind
    return f"978-0-306-{digits(5)}-{digits(1)}"


def luhn_digit(number: str) -> str:
    """The digit that makes a number valid (ISO/IEC 7812, annex B)."""
    doubled = [int(d) * (2 - i % 2) for i, d in enumerate(reversed(number))]
    return str(-sum(d - 9 if d > 9 else d for d in doubled) % 10)


# --- advertisements -----------------------------------------------------------------------------

_GOODS = (
    *("sneakers", "handbags", "diet pills", "watches", "sunglasses", "mattresses", "perfumes"),
    *("phone cases", "casino chips", "car loans", "essays", "followers", "wigs", "vitamins"),
)
_PRAISE = ("amazing", "cheapest", "hottest", "genuine", "exclusive", "best rated", "luxury")
_CUSTOMERS = ("Florida", "Texas", "London", "Sydney", "Toronto", "Dubai", "your town")
_SPAM = (
    "Buy {praise} {goods} online today and get free shipping to {place}!",
    "Our {praise} {goods} are on sale for only {n} dollars, so hurry before the offer ends.",
    "Click here to claim your {praise} coupon and save {n} percent on {goods}.",
    "Thousands of happy customers in {place} have already ordered the {praise} {goods} from us.",
    "Why pay more for {goods} when we have the {praise} deals of the whole season?",
    "Sign up now and win {goods} worth {n} dollars, no credit check and no fees.",
    "We ship {goods} to {place} within {n} hours, and that is our money back promise.",
    "Are you looking for {praise} {goods} in {place} that your friends will be jealous of?",
    "Limited stock of {goods}: order {n} pairs and receive a {praise} gift for free.",
    "Visit our shop in {place} to be the first to have the {praise} {goods} of the year.",
    "Lose {n} pounds with {goods} that doctors in {place} do not want you to know.",
    "Nobody in {place} beats our {goods}, and if they do we give you {n} percent back.",
    "This {praise} trick with {goods} has made a mother from {place} rich in {n} days.",
    "Add to cart now: {praise} {goods}, all sizes and colors, with a warranty of {n} months.",
    "Be smart and compare, because {goods} like these were never so {praise} in {place} before.",
    "Call us today for {praise} prices of {goods} and ask for discount code {n}.",
)


def spam_sentences(rng: random.Random) -> list[str]:
    """Each of different form: a page of them does not repeat itself."""
    out = []
    for form in rng.sample(_SPAM, rng.randint(9, len(_SPAM))):
        words = {"praise": rng.choice(_PRAISE), "goods": rng.choice(_GOODS)}
        words |= {"place": rng.choice(_CUSTOMERS), "n": str(rng.randint(3, 97))}
        out.append(form.format(**words))
    return out


# --- test sets ----------------------------------------------------------------------------------

_PEOPLE = ("Ottoline", "Bertrand", "Ximena", "Kazimir", "Philippa", "Odalys", "Thaddeus", "Imke")
_TRADES = ("beekeeper", "glazier", "ferryman", "bookbinder", "falconer", "cartographer", "potter")
_PLACES = ("Inverbervie", "Castelfranco", "Ullapool", "Zwiesel", "Ronneby", "Albarracin", "Cobh")
_THINGS = ("walnuts", "brass buttons", "quills", "marbles", "candles", "horseshoes", "postcards")
_BOXES = ("crates", "jars", "hampers", "drawers", "barrels", "satchels", "tins")
_EVENTS = ("a leaking roof", "a curious goat", "the spring flood", "a careless nephew", "mice")


class Item(NamedTuple):
    """A word problem of a test set, and the same told in other words, which is in no test set."""

    name: str  # as the decontamination stage calls it: <file>/<number>
    question: str
    answer: str
    retold: str


def make_items(rng: random.Random, file: str, n: int) -> list[Item]:
    """n items whose questions have about 60 words; no 13 words in a row are the retold one's."""
    items = []
    for number in range(n):
        who, trade, place = rng.choice(_PEOPLE), rng.choice(_TRADES), rng.choice(_PLACES)
        thing, box, event = rng.choice(_THINGS), rng.choice(_BOXES), rng.choice(_EVENTS)
        a, b, c, d = (rng.randint(12, 97) for _ in range(4))
        question = (
            f"{who} the {trade} of {place} fills {a + c} {box} with {b} {thing} each. On market "
            f"day {c} {box} go to a cousin in {rng.choice(_PLACES)}, and {event} spoils {d} "
            f"{thing} out of what remains. When {who} counts again by lamplight, how many sound "
            f"{thing} are there for the {rng.choice(_TRADES)} who ordered them?"
        )
        answer = f"{who} has {a * b - d} {thing} left, in {a} {box} that smell of {place}."
        retold = (
            f"There lives in {place} somebody called {who}. With {b} {thing} in every one of the "
            f"{box}, of which the {trade} owns {a + c}, it is easy to lose sight of things: {c} "
            f"were given away to family, then {event} came, and {d} pieces had to be thrown out."
        )
        items.append(Item(f"{file}/{number}", question, answer, retold))
    return items


def reworded(text: str, rng: random.Random) -> str:
    """The same words in lines of another width, with other case and punctuation."""
    parts = [w.upper() if rng.random() < 0.3 else w for w in text.replace(",", " --").split(" ")]
    width = rng.randint(4, 9)
    lines = [" ".join(parts[i : i + width]) for i in range(0, len(parts), width)]
    return "\n".join(lines).replace("?", " ...")
