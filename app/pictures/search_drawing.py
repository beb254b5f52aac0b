"""Draws what a search found: lines across upright axes, and bars."""

import math

import matplotlib as mpl
from matplotlib.axes import Axes

from app.pictures.spec import Bars, Parallel

_PLAIN = "#B8B8B8"
_BAR = "#0072B2"


def draw_parallel(ax: Axes, parallel: Parallel) -> None:
    """Draw a line for each trial; the better, the more yellow, and the more in front."""
    colours = mpl.colormaps["viridis"]
    shades = [-1.0 if shade is None else shade for shade in parallel["shades"]]
    for place in sorted(range(len(shades)), key=lambda place: shades[place]):
        shade = parallel["shades"][place]
        ax.plot(
            range(len(parallel["axes"])),
            [math.nan if y is None else y for y in parallel["lines"][place]],
            color=_PLAIN if shade is None else colours(shade),
            alpha=0.5 if shade is None else 0.85,
            marker="o",
            markersize=2.5,
        )
    for x, axis in enumerate(parallel["axes"]):
        ax.axvline(x, color="#555555", linewidth=0.9, zorder=0)
        for y, text in axis["ticks"]:
            ax.annotate(
                text,
                (x, y),
                xytext=(6, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
                color="#333333",
                # Nothing shines through: the lines of all trials with a value meet beside it.
                bbox={"facecolor": "white", "linewidth": 0, "pad": 1.5},
                zorder=5,
            )
    ax.set_xticks(range(len(parallel["axes"])), [axis["label"] for axis in parallel["axes"]])
    ax.set_yticks([])
    ax.grid(visible=False)
    ax.spines["left"].set_visible(False)
    ax.set_ylim(-0.05, 1.05)
    ax.margins(x=0.08)
    ax.set_title(parallel["shade_label"])


def draw_bars(ax: Axes, bars: Bars) -> None:
    """Draw bars from the top."""
    places = range(len(bars["labels"]))
    ax.barh(places, bars["lengths"], height=0.62, color=_BAR)
    for place, length in zip(places, bars["lengths"], strict=True):
        ax.annotate(
            f"{length:.2f}",
            (length, place),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=8.5,
        )
    ax.set_yticks(places, bars["labels"])
    ax.invert_yaxis()
    ax.grid(visible=False, axis="y")
    ax.set_xlim(0, max([*bars["lengths"], 0.1]) * 1.15)
    ax.set_xlabel(bars["x_label"])
