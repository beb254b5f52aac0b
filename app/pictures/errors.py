"""Errors of pictures."""

from app.kernel.errors import NotFound


class NothingToPlot(NotFound):
    """There are no numbers that a picture could show."""

    code = "nothing_to_plot"
