"""Why an image was built: which inputs differ from the nearest earlier one."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Difference:
    """One input that differs.

    Attributes:
        input: name of the input, e.g. ``requirements``.
        added: what is there now and was not, for lists; the present value otherwise.
        removed: what was there and is not now; the earlier value otherwise.
    """

    input: str
    added: list[str]
    removed: list[str]


def differences(spec: dict[str, Any], earlier: dict[str, Any]) -> list[Difference]:
    """The inputs of two canonical specifications that differ, in the order of the first.

    An input that only the earlier one has counts too: Debian packages, for instance, are in a
    specification only where there are some.
    """
    found = []
    for name in [*spec, *(name for name in earlier if name not in spec)]:
        now, before = _values(spec.get(name)), _values(earlier.get(name))
        added = [value for value in now if value not in before]
        removed = [value for value in before if value not in now]
        if added or removed:
            found.append(Difference(input=name, added=added, removed=removed))
        elif now != before:
            found.append(Difference(input=name, added=now, removed=before))
    return found


def nearest(
    spec: dict[str, Any], earlier: Iterable[tuple[str, dict[str, Any]]]
) -> tuple[str, list[Difference]] | None:
    """The image with the fewest differing values, and what differs; None where there is none.

    Args:
        spec: canonical specification of the image in question.
        earlier: hash and canonical specification of earlier images, the newest first.
    """
    compared = [(image_id, differences(spec, other)) for image_id, other in earlier]
    if not compared:
        return None
    return min(compared, key=lambda pair: sum(len(d.added) + len(d.removed) for d in pair[1]))


def _values(value: Any) -> list[str]:
    if value is None:
        return []
    if isinstance(value, list):
        return [str(item) for item in value]
    return [str(value).lower() if isinstance(value, bool) else str(value)]
