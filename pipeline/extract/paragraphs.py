"""Lines cut at about 70 columns -> paragraphs on a line each.

Verse, tables, addresses and other lines that are set as lines keep them: what is indented, and
blocks of short lines.
"""

import statistics

_WRAPPED = 100  # a text is hard-wrapped when nine of ten lines are shorter


def unwrap(text: str) -> str:
    """Paragraphs with an empty line between them; a text that is not hard-wrapped as it is."""
    lines = [line.rstrip() for line in text.split("\n")]
    lengths = [len(line) for line in lines if line]
    if len(lengths) < 2:
        return text
    width = statistics.quantiles(lengths, n=10)[-1]
    if width > _WRAPPED:
        return text
    paragraphs: list[str] = []
    block: list[str] = []
    for line in [*lines, ""]:
        if line:
            block.append(line)
        elif block:
            paragraphs.append(_join(block, width))
            block = []
    return "\n\n".join(paragraphs)


def _join(lines: list[str], width: float) -> str:
    indented = [line[0] in " \t" for line in lines]
    if len(lines) == 1:
        return lines[0].strip()
    if sum(indented[1:]) > len(lines[1:]) / 2:
        return "\n".join(lines)  # verse, a table, a centred title
    if max(map(len, lines[:-1])) < 0.6 * width:
        return "\n".join(
            line.strip() for line in lines
        )  # a title, an address, verse set flush left
    blocks: list[list[str]] = [[]]
    for line, new in zip(lines, indented, strict=True):
        if new and blocks[-1]:  # paragraphs set apart by their first line's indent only
            blocks.append([])
        blocks[-1].append(" ".join(line.split()))  # Gutenberg has two spaces after a sentence
    return "\n\n".join(" ".join(block) for block in blocks)
