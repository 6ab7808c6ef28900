"""pipeline/extract/encoding.py: labels right, wrong and missing."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.extract.encoding import charset_of_label, declared_charset, decode_html


@pytest.mark.parametrize(
    ("body", "http", "text", "charset"),
    [
        ("naïve".encode(), None, "naïve", "utf-8"),
        (b"\xef\xbb\xbfna\xc3\xafve", "iso-8859-1", "naïve", "utf-8"),  # a BOM wins
        ("naïve".encode("utf-16"), None, "naïve", "utf-16-le"),
        (b"\x93quoted\x94", "latin1", "“quoted”", "cp1252"),  # WHATWG: latin1 is windows-1252
        ("朱镕基".encode("gb18030"), "gb2312", "朱镕基", "gb18030"),
        ("日本語①".encode("cp932"), "Shift_JIS", "日本語①", "cp932"),
        ("Привет".encode("koi8-r"), "koi8-r", "Привет", "koi8-r"),
    ],
)
def test_charset_of_header(body, http, text, charset):
    assert decode_html(body, http) == (text, charset, None)


def test_meta_and_xml_declaration():
    page = '<html><meta http-equiv="Content-Type" content="text/html; charset=windows-1251">Мир'
    assert decode_html(page.encode("cp1251"), None) == (page, "cp1251", None)
    page = "<?xml version='1.0' encoding='iso-8859-2'?><html>łódź"
    assert decode_html(page.encode("iso-8859-2"), None) == (page, "iso8859-2", None)
    # the HTTP header goes before the page's own word
    page = '<meta charset="koi8-r">Мир'
    assert decode_html(page.encode("cp1251"), "windows-1251").text == page
    # a page that can be read as far as its <meta> is not UTF-16
    assert decode_html(b"<meta charset=utf-16>ok", None) == (
        "<meta charset=utf-16>ok",
        "utf-8",
        None,
    )


def test_lying_labels_are_put_right_and_noted():
    page = "<p>Ça va très bien, merci à tous</p>"
    decoded = decode_html(page.encode(), "iso-8859-1")
    assert decoded[:2] == (page, "utf-8")
    assert decoded.note == ("wrong_charset", "labelled cp1252, but it is valid utf-8")
    decoded = decode_html(page.encode("cp1252"), "utf-8")
    assert decoded.note is not None and decoded.note[0] == "wrong_charset"
    decoded = decode_html(page.encode(), "no-such-charset")
    assert decoded[:2] == (page, "utf-8")
    assert decoded.note is not None and decoded.note[0] == "unknown_charset"
    decoded = decode_html(b"\xff\xfe\xfd\x81 \xc3"[2:], "utf-8")
    assert "\x00" not in decoded.text and decoded.note is not None


@given(
    st.binary(max_size=300), st.sampled_from([None, "utf-8", "gbk", "latin1", "x", "iso-2022-jp"])
)
@settings(max_examples=200)
def test_any_bytes_decode(body, label):
    decode_html(body, label).text.encode()  # neither fails, nor holds a lone surrogate


# The standard's labels: https://encoding.spec.whatwg.org/#names-and-labels, and Python's codec.
LABELS = """
utf-8: unicode-1-1-utf-8 unicode11utf8 unicode20utf8 utf-8 utf8 x-unicode20utf8
cp866: 866 cp866 csibm866 ibm866
iso8859-2: csisolatin2 iso-8859-2 iso-ir-101 iso8859-2 iso88592 iso_8859-2 iso_8859-2:1987 l2 latin2
iso8859-3: csisolatin3 iso-8859-3 iso-ir-109 iso8859-3 iso88593 iso_8859-3 iso_8859-3:1988 l3 latin3
iso8859-4: csisolatin4 iso-8859-4 iso-ir-110 iso8859-4 iso88594 iso_8859-4 iso_8859-4:1988 l4 latin4
iso8859-5: csisolatincyrillic cyrillic iso-8859-5 iso-ir-144 iso8859-5 iso88595 iso_8859-5
 iso_8859-5:1988
iso8859-6: arabic asmo-708 csiso88596e csiso88596i csisolatinarabic ecma-114 iso-8859-6 iso-8859-6-e
 iso-8859-6-i iso-ir-127 iso8859-6 iso88596 iso_8859-6 iso_8859-6:1987
iso8859-7: csisolatingreek ecma-118 elot_928 greek greek8 iso-8859-7 iso-ir-126 iso8859-7 iso88597
 iso_8859-7 iso_8859-7:1987 sun_eu_greek
iso8859-8: csiso88598e csisolatinhebrew hebrew iso-8859-8 iso-8859-8-e iso-ir-138 iso8859-8 iso88598
 iso_8859-8 iso_8859-8:1988 visual csiso88598i iso-8859-8-i logical
iso8859-10: csisolatin6 iso-8859-10 iso-ir-157 iso8859-10 iso885910 l6 latin6
iso8859-13: iso-8859-13 iso8859-13 iso885913
iso8859-14: iso-8859-14 iso8859-14 iso885914
iso8859-15: csisolatin9 iso-8859-15 iso8859-15 iso885915 iso_8859-15 l9
iso8859-16: iso-8859-16
koi8-r: cskoi8r koi koi8 koi8-r koi8_r
koi8-u: koi8-ru koi8-u
mac-roman: csmacintosh mac macintosh x-mac-roman
cp874: dos-874 iso-8859-11 iso8859-11 iso885911 tis-620 windows-874
cp1250: cp1250 windows-1250 x-cp1250
cp1251: cp1251 windows-1251 x-cp1251
cp1252: ansi_x3.4-1968 ascii cp1252 cp819 csisolatin1 ibm819 iso-8859-1 iso-ir-100 iso8859-1
 iso88591 iso_8859-1 iso_8859-1:1987 l1 latin1 us-ascii windows-1252 x-cp1252 x-user-defined
cp1253: cp1253 windows-1253 x-cp1253
cp1254: cp1254 csisolatin5 iso-8859-9 iso-ir-148 iso8859-9 iso88599 iso_8859-9 iso_8859-9:1989 l5
 latin5 windows-1254 x-cp1254
cp1255: cp1255 windows-1255 x-cp1255
cp1256: cp1256 windows-1256 x-cp1256
cp1257: cp1257 windows-1257 x-cp1257
cp1258: cp1258 windows-1258 x-cp1258
mac-cyrillic: x-mac-cyrillic x-mac-ukrainian
gb18030: chinese csgb2312 csiso58gb231280 gb2312 gb_2312 gb_2312-80 gbk iso-ir-58 x-gbk gb18030
big5hkscs: big5 big5-hkscs cn-big5 csbig5 x-x-big5
euc_jp: cseucpkdfmtjapanese euc-jp x-euc-jp
iso2022_jp: csiso2022jp iso-2022-jp
cp932: csshiftjis ms932 ms_kanji shift-jis shift_jis sjis windows-31j x-sjis
cp949: cseuckr csksc56011987 euc-kr iso-ir-149 korean ks_c_5601-1987 ks_c_5601-1989 ksc5601 ksc_5601
 windows-949
iso2022_kr: csiso2022kr iso-2022-kr
hz: hz-gb-2312
utf-16-be: unicodefffe utf-16be
utf-16-le: csunicode iso-10646-ucs-2 ucs-2 unicode unicodefeff utf-16 utf-16le
"""


def test_every_label_of_the_standard():
    n = 0
    for line in LABELS.replace("\n ", " ").strip().split("\n"):
        codec, labels = line.split(": ", 1)
        for label in labels.split():
            assert charset_of_label(label) == charset_of_label(f" {label.upper()}\n") == codec, (
                label
            )
            n += 1
    assert n == 225  # all 228 but these three, which the standard does not decode at all
    assert [charset_of_label(x) for x in ("iso-2022-cn", "iso-2022-cn-ext", "replacement")] == [
        None
    ] * 3
    assert charset_of_label("") is charset_of_label("utf-9") is None


@pytest.mark.parametrize(
    ("head", "label"),
    [
        (b"<meta charset=koi8-r>", "koi8-r"),
        (b"<META CharSet = 'koi8-r' >", "koi8-r"),
        (b'<meta name=x content="a > b"><meta charset="koi8-r">', "koi8-r"),
        (b'<meta http-equiv=Content-Type content="text/html; charset=koi8-r">', "koi8-r"),
        (b'<meta content="text/html; charset=\'koi8-r\'" http-equiv="content-type"/>', "koi8-r"),
        (b'<meta name=description content="charset=gbk"><meta charset=koi8-r>', "koi8-r"),
        (b"<!-- <meta charset=gbk> --><meta charset=koi8-r>", "koi8-r"),
        (b"<!--><meta charset=koi8-r>", "koi8-r"),  # an empty comment
        (b"<!-- <meta charset=gbk>", None),
        (b"<metas charset=gbk>", None),
        (b"<meta charset>", None),
        (b"x" * 1024 + b"<meta charset=gbk>", None),
        (b"<?xml version='1.0' encoding='koi8-r'?><meta charset=gbk>", "koi8-r"),
    ],
)
def test_prescan(head, label):
    assert declared_charset(head + b"<title>x") == label


def test_decoders_of_the_standard():
    assert (
        decode_html(b"na\xefve " * 60 + b"\x81", "latin1").text == "naïve " * 60 + "\x81"
    )  # windows-1252 has all bytes
    assert decode_html(b"\xad\xa1\xa4\xa2", "euc-jp").text == "①あ"  # NEC's row 13
    assert decode_html(b"\x80 \xd6\xec\xe9F\xbb\xf9", "gbk").text == "€ 朱镕基"
    decoded = decode_html(
        "Grüße, ".encode() * 50 + b"\xff", "utf-8"
    )  # damaged, and UTF-8 all the same
    assert decoded.text == "Grüße, " * 50 + "\ufffd" and decoded.charset == "utf-8"
    assert decoded.note == ("bad_bytes", "1 characters do not decode as utf-8")


# A page of each encoding: the first article of the Universal Declaration of Human Rights, or of a
# text like it, about as long.
# ruff: noqa: E501
ARTICLES = {
    "fr": "Tous les êtres humains naissent libres et égaux en dignité et en droits. Ils sont doués de "
    "raison et de conscience et doivent agir les uns envers les autres dans un esprit de fraternité.",
    "de": "Alle Menschen sind frei und gleich an Würde und Rechten geboren. Sie sind mit Vernunft und "
    "Gewissen begabt und sollen einander im Geist der Brüderlichkeit begegnen. Über allem: Größe.",
    "pl": "Wszyscy ludzie rodzą się wolni i równi pod względem swej godności i swych praw. Są oni "
    "obdarzeni rozumem i sumieniem i powinni postępować wobec innych w duchu braterstwa.",
    "cs": "Všichni lidé rodí se svobodní a sobě rovní co do důstojnosti a práv. Jsou nadáni rozumem a "
    "svědomím a mají spolu jednat v duchu bratrství. Každý má právo na život.",
    "hu": "Minden emberi lény szabadon születik és egyenlő méltósága és joga van. Az emberek, ésszel "
    "és lelkiismerettel bírván, egymással szemben testvéri szellemben kell hogy viseltessenek.",
    "tr": "Bütün insanlar hür, haysiyet ve haklar bakımından eşit doğarlar. Akıl ve vicdana sahiptirler "
    "ve birbirlerine karşı kardeşlik zihniyeti ile hareket etmelidirler.",
    "lt": "Visi žmonės gimsta laisvi ir lygūs savo orumu ir teisėmis. Jiems suteiktas protas ir sąžinė "
    "ir jie turi elgtis vienas kito atžvilgiu kaip broliai. Kiekvienas turi teisę į gyvybę.",
    "ru": "Все люди рождаются свободными и равными в своем достоинстве и правах. Они наделены разумом "
    "и совестью и должны поступать в отношении друг друга в духе братства.",
    "uk": "Всі люди народжуються вільними і рівними у своїй гідності та правах. Вони наділені розумом "
    "і совістю і повинні діяти у відношенні один до одного в дусі братерства.",
    "el": "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα δικαιώματα. Είναι "
    "προικισμένοι με λογική και συνείδηση, και οφείλουν να συμπεριφέρονται με πνεύμα αδελφοσύνης.",
    "he": "כל בני האדם נולדו בני חורין ושווים בערכם ובזכויותיהם. כולם חוננו בתבונה ובמצפון, לפיכך חובה "
    "עליהם לנהוג איש ברעהו ברוח של אחוה.",
    "ar": "يولد جميع الناس أحرارا متساوين في الكرامة والحقوق. وقد وهبوا عقلا وضميرا وعليهم أن يعامل "
    "بعضهم بعضا بروح الإخاء.",
    "th": "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ ต่างมีเหตุผลและมโนธรรม "
    "และควรปฏิบัติต่อกันด้วยเจตนารมณ์แห่งภราดรภาพ",
    "zh": "人人生而自由,在尊严和权利上一律平等。他们赋有理性和良心,并应以兄弟关系的精神相对待。"
    "人人有资格享有本宣言所载的一切权利和自由,不分种族、肤色、性别、语言、宗教。",
    "tw": "人人生而自由,在尊嚴和權利上一律平等。他們賦有理性和良心,並應以兄弟關係的精神相對待。"
    "人人有資格享有本宣言所載的一切權利和自由,不分種族、膚色、性別、語言、宗教。",
    "ja": "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。"
    "人間は、理性と良心とを授けられており、互いに同胞の精神をもって行動しなければならない。",
    "ko": "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다. 인간은 천부적으로 이성과 "
    "양심을 부여받았으며 서로 형제애의 정신으로 행동하여야 한다.",
}
PAGES = [  # (language, Python's codec, the label)
    ("fr", "cp1252", "iso-8859-1"),
    ("de", "iso8859-15", "iso-8859-15"),
    ("pl", "iso8859-2", "iso-8859-2"),
    ("cs", "cp1250", "windows-1250"),
    ("tr", "iso8859-9", "iso-8859-9"),
    ("lt", "cp1257", "windows-1257"),
    ("ru", "cp1251", "windows-1251"),
    ("ru", "koi8-r", "koi8-r"),
    ("ru", "cp866", "ibm866"),
    ("uk", "koi8-u", "koi8-u"),
    ("el", "iso8859-7", "iso-8859-7"),
    ("he", "cp1255", "windows-1255"),
    ("ar", "cp1256", "windows-1256"),
    ("th", "cp874", "tis-620"),
    ("zh", "gb18030", "gb2312"),
    ("tw", "big5", "big5"),
    ("ja", "cp932", "shift_jis"),
    ("ja", "euc_jp", "euc-jp"),
    ("ja", "iso2022_jp", "iso-2022-jp"),
    ("ko", "cp949", "euc-kr"),
    ("hu", "utf-8", "utf-8"),
]
WRONG = ("iso-8859-1", "utf-8", "windows-1251", "gbk", "shift_jis", "iso-8859-2")


def test_pages_in_20_encodings_with_right_wrong_and_missing_labels():
    """The text comes out right, or its failure is on record. Where a label that is wrong makes
    sense of few characters, as ISO 8859-2 does of French, it is believed, with a note."""
    counts: Counter[tuple[str, str]] = Counter()
    silent = []
    for language, codec, right in PAGES:
        for paragraphs in (1, 12):
            page = "<title>x</title>" + f"<p>{ARTICLES[language]}</p>\n" * paragraphs
            body = page.encode(codec)
            wrong = [w for w in WRONG if charset_of_label(w) != charset_of_label(right)]
            cases = [("right", right), ("missing", None), *(("wrong", label) for label in wrong)]
            for case, label in cases:
                for place in ("header", "meta"):
                    meta = f"<meta charset={label}>".encode() if place == "meta" and label else b""
                    decoded = decode_html(meta + body, label if place == "header" else None)
                    is_right = decoded.text == meta.decode() + page
                    outcome = "right" if is_right else "noted" if decoded.note else "silent"
                    counts[case, outcome] += 1
                    if outcome == "silent":
                        silent.append((language, codec, label, paragraphs))
    print(counts, silent)
    assert counts == COUNTS, silent


COUNTS = {
    ("right", "right"): 84,
    ("missing", "right"): 84,
    ("wrong", "right"): 474,
    ("wrong", "noted"): 6,  # French as Latin 2, one sentence of Czech as Latin 1
}


@pytest.mark.parametrize(
    ("language", "codec"),
    [("fr", "cp437"), ("de", "cp850"), ("pl", "cp852"), ("cs", "cp852"), ("hu", "cp852"),
     ("ru", "cp866"), ("tr", "cp857"), ("fr", "cp1252"), ("pl", "cp1250"), ("ru", "koi8-r")],
)  # fmt: skip
@pytest.mark.parametrize("paragraphs", [1, 12])
def test_plain_texts_of_dos(language, codec, paragraphs):
    text = f"{ARTICLES[language]}\r\n" * paragraphs
    for label in (None, codec):
        assert decode_html(text.encode(codec), label, in_page=False)[0::2] == (text, None)


def test_english_of_dos_has_few_accents():
    text = "In the café a naïve girl met her fiancé. " + "Plain words follow it, and no more. " * 99
    assert decode_html(text.encode("cp437"), None, in_page=False)[:2] == (text, "cp437")
    for codec in ("cp1252", "utf-8"):
        assert decode_html(text.encode(codec), None, in_page=False)[:2] == (text, codec)
    text = "“It’s – well – a café…”, she said. " + "Plain words follow it, and no more. " * 99
    assert decode_html(text.encode("cp1252"), None, in_page=False)[:2] == (text, "cp1252")


def test_decoding_is_bounded():
    for evil in (
        b"<meta " * 200_000,
        b"<!--" * 300_000,
        b"\xff<" * 500_000,
        b"<meta charset='" * 99_999,
    ):
        assert decode_html(evil, None).text
