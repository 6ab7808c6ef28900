"""A self-contained HTML page: no script, no font, no request; light, dark and on paper.

Pictures are drawn for the width of a phone (360 pixels) and stand side by side where there is room,
so their text is never scaled down. What a picture shows, a table under it says in numbers.
"""

import json
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from train import svg

MINUS, DASH = "\u2212", "\u2013"


class Safe(str):
    """HTML that is not escaped again."""


def page(title: str, body: str) -> str:
    variables = {name: f"var(--{name})" for name in svg.LIGHT}
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)}</title>\n<style>\n:root{{{_colours(svg.LIGHT)}}}\n"
        f"@media (prefers-color-scheme:dark){{:root{{{_colours(svg.DARK)}}}}}\n"
        f"@media print{{:root{{{_colours(svg.LIGHT)}}}}}\n"
        f"{CSS}{svg.style(variables)}\n</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n"
        "</body>\n</html>\n"
    )


def _colours(colours: dict[str, str]) -> str:
    return ";".join(f"--{name}:{value}" for name, value in colours.items())


CSS = """
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--paper);color:var(--ink);
 font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:70rem;margin:0 auto;padding:2rem 1.25rem 4rem}
h1{font-size:1.6rem;line-height:1.2;margin:0 0 .25rem;letter-spacing:-.01em;overflow-wrap:anywhere}
h2{font-size:1.15rem;margin:2.75rem 0 .5rem;padding-top:.9rem;border-top:1px solid var(--grid)}
h3{font-size:.95rem;margin:1.5rem 0 .4rem;overflow-wrap:anywhere}
p,li{max-width:46rem;margin:.4rem 0;overflow-wrap:anywhere}
ul{padding-left:1.1rem;margin:.4rem 0}
.muted,figcaption{color:var(--muted)}
.small,figcaption{font-size:.85rem}
.lead{font-size:1.05rem}
.box{background:var(--tint);border-left:3px solid var(--rule);padding:.6rem .9rem;margin:1rem 0}
.scroll{overflow-x:auto;max-width:100%}
table{border-collapse:collapse;font-size:.87rem;line-height:1.35;
 font-variant-numeric:tabular-nums lining-nums;margin:.5rem 0}
th,td{text-align:left;vertical-align:baseline;padding:.28rem 1.1rem .28rem 0}
th:last-child,td:last-child{padding-right:0}
th{font-weight:600;color:var(--muted);border-bottom:1px solid var(--rule);vertical-align:bottom}
td{border-bottom:1px solid var(--grid)}
tr.group td{font-weight:600;border-bottom-color:var(--rule);padding-top:1rem}
.n{text-align:right;white-space:nowrap}
th.n{white-space:normal}
.name{overflow-wrap:anywhere;min-width:6rem}
.word{white-space:nowrap}
li strong,td strong{font-weight:650}
td.strong{font-weight:650}
.share{width:34%;min-width:5rem}
.share i{display:block;height:.7rem;background:var(--accent);min-width:1px}
.panels{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,20.5rem),1fr));
 gap:1.75rem 2rem;margin:1rem 0}
figure{margin:0;min-width:0;break-inside:avoid}
figure>strong{display:block;font-size:.92rem;overflow-wrap:anywhere}
figcaption{margin:.3rem 0}
svg{display:block;width:100%;max-width:27rem;height:auto}
details{margin:.3rem 0}
summary{cursor:pointer;color:var(--accent);font-size:.87rem}
pre,code{font:12.5px/1.45 ui-monospace,Menlo,Consolas,monospace}
pre{white-space:pre-wrap;overflow-wrap:anywhere;background:var(--tint);padding:.6rem .8rem;
 margin:.3rem 0;max-height:14rem;overflow:auto}
.band{fill:var(--grid)}
.q0{fill-opacity:1}.q1{fill-opacity:.7}.q2{fill-opacity:.45}.q3{fill-opacity:.22}.q4{fill-opacity:0}
@media (max-width:40rem){
 main{padding:1.25rem 1rem 3rem}
 .wide{display:none}
 table{font-size:.82rem}
 th,td{padding-right:.6rem}
 .name{min-width:4.5rem}
}
@media print{
 body{font-size:10.5pt}
 main{max-width:none;padding:0}
 h2,h3{break-after:avoid}
 tr{break-inside:avoid}
 .scroll{overflow:visible}
 .panels{grid-template-columns:repeat(2,1fr);gap:1rem 1.5rem}
 summary{color:var(--muted)}
 pre{max-height:none}
 *{-webkit-print-color-adjust:exact;print-color-adjust:exact}
}
"""


# --- parts ---------------------------------------------------------------------------------------


def section(title: str, *parts: str) -> str:
    return (
        f"<section>\n<h2>{escape(title)}</h2>\n" + "\n".join(p for p in parts if p) + "</section>"
    )


def h3(title: str) -> str:
    return f"<h3>{escape(title)}</h3>"


def pretty(value: Any) -> str:
    """JSON as it is."""
    written = value if isinstance(value, str) else json.dumps(value, indent=1, ensure_ascii=False)
    return f"<pre>{escape(written)}</pre>"


def paragraph(words: str, cls: str = "") -> str:
    return f"<p{_class(cls)}>{inline(words)}</p>"


def bullets(items: Iterable[str]) -> str:
    rows = "".join(f"<li>{inline(item)}</li>\n" for item in items)
    return f"<ul>\n{rows}</ul>" if rows else ""


def inline(words: str) -> str:
    return words if isinstance(words, Safe) else escape(words)


def strong(words: str) -> Safe:
    return Safe(f"<strong>{escape(words)}</strong>")


def table(heads: Sequence[tuple[str, str]], rows: Iterable[Sequence[Any]]) -> str:
    """heads: (label, class): "n" is a column of numbers, "wide" one that phones leave out. A row of
    one cell is a heading over the rows below it. Cells are texts, escaped; Safe ones are not."""
    head = "".join(f'<th scope="col"{_class(cls)}>{escape(label)}</th>' for label, cls in heads)
    lines = []
    for row in rows:
        if len(row) == 1:
            lines.append(f'<tr class="group"><td colspan="{len(heads)}">{inline(row[0])}</td></tr>')
            continue
        cells = "".join(_cell(cls, c) for (_, cls), c in zip(heads, row, strict=True))
        lines.append(f"<tr>{cells}</tr>")
    body = "\n".join(lines)
    return (
        f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def _cell(cls: str, content: Any) -> str:
    """Long names may break where their parts end."""
    written = inline(content if isinstance(content, Safe) else str(content))
    if cls == "name":
        written = written.replace("_", "_<wbr>").replace("/", "/<wbr>")
    return f"<td{_class(cls)}>{written}</td>"


def details(summary: str, *parts: str) -> str:
    return f"<details><summary>{escape(summary)}</summary>\n" + "\n".join(parts) + "</details>"


def figure(title: str, picture: str, caption: str = "") -> str:
    below = f"<figcaption>{inline(caption)}</figcaption>" if caption else ""
    above = f"<strong>{escape(title)}</strong>" if title else ""
    return f"<figure>{above}{picture}{below}</figure>"


def panels(figures: Sequence[str]) -> str:
    return '<div class="panels">\n' + "\n".join(figures) + "\n</div>" if figures else ""


def share(fraction: float) -> Safe:
    """A bar in a cell of class "share"."""
    return Safe(f'<i style="width:{100 * min(max(fraction, 0.0), 1.0):.1f}%"></i>')


def _class(cls: str) -> str:
    return f' class="{cls}"' if cls else ""


# --- numbers -------------------------------------------------------------------------------------


def count(value: float | None) -> str:
    return DASH if value is None else f"{value:,.0f}".replace("-", MINUS)


def fixed(value: float | None, decimals: int, sign: bool = False) -> str:
    """A figure with so many decimals, aligned with its neighbours; a dash where there is none."""
    if value is None or value != value:
        return DASH
    written = f"{value:+,.{decimals}f}" if sign else f"{value:,.{decimals}f}"
    return written.replace("-", MINUS)


def percent(fraction: float | None, decimals: int = 1) -> str:
    return DASH if fraction is None else f"{100 * fraction:.{decimals}f}%"


def size(n_bytes: float | None) -> str:
    if n_bytes is None:
        return DASH
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= scale:
            return f"{n_bytes / scale:,.2f} {unit}"
    return f"{n_bytes:,.0f} B"


def plural(n: int, one: str, many: str = "") -> str:
    return f"{n:,} {one if n == 1 else many or one + 's'}"
