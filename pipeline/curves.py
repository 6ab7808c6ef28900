"""How a classifier does on held-out text, as a small SVG written by hand (see train/plot.py)."""

from filters.fit_quality import BINS, Evaluation

SIDE, MARGIN = 300, 48
BLUE, GREY = "#1f5fbf", "#b0b0b0"


def evaluation_svg(evaluation: Evaluation) -> str:
    """Precision against recall, and beside it the scores of good and ordinary text."""
    width, height = 2 * SIDE + 3 * MARGIN, SIDE + 2 * MARGIN
    points = " ".join(
        f"{_x(0, recall):.1f},{_y(precision):.1f}"
        for _, precision, recall in evaluation.curve
        if precision is not None
    )
    area = evaluation.figures["auc"]
    title = "" if area is None else f", area under ROC {area:.4f}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="12">'
        f'<rect width="{width}" height="{height}" fill="white"/>'
        + _frame(0, f"held-out precision and recall{title}", "recall")
        + f'<polyline points="{points}" fill="none" stroke="{BLUE}" stroke-width="2"/>'
        + _frame(1, "score: good (blue) and ordinary (grey) text", "score")
        + _bars(evaluation.negative, GREY)
        + _bars(evaluation.positive, BLUE)
        + "</svg>\n"
    )


def _x(panel: int, fraction: float) -> float:
    return MARGIN + panel * (SIDE + MARGIN) + fraction * SIDE


def _y(fraction: float) -> float:
    return MARGIN + (1 - fraction) * SIDE


def _frame(panel: int, title: str, axis: str) -> str:
    ticks = "".join(
        f'<text x="{_x(panel, f):.0f}" y="{_y(0) + 16:.0f}" text-anchor="middle">{f}</text>'
        f'<text x="{_x(panel, 0) - 6:.0f}" y="{_y(f) + 4:.0f}" text-anchor="end">{f}</text>'
        for f in (0, 0.25, 0.5, 0.75, 1)
    )
    middle = _x(panel, 0.5)
    return (
        f'<text x="{middle}" y="{MARGIN - 16}" text-anchor="middle">{title}</text>{ticks}'
        f'<text x="{middle}" y="{_y(0) + 34:.0f}" text-anchor="middle">{axis}</text>'
        f'<path d="M{_x(panel, 0)},{_y(1)} V{_y(0)} H{_x(panel, 1)}" fill="none" stroke="#888"/>'
    )


def _bars(counts: list[int], color: str) -> str:
    """A step line; heights are shares of the fullest bin."""
    most = max(max(counts, default=0), 1)
    corners = [
        f"{_x(1, edge / BINS):.1f},{_y(count / most):.1f}"
        for i, count in enumerate(counts)
        for edge in (i, i + 1)
    ]
    points = " ".join(corners)
    return f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="2"/>'
