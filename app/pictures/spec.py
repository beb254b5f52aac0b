"""What a picture shows; JSON on its way to the program that draws it."""

from typing import Literal, NotRequired, TypedDict

Format = Literal["png", "svg"]
MEDIA_TYPES: dict[Format, str] = {"png": "image/png", "svg": "image/svg+xml"}
LARGEST = 1e150
"""No axis has ticks for more, or for less than as much below zero."""


class Line(TypedDict):
    """One curve of a panel.

    Attributes:
        label: for the legend; the same label has the same colour in every panel.
        colour: a number; the drawing has colours for 20.
        dash: 0: solid; up to 3: dashed in one way or another.
        x, y: as long as each other; None in ``y`` leaves a gap.
        is_crosses: whether a cross at each point is drawn instead of a line between them.
    """

    label: str
    colour: int
    dash: int
    x: list[float]
    y: list[float | None]
    is_crosses: NotRequired[bool]


class Panel(TypedDict):
    """One pair of axes.

    Attributes:
        x_label: of the axis; empty: x is time, in seconds since the start of the run.
        from_zero: whether the y axis begins there.
    """

    title: str
    x_label: str
    y_label: str
    from_zero: bool
    log_x: bool
    log_y: bool
    lines: list[Line]


class Span(TypedDict):
    """One bar of a timeline, in seconds since its beginning."""

    row: str
    start: float
    end: float
    note: str


class Mark(TypedDict):
    """One moment of a timeline, in seconds since its beginning."""

    at: float
    label: str


class Timeline(TypedDict):
    """Bars in rows, from the top."""

    rows: list[str]
    spans: list[Span]
    marks: list[Mark]


class ParallelAxis(TypedDict):
    """One upright axis; places along it are from 0 to 1.

    Attributes:
        ticks: places, and what stands there.
    """

    label: str
    ticks: list[tuple[float, str]]


class Parallel(TypedDict):
    """Lines across upright axes.

    Attributes:
        lines: of each line a place on every axis; None: it passes it by.
        shades: of each line from 0 to 1, the best; None: it has none.
        shade_label: what the shade says.
    """

    axes: list[ParallelAxis]
    lines: list[list[float | None]]
    shades: list[float | None]
    shade_label: str


class Bars(TypedDict):
    """Bars from the top, the longest first."""

    labels: list[str]
    lengths: list[float]
    x_label: str


class Picture(TypedDict):
    """A whole picture: panels, a timeline, lines across axes, or bars.

    Attributes:
        footer: small print below, such as what was left out.
        height_px: None: as high as it needs.
    """

    title: str
    footer: str
    format: Format
    width_px: int
    height_px: int | None
    panels: list[Panel]
    timeline: Timeline | None
    parallel: NotRequired[Parallel]
    bars: NotRequired[Bars]
