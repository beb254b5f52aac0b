"""Draws one picture: JSON on standard input, its bytes on standard output.

A process of its own, which is gone afterwards: the library is large, slow to load, and would hold
up the API's event loop.
"""

import json
import math
import sys
import textwrap
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.textpath import text_to_path
from matplotlib.ticker import EngFormatter, LogFormatter, MaxNLocator

from app.pictures.search_drawing import draw_bars, draw_parallel
from app.pictures.spec import Panel, Picture, Span, Timeline
from app.pictures.texts import label

_DPI = 100
_PANEL_PX = 280
_ROW_PX = 34
_PARALLEL_PX = 420
_POINTS_PER_INCH = 72
_HANDLE_PX = 57
"""Of a column of a legend: the line before a label, and the gap behind it."""
_LEGEND_EDGES_PX = 30
_FEWEST_SIGNS = 6
_FOOTER_SIGN_PX = 7
_FOOTER_LINE_PX = 15
# Okabe and Ito's colours can be told apart by most who see colours otherwise; then further ones.
_COLOURS = [
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A5195", "#8C564B",
    "#5B5B5B", "#B8A400", "#003F5C", "#EF5675", "#2F7D31", "#A05195", "#FF8C42", "#1B9AAA",
    "#665191", "#C2185B", "#6D8B00", "#9E9E9E",
]  # fmt: skip
_DASHES: list[Any] = ["-", (0, (4, 1.6)), (0, (1, 1.4)), (0, (5, 1.4, 1, 1.4))]
_PHASES = {
    "Starting": "#9AA5B1",
    "Preparing": "#E69F00",
    "Queued": "#56B4E9",
    "Running": "#009E73",
    "NotResponding": "#CC79A7",
    "CancelRequested": "#7A5195",
    "Finalizing": "#0072B2",
}
_STYLE: Any = {
    "text.parse_math": False,  # what users call things is no formula
    "svg.hashsalt": "trainwright",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.labelcolor": "#333333",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "grid.color": "#E3E3E3",
    "grid.linewidth": 0.7,
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "lines.linewidth": 1.4,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "figure.facecolor": "white",
}


def draw(picture: Picture) -> Figure:
    """The figure of a picture."""
    mpl.rcParams.update(_STYLE)
    timeline, panels = picture["timeline"], picture["panels"]
    columns = 1 if len(panels) < 2 or picture["width_px"] < 600 else 2
    rows = math.ceil(len(panels) / columns)
    labels = _shared_labels(panels)
    shown = _fitted(list(labels), picture["width_px"])
    legend_columns = _legend_columns(shown, picture["width_px"])
    below_px = 30 + 20 * math.ceil(len(labels) / legend_columns) if labels else 12
    body_px = _single_px(picture) or rows * _PANEL_PX + below_px
    footer = textwrap.wrap(picture["footer"], picture["width_px"] // _FOOTER_SIGN_PX)
    height_px = picture["height_px"] or body_px + 60 + _FOOTER_LINE_PX * len(footer[1:])
    figure = Figure(
        figsize=(picture["width_px"] / _DPI, height_px / _DPI),
        dpi=_DPI,
        layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08),
    )
    figure.suptitle(picture["title"], x=0.012, ha="left", fontsize=12, fontweight="bold")
    if timeline is not None:
        _draw_timeline(figure.subplots(), timeline)
    elif "parallel" in picture:
        draw_parallel(figure.subplots(), picture["parallel"])
    elif "bars" in picture:
        draw_bars(figure.subplots(), picture["bars"])
    elif panels:
        axes = figure.subplots(rows, columns, squeeze=False).flatten()
        for ax, panel in zip(axes, panels, strict=False):
            own = {line["label"] for line in panel["lines"]}
            _draw_panel(ax, panel, has_legend=not labels and len(own) > 1)
        for ax in axes[len(panels) :]:
            ax.set_axis_off()
        _draw_legend(figure, list(labels.values()), shown, legend_columns)
    if footer:
        figure.supxlabel("\n".join(footer), x=0.012, ha="left", fontsize=8, color="#777777")
    return figure


def _single_px(picture: Picture) -> int:
    """How high what has one pair of axes is; 0: it is made of panels."""
    if picture["timeline"] is not None:
        return 90 + _ROW_PX * len(picture["timeline"]["rows"])
    if "bars" in picture:
        return 90 + _ROW_PX * len(picture["bars"]["labels"])
    return _PARALLEL_PX if "parallel" in picture else 0


def _draw_panel(ax: Axes, panel: Panel, *, has_legend: bool) -> None:
    unit, per = "", 1.0
    if not panel["x_label"]:
        unit, per = _unit(_largest(panel))
    for line in panel["lines"]:
        y = [math.nan if value is None else value for value in line["y"]]
        shape: dict[str, Any] = {
            "linestyle": _DASHES[line["dash"] % len(_DASHES)],
            "marker": "o" if len(y) <= 30 else "",
            "markersize": 3,
        }
        if line.get("is_crosses"):
            shape = {"linestyle": "", "marker": "x", "markersize": 8, "markeredgewidth": 2}
        ax.plot(
            [x / per for x in line["x"]],
            y,
            color=_COLOURS[line["colour"] % len(_COLOURS)],
            label=line["label"],
            **shape,
        )
    ax.set_title(panel["title"])
    ax.set_xlabel(panel["x_label"] or f"{unit} since the start")
    ax.set_ylabel(panel["y_label"])
    if panel["log_x"]:
        ax.set_xscale("log", nonpositive="mask")
        _plain_ticks(ax.xaxis)
    else:
        ax.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=panel["x_label"] != ""))
        if _largest(panel) / per >= 10_000:
            ax.xaxis.set_major_formatter(EngFormatter(sep=""))
    if panel["log_y"]:
        ax.set_yscale("log", nonpositive="mask")
        _plain_ticks(ax.yaxis)
    ax.margins(x=0.02)
    if panel["from_zero"]:
        highest = max((y or 0.0 for line in panel["lines"] for y in line["y"]), default=0.0)
        ax.set_ylim(0, 1.08 * highest or 1.0)
    if has_legend:
        ax.legend()


def _plain_ticks(axis: Axis) -> None:
    """Numbers instead of the formulas that a logarithmic axis has, which are not interpreted."""
    axis.set_major_formatter(_Plain())
    axis.set_minor_formatter(_Plain(minor_thresholds=(2, 0.5)))


class _Plain(LogFormatter):
    """Labels the same ticks as the library's, with plain numbers."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        """The label of a tick; empty where it has none."""
        return f"{x:g}" if super().__call__(x, pos) else ""


def _draw_timeline(ax: Axes, timeline: Timeline) -> None:
    places = {row: number for number, row in enumerate(timeline["rows"])}
    longest = max((span["end"] for span in timeline["spans"]), default=0.0) or 1.0
    unit, per = _unit(longest)
    for span in timeline["spans"]:
        start, length = span["start"] / per, (span["end"] - span["start"]) / per
        place = places[span["row"]]
        # What was short is seen, too.
        shown = max(length, longest / per / 400)
        ax.barh(place, shown, left=start, height=0.62, color=_PHASES.get(span["row"], "#888888"))
        is_late = start + shown > 0.8 * longest / per
        is_inside = (is_late or _is_followed(span, timeline)) and shown > 0.2 * longest / per
        ax.annotate(
            span["note"],
            (start if is_late and not is_inside else start + shown, place),
            xytext=(-6 if is_late or is_inside else 6, 0),
            textcoords="offset points",
            va="center",
            ha="right" if is_late or is_inside else "left",
            color="white" if is_inside else "#333333",
            fontsize=8.5,
        )
    for mark in timeline["marks"]:
        ax.axvline(mark["at"] / per, color="#555555", linewidth=0.9, linestyle=(0, (3, 2)))
        ax.annotate(
            mark["label"],
            (mark["at"] / per, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(3, 2),
            textcoords="offset points",
            fontsize=8,
            color="#555555",
        )
    ax.set_yticks(range(len(places)), list(places))
    ax.invert_yaxis()
    ax.grid(visible=False, axis="y")
    ax.tick_params(axis="y", length=0, labelcolor="#222222")
    ax.set_xlim(0, 1.01 * longest / per)
    ax.set_xlabel(f"{unit} since it was submitted")


def _is_followed(span: Span, timeline: Timeline) -> bool:
    """Whether the next bar of its row stands where its note would."""
    room_seconds = 0.2 * max(other["end"] for other in timeline["spans"])
    starts = [other["start"] for other in timeline["spans"] if other["row"] == span["row"]]
    return any(span["start"] < start < span["end"] + room_seconds for start in starts)


def _draw_legend(
    figure: Figure, lines: Sequence[tuple[int, int]], labels: Sequence[str], columns: int
) -> None:
    if not labels:
        return
    handles = [
        Line2D([], [], color=_COLOURS[colour % len(_COLOURS)], linestyle=_DASHES[dash], linewidth=2)
        for colour, dash in lines
    ]
    figure.legend(handles, labels, loc="outside lower left", ncols=columns)


def _shared_labels(panels: list[Panel]) -> dict[str, tuple[int, int]]:
    """What one legend says for all panels; nothing where each has labels of its own."""
    found: dict[str, tuple[int, int]] = {}
    labels = [line["label"] for panel in panels for line in panel["lines"]]
    for panel in panels:
        for line in panel["lines"]:
            found.setdefault(line["label"], (line["colour"], line["dash"] % len(_DASHES)))
    is_shared = len(labels) > len(found) or (len(panels) == 1 and len(labels) > 6)
    return found if is_shared and len(found) > 1 else {}


def _legend_columns(labels: Sequence[str], width_px: int) -> int:
    widest_px = max(map(_label_px, labels), default=0.0) + _HANDLE_PX
    return max(1, min(len(labels), int((width_px - _LEGEND_EDGES_PX) / widest_px)))


def _fitted(labels: Sequence[str], width_px: int) -> list[str]:
    """The labels, shortened where a legend of one column would be wider than the picture."""
    room_px = width_px - _LEGEND_EDGES_PX - _HANDLE_PX
    return [_shortened(text, room_px) for text in labels]


def _shortened(text: str, room_px: float) -> str:
    lengths = range(len(text), _FEWEST_SIGNS, -1)
    fitting = (
        short for longest in lengths if _label_px(short := label(text, longest=longest)) <= room_px
    )
    return next(fitting, label(text, longest=_FEWEST_SIGNS))


def _label_px(text: str) -> float:
    """How wide a label of a legend is."""
    font = FontProperties(size=_STYLE["legend.fontsize"])
    width_points, _, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    return width_points * _DPI / _POINTS_PER_INCH


def _largest(panel: Panel) -> float:
    return max((abs(x) for line in panel["lines"] for x in line["x"]), default=0.0)


def _unit(seconds: float) -> tuple[str, float]:
    for unit, per in (("seconds", 1.0), ("minutes", 60.0), ("hours", 3600.0)):
        if seconds < 120 * per:
            return unit, per
    return "days", 86400.0


def main() -> None:
    """Read, draw, write."""
    picture: Picture = json.load(sys.stdin.buffer)
    metadata = {"Date": None} if picture["format"] == "svg" else {"Software": "Trainwright"}
    draw(picture).savefig(sys.stdout.buffer, format=picture["format"], metadata=metadata)


if __name__ == "__main__":
    main()
