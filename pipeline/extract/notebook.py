"""Jupyter notebooks (.ipynb, JSON) -> text, in the two ways of StarCoder (Li et al. 2023, arXiv
2305.06161): scripts, in which markdown becomes comments (as jupytext does), and structured
notebooks with a marker before each cell's text, code and output.
"""

import json
from typing import Any, Literal, NamedTuple

from pipeline.extract.license_header import line_comment

Style = Literal["script", "structured"]


class Notebook(NamedTuple):
    text: str
    language: str  # of its code cells, as the notebook names it


def notebook_text(data: bytes, style: Style, output_chars: int) -> Notebook:
    """The cells of a notebook. Of each code cell, up to `output_chars` of textual output. Raises
    ValueError for what is no notebook."""
    try:
        book = json.loads(data)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(book, dict):
        raise ValueError(f"a notebook is an object, not {type(book).__name__}")
    cells = book.get("cells")
    if cells is None and isinstance(sheets := book.get("worksheets"), list):  # format 3
        cells = [
            c for sheet in sheets if isinstance(sheet, dict) for c in _list(sheet.get("cells"))
        ]
    if not isinstance(cells, list):
        raise ValueError("no list of cells")
    language = _language(book)
    sign = line_comment(language)
    parts = ["<jupyter_start>"] if style == "structured" else []
    for cell in cells:
        if not isinstance(cell, dict):
            raise ValueError(f"a cell is an object, not {type(cell).__name__}")
        kind = cell.get("cell_type")
        source = _joined(cell.get("source", cell.get("input"))).strip("\n")
        outputs = _outputs(cell, output_chars) if kind == "code" and output_chars else ""
        if not source.strip() and not outputs:
            continue
        if style == "structured":
            parts.append(f"<jupyter_{'code' if kind == 'code' else 'text'}>{source}")
            parts += [f"<jupyter_output>{outputs}"] if outputs else []
        else:
            parts.append(_code(source, sign) if kind == "code" else _comment(source, sign))
            parts += [_comment(outputs, sign)] if outputs else []
    text = "".join(parts) if style == "structured" else "\n\n".join(parts) + "\n"
    return Notebook(text if text.strip() else "", language)


def _language(book: dict[str, Any]) -> str:
    metadata = book.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    for key, name in (("language_info", "name"), ("kernelspec", "language")):
        table = metadata.get(key)
        if isinstance(table, dict) and isinstance(table.get(name), str) and table[name]:
            return table[name].lower()
    return "python"


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _joined(value: Any) -> str:
    """A cell's source: a string, or a list of lines with their ends."""
    if isinstance(value, list):
        return "".join(line for line in value if isinstance(line, str))
    return value if isinstance(value, str) else ""


def _comment(text: str, sign: str) -> str:
    return "\n".join(f"{sign} {line}".rstrip() for line in text.splitlines())


def _code(source: str, sign: str) -> str:
    """Lines that only IPython understands (%magic, !command) become comments."""
    lines = source.splitlines()
    if sign != "#":
        return source
    if lines and lines[0].startswith("%%"):
        return _comment(source, sign)
    return "\n".join(f"# {line}" if line.lstrip()[:1] in ("%", "!") else line for line in lines)


def _outputs(cell: dict[str, Any], most: int) -> str:
    found = []
    for output in _list(cell.get("outputs")):
        if not isinstance(output, dict):
            continue
        data = output.get("data")
        text = output.get("text") or (data.get("text/plain") if isinstance(data, dict) else None)
        found.append(_joined(text).strip("\n"))
    return "\n".join(text for text in found if text)[:most].rstrip()
