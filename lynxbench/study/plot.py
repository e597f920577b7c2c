"""A study as one SVG: for each question a panel, in it each correlation with its interval, −1 to 1."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

from lynxbench.study.run import Question, Row

_WIDTH, _LABEL, _ROW, _HEAD, _GAP = 720, 200, 20, 46, 26
_LEFT, _RIGHT = _LABEL + 10, _WIDTH - 150


def svg(questions: Sequence[Question]) -> str:
    """An SVG document; questions without a correlation are left out."""
    shown = [(one, [row for row in one.rows if row.correlation is not None]) for one in questions]
    shown = [(one, rows) for one, rows in shown if rows]
    height = sum(_HEAD + _ROW * len(rows) + _GAP for _, rows in shown) + _GAP
    parts, top = [], _GAP
    for question, rows in shown:
        parts.append(_panel(question, rows, top))
        top += _HEAD + _ROW * len(rows) + _GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" '
        'font-family="system-ui, sans-serif" font-size="12" role="img">\n'
        "<title>Rank correlation of each correlate with the loss, with its interval</title>\n"
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>\n' + "".join(parts) + "</svg>\n"
    )


def _panel(question: Question, rows: Sequence[Row], top: int) -> str:
    title = f"{question.task}, {question.metric}: {question.n} candidates of {len(question.models)} models"
    bottom = top + _HEAD + _ROW * len(rows) - 8
    lines = [f'<text x="10" y="{top + 14}" font-weight="bold">{escape(title)}</text>\n']
    for value in (-1.0, -0.5, 0.0, 0.5, 1.0):
        x, color = _x(value), "#888888" if value == 0 else "#dddddd"
        lines.append(f'<line x1="{x}" y1="{top + 36}" x2="{x}" y2="{bottom}" stroke="{color}"/>\n')
        said = f"{value:g}".replace("-", "−")
        lines.append(f'<text x="{x}" y="{top + 31}" text-anchor="middle" fill="#595959">{said}</text>\n')
    for number, row in enumerate(rows):
        found, y = row.correlation, top + _HEAD + _ROW * number
        assert found is not None
        color = "#0b5cad" if found.is_tendency else "#767676"
        low, rho, high = _x(found.low), _x(found.rho), _x(found.high)
        said = f"{found.rho:+.2f} [{found.low:+.2f}, {found.high:+.2f}]".replace("-", "−")
        lines.append(
            f'<text x="{_LABEL}" y="{y + 4}" text-anchor="end">{escape(row.correlate.name)}</text>\n'
            f'<line x1="{low}" y1="{y}" x2="{high}" y2="{y}" stroke="{color}" stroke-width="2"/>\n'
            f'<circle cx="{rho}" cy="{y}" r="4" fill="{color}"/>\n'
            f'<text x="{_RIGHT + 12}" y="{y + 4}" fill="{color}">{said}</text>\n'
        )
    return "".join(lines)


def _x(value: float) -> float:
    return round(_LEFT + (value + 1) / 2 * (_RIGHT - _LEFT), 1)


def strip(low: float, value: float, high: float, width: int = 21) -> str:
    """The same in a line of text: ``·····─●─·│·········``, −1 at the left, 1 at the right."""

    def place(number: float) -> int:
        return min(width - 1, max(0, round((number + 1) / 2 * (width - 1))))

    cells = ["·"] * width
    cells[place(0)] = "│"
    for position in range(place(low), place(high) + 1):
        cells[position] = "─"
    cells[place(value)] = "●"
    return "".join(cells)
