"""Legends of compared runs: as wide as the picture at most, and names end as they end."""

import pytest
from matplotlib.figure import Figure

from app.pictures.drawing import draw
from app.pictures.spec import Line, Panel, Picture
from app.pictures.texts import label


def drawn(labels: list[str], width_px: int) -> Figure:
    lines = [
        Line(label=text, colour=number, dash=0, x=[0, 1], y=[number, 1])
        for number, text in enumerate(labels)
    ]
    panel = Panel(
        title="loss", x_label="step", y_label="", from_zero=False, log_x=False, log_y=False,
        lines=lines,
    )  # fmt: skip
    return draw(
        Picture(
            title="runs", footer="", format="png", width_px=width_px, height_px=None,
            panels=[panel], timeline=None,
        )
    )  # fmt: skip


@pytest.mark.parametrize("width_px", [300, 600, 900, 1400])
@pytest.mark.parametrize("name", ["sweep_06h34amdldrh1e6mh4bsgl48uo", "W" * 40, "i" * 40])
def test_numbers_of_trials_are_not_cut_off(name: str, width_px: int) -> None:
    figure = drawn([f"{name} {number}" for number in range(10)], width_px)

    figure.draw_without_rendering()

    (legend,) = figure.legends
    assert legend.get_window_extent().x1 <= width_px
    ends = [text.get_text().rsplit(" ", 1)[-1] for text in legend.get_texts()]
    assert ends == [str(number) for number in range(10)]


def test_long_names_are_shortened_in_the_middle() -> None:
    name = label("the very long name that somebody has given to a sweep 17")
    assert (name, len(name)) == ("the very long name that somebod…en to a sweep 17", 48)
    assert label("a name of 16 (2)", longest=12) == "a name … (2)"
    assert label("short", longest=5) == "short"
