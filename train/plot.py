"""The loss curve as a small SVG, written by hand: a plotting library would be the largest
dependency of this room."""

from html import escape

WIDTH, HEIGHT, MARGIN = 640, 360, 48


def loss_svg(losses: list[float], title: str) -> str:
    """Loss in nats a token of steps 1, 2, ..., with a moving average over a tenth of the steps."""
    window = max(1, len(losses) // 10)
    smooth = [
        sum(part) / len(part)
        for part in (losses[max(0, i - window + 1) : i + 1] for i in range(len(losses)))
    ]
    low, high = min(losses), max(losses)
    pad = (high - low) * 0.05 or 1.0
    low, high = low - pad, high + pad
    span = max(len(losses) - 1, 1)

    def points(values: list[float]) -> str:
        return " ".join(
            f"{MARGIN + step / span * (WIDTH - 2 * MARGIN):.1f},"
            f"{HEIGHT - MARGIN - (v - low) / (high - low) * (HEIGHT - 2 * MARGIN):.1f}"
            for step, v in enumerate(values)
        )

    left, right, top, bottom = MARGIN, WIDTH - MARGIN, MARGIN, HEIGHT - MARGIN
    ticks = "".join(
        f'<text x="{left - 6}" y="{bottom - f * (bottom - top):.0f}" text-anchor="end">'
        f"{low + f * (high - low):.2f}</text>"
        for f in (0, 0.25, 0.5, 0.75, 1)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>'
        f'<text x="{WIDTH / 2}" y="24" text-anchor="middle">{escape(title)}</text>{ticks}'
        f'<text x="{left}" y="{bottom + 18}">1</text>'
        f'<text x="{right}" y="{bottom + 18}" text-anchor="end">step {len(losses)}</text>'
        f'<path d="M{left},{top} V{bottom} H{right}" fill="none" stroke="#888"/>'
        f'<polyline points="{points(losses)}" fill="none" stroke="#b7c9e2"/>'
        f'<polyline points="{points(smooth)}" fill="none" stroke="#1f5fbf" stroke-width="2"/>'
        "</svg>\n"
    )
