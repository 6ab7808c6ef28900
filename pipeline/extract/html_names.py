"""The names of HTML as a kernel can look them up: tags, attributes, character references, and the
words of class, id, role and itemprop that tell what an element is for.

The words are the usual ones of readability-like extractors (Kohlschütter et al. 2010, Mozilla's
Readability, trafilatura), in English and a few of its neighbours; a bit says "has such a word",
what that is worth is fitted (benchmarks/fit_extract.py).
"""

from html.entities import html5

import numpy as np

SPREAD = 0x9E3779B97F4A7C15  # 2**64 / golden ratio: multiplicative hashing
FNV_OFFSET, FNV_PRIME = 0xCBF29CE484222325, 0x100000001B3  # FNV-1a


def code(name: str) -> int:
    """A name as an integer, one byte a place; the first eight letters tell all tags apart."""
    return int.from_bytes(name.encode()[:8], "big")


def fnv(name: str) -> int:
    h = FNV_OFFSET
    for byte in name.encode():
        h = (h ^ byte) * FNV_PRIME % 2**64
    return h


def _table(keys: list[int], bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Open addressing: (keys by slot, 0 where free; the slot of each key)."""
    slots = np.zeros(2**bits, np.uint64)
    where = np.zeros(len(keys), np.int64)
    for i, key in enumerate(keys):
        at = (key * SPREAD % 2**64) >> (64 - bits)
        while slots[at]:
            at = (at + 1) % 2**bits
        slots[at], where[i] = key, at
    return slots, where


# --- tags ---------------------------------------------------------------------------------------

BLOCK, VOID, RAW, DROPPED, IGNORED, SCOPE, LIST, CLOSES_P, BOLD, CELL, PRE, HEADING, TABLE_PART = (
    1 << i for i in range(13)
)
_GROUPS = {
    BLOCK: "address article aside blockquote button caption center dd details dialog dir div dl dt "
    "fieldset figcaption figure footer form h1 h2 h3 h4 h5 h6 header hgroup hr legend li listing "
    "main menu nav noscript ol p pre search section summary table tbody td tfoot th thead tr ul",
    CLOSES_P: "address article aside blockquote center dd details dialog dir div dl dt fieldset "
    "figcaption figure footer form h1 h2 h3 h4 h5 h6 header hgroup hr li listing main menu nav "
    "ol p pre search section summary table ul",
    VOID: "area base basefont bgsound br col embed frame hr img input keygen link meta param "
    "source track wbr",
    RAW: "iframe noembed noframes plaintext script style textarea title xmp",
    DROPPED: "annotation applet audio canvas datalist map object rp rt select svg template video",
    IGNORED: "body colgroup head html",
    SCOPE: "button caption object table td template th",
    LIST: "dl menu ol ul",
    BOLD: "b em i strong",
    CELL: "td th",
    PRE: "listing pre",
    HEADING: "h1 h2 h3 h4 h5 h6",
    TABLE_PART: "caption table tbody td tfoot th thead tr",
    0: "a abbr bdi bdo big cite code data del dfn font ins kbd label mark math nobr output q rb "
    "ruby s samp small span strike sub sup time tt u var",
}
TAGS = ("", *sorted({name for names in _GROUPS.values() for name in names.split()}))
TAG = {name: i for i, name in enumerate(TAGS)}
UNKNOWN = 256  # from here on: names that are not HTML's, by a hash
N_TAGS = 2 * UNKNOWN
assert len(TAGS) <= UNKNOWN
TAG_KIND = np.zeros(N_TAGS, np.int64)
for _kind, _names in _GROUPS.items():
    for _name in _names.split():
        TAG_KIND[TAG[_name]] |= _kind
TAG_CODE, _where = _table([code(name) for name in TAGS[1:]], 10)
TAG_ID = np.zeros(len(TAG_CODE), np.uint8)
TAG_ID[_where] = np.arange(1, len(TAGS))

# --- character references -----------------------------------------------------------------------

ENTITY_KEY, _where = _table([fnv(name) for name in html5], 13)
ENTITY = np.zeros((len(ENTITY_KEY), 2), np.int32)
for _at, _text in zip(_where, html5.values(), strict=True):
    ENTITY[_at, : len(_text)] = [ord(c) for c in _text]
WINDOWS_1252 = np.array(
    [ord(bytes([b]).decode("cp1252", "replace")) for b in range(0x80, 0xA0)], np.int32
)
"""What references to C1 controls mean."""

# --- what an element is for ---------------------------------------------------------------------

# Bit: tags; words. "=" after a word: the whole word, not the beginning of one.
_PURPOSES = {
    "article_tag": ("article", ""),
    "main": ("main", "main="),
    "nav": ("nav", "nav menu breadcrumb crumb pagination pager toc= skip= skiplink tabs="),
    "aside": ("aside", "complementary"),
    "footer": ("footer", "footer copyright legal disclaimer contentinfo colophon foot="),
    "header": ("header", "header masthead topbar toolbar logo"),
    "form": ("form fieldset legend label", "form search login field"),
    "figure": ("figure figcaption caption", "caption credit figure legend leyenda"),
    "image": ("", "image img photo gallery slideshow slide carousel thumb picture foto"),
    "media": ("", "video player audio media podcast"),
    "table": ("table", "table infobox"),
    "list": ("ul ol dl menu dir", "list items"),
    "button": ("button summary", "button btn cta="),
    "quote": ("blockquote q", "quote pullquote blockquote"),
    "code": ("pre code", "code highlight"),
    "article": ("", "article story artic artik noticia nota news"),
    "body": (
        "",
        "body content text prose copy markdown rich inhalt conteudo contenido contenu texto "
        "texte paragraph",
    ),
    "article_body": (
        "",
        "articlebody articlecontent articletext storybody storycontent storytext entrycontent "
        "postcontent postbody posttext newsbody newstext newscontent contentbody bodytext "
        "bodycopy maincontent",
    ),
    "post": ("", "post entry hentry blog single"),
    "comment": ("", "comment disqus respond livefyre discus comentario kommentar commentaire"),
    "share": (
        "",
        "share sharing social follow facebook twitter whatsapp pinterest addthis sharedaddy "
        "addtoany print= email=",
    ),
    "related": (
        "",
        "related recommend recirc readmore alsolike seealso readnext upnext more= trend popular "
        "most latest recent suggest outbrain taboola zergnet relacionad next= prev",
    ),
    "promo": (
        "",
        "promo ad= ads= adv= adsby adslot adunit advert sponsor dfp affiliate commercial "
        "partner marketing outbrain taboola",
    ),
    "side": ("", "sidebar side= rail widget aside secondary right= column"),
    "byline": ("address", "byline author bio= contributor writer autor auteur avatar"),
    "date": ("time", "date time= timestamp publish updated posted"),
    "meta": (
        "",
        "meta info detail tag= tags taglist category categories label kicker topic keyword eyebrow",
    ),
    "signup": (
        "",
        "newsletter subscri signup register registration paywall premium donat account abonn join=",
    ),
    "consent": (
        "dialog",
        "cookie consent gdpr modal popup overlay lightbox dialog notice alert toast banner",
    ),
    "title": ("h1", "title headline heading hed= titulo titre"),
    "summary": (
        "",
        "summary description dek= deck subtitle subhead excerpt lead= lede standfirst intro "
        "abstract chapo",
    ),
    "hidden": ("", ""),
    "concealed": ("", "hide hidden screenreader sronly visuallyhidden invisible noprint"),
    "card": ("", "card grid feed listing archive item tile teaser stream"),
    "embed": ("", "embed instagram tweet oembed iframe"),
    "forum": ("", "message msg thread forum question answer reply replies"),
    "noscript": ("noscript", ""),
    "section": ("section", ""),
    "document": ("", "doc document wiki reference manual"),
    "module": ("", "module component block section container wrapper"),
}
PURPOSES = tuple(_PURPOSES)
BIT = {name: 1 << i for i, name in enumerate(PURPOSES)}
TAG_MASK = np.zeros(N_TAGS, np.uint64)
_words: dict[str, list[int]] = {}  # bits of a beginning, of a whole word
for _name, (_tags, _list) in _PURPOSES.items():
    for _tag in _tags.split():
        TAG_MASK[TAG[_tag]] |= np.uint64(BIT[_name])
    for _word in _list.split():
        _words.setdefault(_word.rstrip("="), [0, 0])[_word.endswith("=")] |= BIT[_name]
LONGEST_WORD = max(map(len, _words))
WORD_KEY, _where = _table([fnv(word) for word in _words], 10)
WORD_MASK = np.zeros((len(WORD_KEY), 2), np.uint64)
WORD_MASK[_where] = list(_words.values())
