"""Curves in the terminal."""

import sys
from typing import Any

import plotext

from trainwright.commands.output import console
from trainwright.errors import TrainwrightError
from trainwright.texts import clean

_HEIGHT = 15
_WITHOUT_TERMINAL = 80


class NothingToPlot(TrainwrightError):
    """There is no number to draw."""


def plot(items: list[dict[str, Any]]) -> None:
    """Draw each metric's curve; what is no finite number is left out.

    Args:
        items: metrics as the API gives them, with `points`.

    Raises:
        NothingToPlot: none of them has numbers.
    """
    curves = {item["name"]: _curve(item["points"]) for item in items}
    drawn = {name: curve for name, curve in curves.items() if curve[0]}
    if not drawn:
        raise NothingToPlot("The run has logged no numbers.", hint="`metrics RUN` lists all.")
    screen = console()
    width = screen.width if screen.is_terminal else _WITHOUT_TERMINAL
    for name, (steps, values) in drawn.items():
        figure = plotext.figure
        figure.clear()
        figure.plot_size(width, _HEIGHT)
        figure.title(clean(name)[:width])
        figure.draw(figure.signal(steps, values).lines())
        figure.show(colorless=screen.no_color or not screen.is_terminal)


def _curve(points: list[dict[str, Any]]) -> tuple[list[float], list[float]]:
    steps: list[float] = []
    values: list[float] = []
    for index, point in enumerate(points):
        value = point["value"]
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if is_number and abs(value) <= sys.float_info.max:
            steps.append(index if point["step"] is None else point["step"])
            values.append(value)
    return steps, values
