"""Work side by side."""

from threading import Event

import pytest

from trainwright.parallel import side_by_side


def test_the_first_failure_is_raised_at_once() -> None:
    released, ended = Event(), Event()

    def work(item: str) -> None:
        if item == "broken":
            raise ValueError(item)
        released.wait(30)
        ended.set()

    with pytest.raises(ValueError, match="broken"):
        side_by_side(work, ["slow", "broken", "slow"])

    assert not ended.is_set()
    released.set()
