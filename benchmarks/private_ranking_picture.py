"""Draws docs/images/private-ranking.svg: agreement with the noise-free ranking over ε, one panel per n.

``python -m benchmarks.private_ranking DIR --json > found.json``, then
``python -m benchmarks.private_ranking_picture found.json docs/images/private-ranking.svg``. Colours are those
of Okabe and Ito, told apart by people with any colour vision, on a light and on a dark page; dashes and marks
differ as well.
"""

import argparse
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Line:
    """One space and distance: what it is called, and how it is drawn on a light and on a dark page."""

    space: str
    distance: str
    label: str
    light: str
    dark: str
    dash: str
    mark: str


LINES = (
    Line("cdf 1 level, clip 1.1", "cdf-l2", "cdf, 1 threshold", "#0072b2", "#56b4e9", "", "disc"),
    Line("cdf 2 levels, clip 1.1", "cdf-l2", "cdf, 3 thresholds", "#009e73", "#2fd6a4", "6 3", "square"),
    Line("histogram 4 skewed", "cramer", "4 bins, skewed", "#d55e00", "#ff8a3d", "", "up"),
    Line("histogram 4 equal-mass", "cramer", "4 bins, equal mass", "#b8860b", "#f0e442", "6 3", "down"),
    Line("histogram 16 equal-mass", "cramer", "16 bins, equal mass", "#cc79a7", "#e8a8cb", "2 3", "diamond"),
    Line(
        "histogram 4 equal-mass, PCA 64",
        "cramer",
        "4 bins of 64 components",
        "#7f5fbf",
        "#b79cf0",
        "8 3 2 3",
        "ring",
    ),
    Line("histogram 100 equal-width", "bkld-small", "bKLD, 100 bins", "#555555", "#bbbbbb", "", "cross"),
)
PANEL, HEIGHT, GAP, LEFT, TOP = 200, 220, 22, 48, 34
LOWEST = -0.1
_MARKS = {
    "disc": '<circle r="3.4"/>',
    "ring": '<circle r="3.2" class="hollow"/>',
    "square": '<rect x="-3" y="-3" width="6" height="6"/>',
    "up": '<path d="M0-4 4 3H-4Z"/>',
    "down": '<path d="M0 4 4-3H-4Z"/>',
    "diamond": '<path d="M0-4.5 4 0 0 4.5-4 0Z"/>',
    "cross": '<path d="M-3.4-3.4 3.4 3.4M3.4-3.4-3.4 3.4" class="hollow"/>',
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("picture", type=Path)
    arguments = parser.parse_args()
    rows = json.loads(arguments.results.read_text())["results"]
    arguments.picture.write_text(picture(rows))


def picture(rows: Sequence[dict]) -> str:
    """Return the picture as SVG."""
    sizes, eps = sorted({row["n"] for row in rows}), sorted({row["eps"] for row in rows})
    width, height = LEFT + len(sizes) * (PANEL + GAP), TOP + HEIGHT + 92
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        'aria-label="Agreement of private rankings with the noise-free ranking">',
        f"<style>{_style()}</style>",
        f'<rect width="{width}" height="{height}" class="page"/>',
        f'<text transform="translate(12 {TOP + HEIGHT / 2}) rotate(-90)" class="middle">'
        "Spearman with the noise-free ranking</text>",
    ]
    for i, n in enumerate(sizes):
        parts += _panel(LEFT + i * (PANEL + GAP), n, eps, rows, first=i == 0)
    return "\n".join([*parts, *_legend(), "</svg>"]) + "\n"


def _style() -> str:
    common = (
        "text{font:12px sans-serif}.middle{text-anchor:middle}.end{text-anchor:end}"
        ".curve{fill:none;stroke-width:1.8}.grid{stroke-width:1}.title{font-weight:bold}.hollow{fill:none;stroke-width:1.6}"
    )
    light = ".page{fill:#fff}text{fill:#222}.grid{stroke:#ddd}" + _colours("light")
    dark = ".page{fill:#0d1117}text{fill:#ddd}.grid{stroke:#30363d}" + _colours("dark")
    return f"{common}{light}@media(prefers-color-scheme:dark){{{dark}}}"


def _colours(page: str) -> str:
    return (
        "".join(
            f".s{i}{{stroke:{getattr(line, page)};fill:{getattr(line, page)}}}"
            for i, line in enumerate(LINES)
        )
        + ".curve,.hollow{fill:none}"
    )


def _panel(left: float, n: int, eps: Sequence[float], rows: Sequence[dict], *, first: bool) -> Iterator[str]:
    yield f'<text x="{left + PANEL / 2}" y="{TOP - 14}" class="middle title">{n:,} patients</text>'
    for value in (0, 0.2, 0.4, 0.6, 0.8, 0.9, 1):
        y = _y(value)
        yield f'<path d="M{left} {y}h{PANEL}" class="grid"/>'
        if first:
            yield f'<text x="{left - 6}" y="{y + 4}" class="end">{value:g}</text>'
    for e in eps:
        yield f'<text x="{_x(left, e, eps)}" y="{TOP + HEIGHT + 16}" class="middle">{e:g}</text>'
    yield f'<text x="{left + PANEL / 2}" y="{TOP + HEIGHT + 32}" class="middle">ε (δ = 10⁻⁶)</text>'
    for i, line in enumerate(LINES):
        points = [
            (_x(left, row["eps"], eps), _y(row["spearman"]))
            for row in rows
            if (row["n"], row["space"], row["distance"]) == (n, line.space, line.distance)
        ]
        yield from _drawn(i, line, points)


def _drawn(i: int, line: Line, points: Sequence[tuple[float, float]]) -> Iterator[str]:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    yield f'<polyline points="{path}" class="curve s{i}" style="fill:none" stroke-dasharray="{line.dash}"/>'
    for x, y in points:
        yield f'<g transform="translate({x:.1f} {y:.1f})" class="s{i}">{_MARKS[line.mark]}</g>'


def _legend() -> Iterator[str]:
    for i, line in enumerate(LINES):
        x, y = LEFT + (i % 4) * (PANEL + GAP), TOP + HEIGHT + 56 + 20 * (i // 4)
        yield from _drawn(i, line, [(x, y), (x + 30, y)])
        yield f'<text x="{x + 38}" y="{y + 4}">{line.label}</text>'


def _x(left: float, e: float, eps: Sequence[float]) -> float:
    low, high = math.log(eps[0]), math.log(eps[-1])
    return left + 12 + (PANEL - 24) * (math.log(e) - low) / (high - low)


def _y(value: float) -> float:
    """Values below the lowest are drawn there."""
    return TOP + HEIGHT * (1 - (max(value, LOWEST) - LOWEST) / (1 - LOWEST))


if __name__ == "__main__":
    main()
