"""The figures that are published of a suite's benchmarks, as a table that people read."""

from collections.abc import Iterable, Sequence

from medgym.suite import PublishedFigure

OTHER_PROTOCOLS = "published (%), other protocols: not comparable without re-scoring the answers"


def published_table(
    figures: Iterable[PublishedFigure],
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Headings and rows: one row for each name and source, one column for each benchmark.

    The last column is the number of the source, as `published_sources` lists it.
    """
    figures = list(figures)
    benchmarks = list(dict.fromkeys(each.benchmark for each in figures))
    numbers = _numbers(figures)
    rows: dict[tuple[str, str], dict[str, float]] = {}
    for each in figures:
        rows.setdefault((each.name, each.source), {})[each.benchmark] = each.value
    return ("name", *benchmarks, "source"), [
        (
            name,
            *(f"{100 * values[b]:.4g}" if b in values else "-" for b in benchmarks),
            f"[{numbers[source]}]",
        )
        for (name, source), values in rows.items()
    ]


def published_sources(figures: Sequence[PublishedFigure]) -> list[str]:
    """The sources by their numbers: `[1] arXiv 2506.00555`."""
    return [f"[{number}] {source}" for source, number in _numbers(figures).items()]


def _numbers(figures: Iterable[PublishedFigure]) -> dict[str, int]:
    sources = dict.fromkeys(each.source for each in figures)
    return {source: number for number, source in enumerate(sources, 1)}
