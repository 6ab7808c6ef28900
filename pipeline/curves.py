"""How a classifier does on held-out text, as a picture."""

from filters.fit_quality import BINS, Evaluation
from train import svg

SIDE, MARGIN = 300, 48


def evaluation_svg(evaluation: Evaluation) -> str:
    """Precision against recall, and beside it the scores of good and ordinary text."""
    area = evaluation.figures["auc"]
    title = "" if area is None else f", area under ROC {area:.4f}"
    x, y = _scales(0)
    curve = [(x(recall), y(p)) for _, p, recall in evaluation.curve if p is not None]
    parts = [
        _frame(0, f"held-out precision and recall{title}", "recall"),
        svg.curve(curve, "s1"),
        _frame(1, "score of good (solid) and ordinary (dashed) text", "score"),
        _bins(evaluation.negative, "s2"),
        _bins(evaluation.positive, "s1"),
    ]
    width, height = 2 * SIDE + 3 * MARGIN, SIDE + 2 * MARGIN
    return svg.standalone(width, height, "".join(parts), "")


def _scales(panel: int) -> tuple[svg.Scale, svg.Scale]:
    left = MARGIN + panel * (SIDE + MARGIN)
    return svg.Scale(0, 1, left, left + SIDE), svg.Scale(0, 1, MARGIN + SIDE, MARGIN)


def _frame(panel: int, title: str, axis: str) -> str:
    x, y = _scales(panel)
    return (
        svg.text((x.start + x.end) / 2, MARGIN - 16, title, "middle")
        + svg.x_axis(x, y.start, axis)
        + svg.y_axis(y, x.start, grid_to=x.end)
    )


def _bins(counts: list[int], cls: str) -> str:
    """A step line; heights are shares of the fullest bin."""
    x, y = _scales(1)
    most = max(max(counts, default=0), 1)
    corners = [
        (x(edge / BINS), y(count / most)) for i, count in enumerate(counts) for edge in (i, i + 1)
    ]
    return svg.curve(corners, cls)
