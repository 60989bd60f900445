"""Draw docs/performance/*.svg from bench/results.json; run by .venv/bench, for matplotlib."""

from __future__ import annotations

import io
import re
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")

from matplotlib import pyplot as plt
from matplotlib.ticker import LogLocator
from report import TITLES, Results, Row, find, median, rates, ratios

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "performance"
# Okabe and Ito's, which colour-blind readers tell apart.
COLOURS = {
    "taskapi": "#0072B2",
    "fastapi": "#009E73",
    "django": "#D55E00",
    "starlette": "#56B4E9",
    "fastify": "#E69F00",
    "flask-empty": "#8c8c8c",
    "wsgi-empty": "#bdbdbd",
}
# Without curves, which take many bytes.
PERCENTILES = {"p50": "s", "p95": "D", "p99": "^"}
STYLE = {
    # Text stays text. The same results make the same file.
    "svg.fonttype": "none",
    "svg.hashsalt": "taskapi",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Arial"],
    "font.size": 9,
    # White of its own: the page around it may be dark.
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid.axis": "y",
    "axes.grid": True,
    "grid.color": "#dddddd",
    "axes.axisbelow": True,
}


def main() -> None:
    """Draw what was measured."""
    parts = Results.load().parts
    FOLDER.mkdir(exist_ok=True)
    mpl.rcParams.update(STYLE)
    if stacks := parts.get("stacks"):
        draw_panels("throughput", "Requests a second, more is better", stacks, draw_rates)
        draw_panels("latency", "Milliseconds: p50, p95, p99; less is better", stacks, draw_times)
        draw_panels(
            "processor", "Processor milliseconds a request, 16 connections", stacks, draw_cpu
        )
    if growth := parts.get("growth"):
        draw_growth(growth)


def draw_panels(name: str, title: str, part: Row, draw: Callable[..., None]) -> None:
    """Draw a panel for each request, with each system."""
    requests = list(dict.fromkeys(row["request"] for row in part["rows"]))
    columns = min(4, len(requests))
    lines = -(-len(requests) // columns)
    figure, axes = plt.subplots(lines, columns, figsize=(11, 0.6 + 2.6 * lines), squeeze=False)
    panels = list(axes.flat)
    for panel, request in zip(panels, requests, strict=False):
        systems = [name for name in COLOURS if find(part, system=name, request=request)]
        draw(panel, part, request, systems)
        panel.set_title(TITLES[request], fontsize=10)
        panel.set_xticks(range(len(systems)), systems, rotation=25, ha="right")
    for panel in panels[len(requests) :]:
        panel.axis("off")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.suptitle(title, fontsize=12)
    figure.tight_layout(rect=(0, 0.06, 1, 1))
    columns = min(3, len(labels))
    figure.legend(handles, labels, loc="lower center", ncols=columns, frameon=False)
    save(figure, name)


def draw_rates(panel: Any, part: Row, request: str, systems: Sequence[str]) -> None:
    """Draw bars of throughput at 16 and at 50 connections, with the spread of the rounds."""
    for connections, offset, shade in ((16, -0.2, 1.0), (50, 0.2, 0.55)):
        for place, system in enumerate(systems):
            row = find(part, system=system, request=request, connections=connections)
            if row is None:
                continue
            values = rates(row)
            middle = statistics.median(values)
            panel.bar(
                place + offset,
                middle,
                width=0.36,
                color=COLOURS[system],
                alpha=shade,
                label=f"{connections} connections" if place == 0 else None,
                yerr=[[middle - min(values)], [max(values) - middle]],
                error_kw={"linewidth": 0.8},
            )


def draw_times(panel: Any, part: Row, request: str, systems: Sequence[str]) -> None:
    """Draw p50, p95 and p99 at 16 and, fainter, at 50 connections."""
    panel.set_yscale("log")
    for connections, offset, shade in ((16, -0.15, 1.0), (50, 0.15, 0.5)):
        rows = {
            place: row
            for place, system in enumerate(systems)
            if (row := find(part, system=system, request=request, connections=connections))
        }
        places = [place + offset for place in rows]
        times = {name: [median(row, name) for row in rows.values()] for name in PERCENTILES}
        style = {"color": [COLOURS[systems[place]] for place in rows], "alpha": shade}
        panel.vlines(places, times["p50"], times["p99"], linewidth=1, clip_on=False, **style)
        points = {"s": 18, "linewidths": 0, "clip_on": False}
        for name, marker in PERCENTILES.items():
            label = f"{name}, {connections} connections"
            panel.scatter(places, times[name], marker=marker, label=label, **style, **points)
    panel.yaxis.set_major_locator(LogLocator(subs=(1, 3)))
    panel.minorticks_off()
    panel.yaxis.set_major_formatter("{x:g}")


def draw_cpu(panel: Any, part: Row, request: str, systems: Sequence[str]) -> None:
    """Draw what workers and PostgreSQL take of the processors for a request."""
    for place, system in enumerate(systems):
        row = find(part, system=system, request=request, connections=16)
        if row is None:
            continue
        workers, postgres = median(row, "workers_cpu"), median(row, "postgres_cpu")
        first = place == 0
        panel.bar(
            place, workers, width=0.6, color=COLOURS[system], label="workers" if first else None
        )
        panel.bar(
            place,
            postgres,
            width=0.6,
            bottom=workers,
            color="#F0E442",
            edgecolor="#888888",
            linewidth=0.5,
            label="PostgreSQL" if first else None,
        )


def draw_growth(part: Row) -> None:
    """Draw how p50 grows with the table, each request by what it takes with the fewest tasks."""
    figure, panel = plt.subplots(figsize=(7, 3.6))
    requests = list(dict.fromkeys(row["request"] for row in part["rows"]))
    for request, colour in zip(requests, COLOURS.values(), strict=False):
        for connections, line in ((1, "o-"), (16, "s--")):
            same = {"request": request, "connections": connections}
            rows = [row for row in part["rows"] if same.items() <= row.items()]
            if not rows:
                continue
            panel.plot(
                [int(row["system"].removeprefix("tasks-")) for row in rows],
                [statistics.median(ratios(row, rows[0], "p50")) for row in rows],
                line,
                color=colour,
                markersize=4,
                label=f"{TITLES[request]}, {connections} connection{'s' * (connections > 1)}",
            )
    panel.axhline(1.1, color="#CC79A7", linewidth=1, label="the aim: at most 1.10")
    panel.set_xscale("log")
    panel.set_ylim(bottom=0)
    panel.set_xlabel("tasks in the table")
    panel.set_ylabel("p50 by that with 10,000 tasks")
    panel.set_title("What a request takes as the table grows", fontsize=12)
    panel.legend(frameon=False, fontsize=8, loc="lower left", ncols=2)
    figure.tight_layout()
    save(figure, "growth")


def save(figure: Any, name: str) -> None:
    """Write a plot, in half of the bytes that matplotlib takes for it."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    plt.close(figure)
    text = re.sub(r"\s*<!--.*?-->", "", buffer.getvalue(), flags=re.DOTALL)
    text = re.sub(r' id="[a-zA-Z0-9]+_\d+"', "", re.sub(r"(\.\d)\d+", r"\1", text))
    text = re.sub(r"\s*\n(?=[LCQz\"])", " ", re.sub(r"\n\s+", "\n", text))
    (FOLDER / f"{name}.svg").write_text(text)


if __name__ == "__main__":
    main()
