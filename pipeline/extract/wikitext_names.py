"""What the wikis of each language call things: templates that are text, sections that are not,
namespaces and templates with a meaning. Taken from the template and style documentation of each
wiki; more can be given in the configuration.

A pattern of a template is one or more alternatives between bars; the first whose arguments are all
there is its text. $1, $2: by place or by number; $-1: the last; $*: all by place, joined; $text: by
name. `convert` is read by code.
"""

TEMPLATES = {
    # text in a language, or in a face
    "lang": "$2", "langx": "$2", "langue": "$2", "language": "$2", "transl": "$-1",
    "transliteration": "$-1", "translit": "$-1", "nihongo": "$1 ($2, $3)|$1 ($2)|$1",
    "zh": "$c|$t|$s",
    "nowrap": "$1", "nobr": "$1", "nobreak": "$1", "j": "$1", "small": "$1", "smaller": "$1",
    "big": "$1", "larger": "$1", "em": "$1", "strong": "$1", "sub": "$1", "sup": "$1",
    "smallcaps": "$1",
    "sc": "$1", "sc2": "$1", "abbr": "$1", "abbreviation": "$1", "abréviation": "$1", "abrd": "$1",
    "tooltip": "$1", "hover title": "$2", "color": "$2", "font color": "$2", "colored text": "$2",
    "vanchor": "$1", "visible anchor": "$1", "term": "$2|$1", "uline": "$1", "code": "$1",
    "mono": "$1",
    "kbd": "$1", "var": "$1", "ill": "$lt|$1", "interlanguage link": "$lt|$1",
    "lien": "$texte|$fr|$1",
    "link-interwiki": "$3|$1", "wikt-lang": "$-1", "linktext": "$-1", "wikt": "$-1", "lw": "$1",
    "flag": "$1", "flagcountry": "$1", "flagu": "$1", "pays": "$1", "not a typo": "$*", "sic": "$1",
    # quotations
    "quote": "$text|$1", "blockquote": "$text|$1", "cquote": "$text|$1", "quotation": "$text|$1",
    "bquote": "$text|$1", "rquote": "$2", "citation bloc": "$1", "cita": "$1", "zitat": "$text|$1",
    "\"": "$1", "'\"": "$1", "qq": "“$1”", "«": "« $1 »",
    # signs
    "ndash": "–", "mdash": "—", "spaced ndash": " – ", "spaced en dash": " – ", "snd": " – ",
    "spnd": " – ", "spaced mdash": " — ", "nbsp": " ", "spaces": " ", "thinsp": " ", "space": " ",
    "'": "'", "'s": "'s", "'-": "'", "=": "=", "(": "(", ")": ")", "bull": "•", "·": "·", "•": "•",
    "dot": "·", "times": "×", "minus": "−", "ell": "…", "hr": "\n", "br": "\n", "-": "\n",
    "clear": "\n", "pb": "\n\n",
    # numbers, units, dates
    "convert": "convert", "cvt": "convert", "conv": "convert", "unité": "$1 $2|$1",
    "unidad": "$1 $2|$1",
    "nombre": "$1 $2|$1", "formatnum": "$1", "num": "$1", "gaps": "$*", "val": "$1 $u|$1",
    "e": "×10^$1",
    "esp": "×10^$1", "frac": "$1 $2/$3|$1/$2|1/$1", "fraction": "$1 $2/$3|$1/$2|1/$1",
    "sfrac": "$1/$2",
    "circa": "c. $1–$2|c. $1|c.", "c.": "c. $1–$2|c. $1|c.", "ca.": "c. $1",
    "floruit": "fl. $1–$2|fl. $1",
    "fl.": "fl. $1–$2|fl. $1", "reign": "r. $1–$2", "r.": "r. $1–$2", "as of": "As of $1",
    "us$": "US$ $1", "usd": "US$ $1", "gbp": "£$1", "£": "£$1", "euro": "€$1", "€": "€$1",
    "inr": "₹$1", "start date": "$1-$2-$3|$1-$2|$1", "end date": "$1-$2-$3|$1-$2|$1",
    "date": "$1 $2 $3|$1", "1er": "1er", "1re": "1re", "2e": "2e", "s": "$1e siècle",
    "s-": "$1e siècle",
    "siècle": "$1e siècle", "av jc": "av. J.-C.", "ad": "AD $1", "bc": "$1 BC", "bce": "$1 BCE",
    # formulas
    "math": "$1", "mvar": "$1", "var serif": "$1", "chem": "$*", "chem2": "$1", "fchim": "$*",
    "simple chemical formula": "$*", "abs": "|$1|", "sqrt": "√$1", "pi": "π", "overline": "$1",
    "su": "^$p", "dna sequence": "$1", "music": "$1", "angbr": "⟨$1⟩", "angle bracket": "⟨$1⟩",
    # German and Italian
    "ens": "$1", "frs": "$1", "las": "$1", "its": "$1", "ess": "$1", "rus": "$1", "nls": "$1",
    "pls": "$1",
    "jas": "$1", "grcs": "$1", "elis": "$1", "seite": "S. $1", "naleicht": "$1", "unicode": "$1",
    "ft": "$1", "formatnumber": "$1",
}  # fmt: skip
TEMPLATES["abs"] = "∣$1∣"  # a bar would part two alternatives
_CODES = (
    "ar cs da de el en es fa fi fr ga grc he hi hu it ja ko la nl no pl pt ro ru sa sv tr uk zh"
)
TEMPLATES |= {f"lang-{code}": "$1" for code in _CODES.split()}

SECTIONS: dict[str, tuple[str, ...]] = {
    "en": ("References", "Notes", "Notes and references", "References and notes", "Footnotes",
           "Citations", "Sources", "Bibliography", "Further reading", "External links", "See also",
           "Works cited", "Notelist", "Explanatory notes", "General references", "Gallery"),
    "simple": ("References", "Notes", "Further reading", "Other websites", "Related pages",
    "Gallery"),
    "de": ("Einzelnachweise", "Weblinks", "Literatur", "Siehe auch", "Quellen", "Anmerkungen",
           "Fußnoten", "Belege", "Nachweise", "Galerie"),
    "fr": ("Références", "Notes et références", "Notes", "Voir aussi", "Liens externes",
    "Lien externe",
           "Bibliographie", "Articles connexes", "Annexes", "Sources", "Galerie"),
    "es": ("Referencias", "Notas", "Véase también", "Enlaces externos", "Bibliografía",
           "Notas y referencias", "Fuentes", "Galería"),
    "it": ("Note", "Bibliografia", "Voci correlate", "Altri progetti", "Collegamenti esterni"),
    "pt": ("Referências", "Notas", "Ver também", "Ligações externas", "Bibliografia",
           "Notas e referências", "Leitura adicional"),
    "nl": ("Referenties", "Bronnen", "Voetnoten", "Zie ook", "Externe links", "Externe link",
           "Literatuur", "Bronnen, noten en/of referenties"),
    "sv": ("Referenser", "Källor", "Noter", "Se även", "Externa länkar", "Litteratur", "Fotnoter"),
    "pl": ("Przypisy", "Bibliografia", "Linki zewnętrzne", "Zobacz też", "Uwagi"),
    "ru": ("Примечания", "Литература", "Ссылки", "См. также", "Источники", "Галерея"),
    "uk": ("Примітки", "Джерела", "Література", "Посилання", "Див. також", "Галерея"),
    "bg": ("Източници", "Бележки", "Външни препратки", "Вижте също", "Литература"),
    "cs": ("Reference", "Poznámky", "Literatura", "Související články", "Externí odkazy"),
    "ja": ("脚注", "出典", "注釈", "参考文献", "関連項目", "外部リンク", "参考資料"),
    "zh": ("参考文献", "參考文獻", "参考资料", "參考資料", "外部链接", "外部連結", "参见", "參見",
           "注释",
           "註釋", "脚注", "相关条目", "相關條目", "延伸阅读", "延伸閱讀"),
    "ko": ("각주", "같이 보기", "외부 링크", "참고 문헌", "출처", "참고 자료"),
    "ar": ("مراجع", "المراجع", "وصلات خارجية", "انظر أيضًا", "انظر أيضا", "هوامش", "مصادر"),
    "fa": ("منابع", "پانویس", "جستارهای وابسته", "پیوند به بیرون", "یادداشت‌ها"),
    "he": ("הערות שוליים", "קישורים חיצוניים", "ראו גם", "לקריאה נוספת"),
    "hi": ("सन्दर्भ", "संदर्भ", "बाहरी कड़ियाँ", "इन्हें भी देखें"),
    "tr": ("Kaynakça", "Dış bağlantılar", "Ayrıca bakınız", "Notlar"),
    "vi": ("Tham khảo", "Chú thích", "Liên kết ngoài", "Xem thêm"),
    "id": ("Referensi", "Pranala luar", "Lihat pula", "Catatan", "Daftar pustaka"),
    "fi": ("Lähteet", "Viitteet", "Aiheesta muualla", "Katso myös", "Kirjallisuutta"),
}  # fmt: skip

# Names that a dump's <siteinfo> does not list: it has the local names only.
_HIDDEN = (
    "file image category media bild datei kategorie fichier catégorie archivo imagen categoría "
    "immagine categoria ficheiro imagem bestand afbeelding categorie plik grafika изображение "
    "категория ファイル 画像 カテゴリ 文件 图像 檔案 分类 分類 파일 그림 분류"
)
HIDDEN = frozenset(_HIDDEN.split())

# Templates that say that a page is a list of pages of like name.
DISAMBIGUATION = frozenset(
    {"disambig", "disambiguation", "dab", "disamb", "hndis", "geodis", "human name disambiguation",
     "place name disambiguation", "school disambiguation", "number disambiguation",
     "begriffsklärung", "homonymie", "patronyme", "desambiguación", "desambiguação", "disambigua",
     "förgrening", "ujednoznacznienie", "неоднозначность", "багатозначність", "пояснение",
     "rozcestník",
     "aimai", "曖昧さ回避", "disambig-cleanup", "消歧义", "消歧義", "동음이의",
     "동음이의어 문서", "توضيح",
     "ابهام‌زدایی", "פירושונים", "anlam ayrımı", "định hướng", "disambiguasi", "täsmennyssivu"}
)  # fmt: skip
