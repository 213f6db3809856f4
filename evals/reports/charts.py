"""Charts as Plotly takes them, as plain data. Each shows what a table beside it says."""

from collections.abc import Mapping, Sequence
from typing import Any

from .figures import Figure
from .parts import Chart

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Of Okabe and Ito: told apart by colour-blind eyes too."""

VERDICT_COLOURS = {
    "right": "#0072b2", "wrong": "#d55e00", "unparsed": "#e69f00", "unanswered": "#cc79a7",
    "unreadable": "#999999", "failed": "#555555",
}  # fmt: skip

ROW = 26
LONGEST = 40
"""Characters of a name beside an axis."""


def shares(about: str, rows: Sequence[tuple[str, Mapping[str, Figure]]]) -> Chart:
    """Points with their intervals, one row for each name, one colour for each run."""
    names = list(dict.fromkeys(run for _, rates in rows for run in rates))
    labels = _labels([label for label, _ in rows])
    data: list[dict[str, Any]] = []
    for place, name in enumerate(names):
        shift = (place - (len(names) - 1) / 2) * 0.7 / max(len(names), 1)
        points = [(y, rates[name]) for y, (_, rates) in enumerate(rows) if name in rates]
        data.append({
            "type": "scatter", "mode": "markers", "name": short(name),
            "x": [100 * rate["value"] for _, rate in points],
            "y": [y + shift for y, _ in points],
            "error_x": _whiskers([rate for _, rate in points]),
            "marker": {"color": COLOURS[place % len(COLOURS)], "size": 8},
            "text": [f"{labels[y]}: {100 * rate['value']:.1f} %" for y, rate in points],
            "hoverinfo": "text",
        })  # fmt: skip
    layout = _layout(
        xaxis={"title": {"text": "right, %"}, "range": [-2, 102]},
        yaxis={
            "tickvals": list(range(len(rows))), "ticktext": labels,
            "range": [len(rows) - 0.5, -0.5], "automargin": True,
        },
        showlegend=len(names) > 1,
    )  # fmt: skip
    return Chart(about, data, layout, _height(len(rows) * max(1, (len(names) + 1) // 2)))


def stacked(about: str, rows: Sequence[tuple[str, Mapping[str, int]]]) -> Chart:
    """For each name, which share of its episodes got each verdict."""
    labels = _labels([label for label, _ in rows])
    data = []
    for verdict, colour in VERDICT_COLOURS.items():
        parts = [100 * counts.get(verdict, 0) / max(1, sum(counts.values())) for _, counts in rows]
        if any(parts):
            data.append({
                "type": "bar", "orientation": "h", "name": verdict, "x": parts,
                "y": list(range(len(rows))), "marker": {"color": colour},
                "text": [f"{counts.get(verdict, 0):,}" for _, counts in rows],
                "hovertemplate": "%{x:.1f} % " + verdict + "<extra></extra>",
                "textposition": "inside", "insidetextanchor": "middle",
            })  # fmt: skip
    layout = _layout(
        barmode="stack",
        xaxis={"title": {"text": "episodes, %"}, "range": [0, 100]},
        yaxis={
            "tickvals": list(range(len(rows))), "ticktext": labels,
            "range": [len(rows) - 0.5, -0.5], "automargin": True,
        },
        legend={"traceorder": "normal", "orientation": "h", "y": 1.02, "yanchor": "bottom"},
    )  # fmt: skip
    return Chart(about, data, layout, _height(len(rows)))


def differences(about: str, rows: Sequence[tuple[str, Figure]]) -> Chart:
    """Differences in points with their intervals, and a line at none."""
    labels = _labels([label for label, _ in rows])
    data = [{
        "type": "scatter", "mode": "markers", "x": [100 * gap["value"] for _, gap in rows],
        "y": list(range(len(rows))), "error_x": _whiskers([gap for _, gap in rows]),
        "marker": {"color": COLOURS[0], "size": 9},
        "text": [f"{label}: {100 * gap['value']:+.1f}" for label, (_, gap) in
                 zip(labels, rows, strict=True)],
        "hoverinfo": "text",
    }]  # fmt: skip
    layout = _layout(
        xaxis={
            "title": {"text": "difference in points"}, "zeroline": True, "zerolinecolor": "#888",
            "zerolinewidth": 2,
        },
        yaxis={
            "tickvals": list(range(len(rows))), "ticktext": labels,
            "range": [len(rows) - 0.5, -0.5], "automargin": True,
        },
        showlegend=False,
    )  # fmt: skip
    return Chart(about, data, layout, _height(len(rows)))


def reliability(about: str, found: Mapping[str, Mapping[str, Any]]) -> Chart:
    """The share right against the confidence, and the line on which they are equal."""
    data: list[dict[str, Any]] = [_line("calibrated", [0, 1], [0, 1])]
    for place, (name, figures) in enumerate(found.items()):
        bins = figures["bins"]
        most = max(each["n"] for each in bins)
        data.append({
            "type": "scatter", "mode": "markers", "name": short(name),
            "x": [each["confidence"] for each in bins], "y": [each["right"] for each in bins],
            "marker": {
                "color": COLOURS[place % len(COLOURS)],
                "size": [6 + 14 * (each["n"] / most) ** 0.5 for each in bins],
            },
            "text": [f"{each['n']} answers" for each in bins],
        })  # fmt: skip
    layout = _layout(
        xaxis={"title": {"text": "confidence"}, "range": [-0.03, 1.03]},
        yaxis={"title": {"text": "share right"}, "range": [-0.05, 1.05], "automargin": True},
    )
    return Chart(about, data, layout, 340)


def risk_and_coverage(about: str, found: Mapping[str, Mapping[str, Any]]) -> Chart:
    """The share of wrong answers where only the most confident ones are given."""
    data = [
        {
            "type": "scatter", "mode": "lines", "name": short(name),
            "x": [100 * coverage for coverage, _ in figures["curve"]],
            "y": [100 * risk for _, risk in figures["curve"]],
            "line": {"color": COLOURS[place % len(COLOURS)]},
        }
        for place, (name, figures) in enumerate(found.items())
    ]  # fmt: skip
    layout = _layout(
        xaxis={"title": {"text": "answers given, %"}, "range": [0, 101]},
        yaxis={"title": {"text": "of these wrong, %"}, "rangemode": "tozero", "automargin": True},
    )
    return Chart(about, data, layout, 340)


def short(text: str) -> str:
    """A name as it stands in a chart: Plotly reads tags in texts, so it gets none. A long one is
    cut in its middle, since the name of a model stands at the end of a policy's spec."""
    half = LONGEST // 2
    cut = text if len(text) <= LONGEST else f"{text[: half - 1]}…{text[-half:]}"
    return cut.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _labels(names: Sequence[str]) -> list[str]:
    return [short(name) for name in names]


def _whiskers(rates: Sequence[Figure]) -> dict[str, Any]:
    def reach(rate: Figure, end: str, sign: int) -> float:
        return 0.0 if rate[end] is None else 100 * sign * (rate[end] - rate["value"])

    return {
        "type": "data", "symmetric": False, "thickness": 1.5, "width": 4,
        "array": [reach(rate, "high", 1) for rate in rates],
        "arrayminus": [reach(rate, "low", -1) for rate in rates],
    }  # fmt: skip


def _line(name: str, x: Sequence[float], y: Sequence[float]) -> dict[str, Any]:
    return {
        "type": "scatter", "mode": "lines", "name": name, "x": list(x), "y": list(y),
        "line": {"color": "#888888", "dash": "dot"}, "hoverinfo": "skip",
    }  # fmt: skip


def _height(rows: int) -> int:
    return 110 + ROW * max(2, rows)


def _layout(**own: Any) -> dict[str, Any]:
    grid = {"gridcolor": "rgba(136,136,136,.25)", "zerolinecolor": "rgba(136,136,136,.25)"}
    for axis in ("xaxis", "yaxis"):
        own[axis] = {**grid, "fixedrange": True, **own[axis]}
    return {
        "margin": {"l": 10, "r": 10, "t": 30, "b": 45},
        "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": "#808080", "size": 12},
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom"},
        **own,
    }  # fmt: skip
