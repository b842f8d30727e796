"""Numbers as people read them."""

from __future__ import annotations

from backspan.rules.spec import Chart


def rate(value: float, chart: Chart) -> str:
    """A rate of the chart: per cent of a share, else three figures."""
    if chart.watched.kind == "share":
        return f"{100 * value:.2f} %" if value < 0.1 else f"{100 * value:.1f} %"
    return f"{value:.3g}"


def count(value: float) -> str:
    """A count with its thousands parted; a fraction with one place."""
    return f"{value:,.0f}" if value == int(value) or value >= 100 else f"{value:,.1f}"


def events(chart: Chart) -> str:
    """What the chart's n counts, in the plural."""
    return "ratings" if chart.watched.kind == "share" else "units of exposure"


def table(rows: list[list[str]], gap: str = "  ") -> list[str]:
    """Rows as aligned lines: the first column to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        gap.join(cell.ljust(width) if i == 0 else cell.rjust(width)
                 for i, (cell, width) in enumerate(zip(row, widths, strict=True))).rstrip()
        for row in rows
    ]
