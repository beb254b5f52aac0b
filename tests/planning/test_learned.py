"""How long runs take: learned from those most like the one in question."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from app.planning.learned import Past, choose, quantile

_SECONDS = st.floats(0, 1e6)


@given(st.lists(_SECONDS, min_size=1), st.floats(0, 1), st.floats(0, 1))
def test_quantiles_lie_within_and_in_order(values: list[float], one: float, other: float) -> None:
    low, high = sorted((one, other))
    found = [quantile(values, part) for part in (0, low, high, 1)]
    assert (found[0], found[-1]) == (min(values), max(values))
    tolerance = 1e-6 * max(values)
    assert all(b >= a - tolerance for a, b in pairwise(found))


@given(st.lists(st.builds(Past, _SECONDS, st.booleans(), st.booleans(), st.booleans())))
def test_what_is_learned_lies_among_what_took_place(past: list[Past]) -> None:
    found = choose(past)
    related = [item for item in past if item.same_experiment or item.same_cluster]
    assert (found is None) == (not related)
    if found is not None:
        seconds = [item.seconds for item in related]
        least, most = min(seconds), max(seconds)
        assert least <= found.shortest_seconds * (1 + 1e-9)
        assert found.longest_seconds <= most * (1 + 1e-9)
        assert 1 <= found.runs <= len(related)


def test_three_that_are_alike_go_before_many_that_are_not() -> None:
    alike = [Past(seconds, True, True, True) for seconds in (1.0, 2.0, 3.0)]
    others = [Past(100.0, True, False, True)] * 50
    found = choose([*others, *alike])
    assert found is not None
    assert (found.of, found.runs) == ("experiment, program and cluster", 3)
    few = choose([*others, *alike[:2]])
    assert few is not None
    assert (few.of, few.runs) == ("experiment", 52)
