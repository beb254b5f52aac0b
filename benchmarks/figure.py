"""What a benchmark reports."""

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Figure:
    """One measured figure beside the floor that was measured in the same call.

    Attributes:
        name: of the figure.
        value: the median of the repetitions.
        unit: of value and floor.
        floor: what this machine can do at all.
        ratio: value over floor.
    """

    name: str
    value: float
    unit: str
    floor: float
    ratio: float

    def as_json(self) -> dict[str, object]:
        """The figure as one JSON line's object."""
        return asdict(self)


def over_floor(name: str, *, value: float, unit: str, floor: float) -> Figure:
    """A figure with its ratio, all rounded to a tenth of a thousandth."""
    return Figure(name, round(value, 4), unit, round(floor, 4), round(value / floor, 4))
