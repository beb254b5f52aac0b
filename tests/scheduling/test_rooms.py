"""Where the next nodes of a cluster go."""

from hypothesis import given
from hypothesis import strategies as st

from app.scheduling.rooms import Room, Size, spread

SIZE = Size(cores=2.0, memory_bytes=100, gpus=0)


def room(host: str, nodes: int, *, gpus: int = 0, free_gpus: int = 0) -> Room:
    size = Size(cores=2.0, memory_bytes=100, gpus=gpus)
    ids = tuple(str(number) for number in range(free_gpus))
    return Room(host, size, cores=2.0 * nodes, memory_bytes=1000, gpu_ids=ids)


def test_nodes_go_where_most_fit_and_so_to_different_hosts() -> None:
    places = spread([room("beta", 2), room("alpha", 2), room("small", 1)], count=5)

    assert [place.host for place in places] == ["alpha", "beta", "alpha", "beta", "small"]


def test_no_more_places_than_there_is_room() -> None:
    assert len(spread([room("alpha", 1), room("full", 0)], count=9)) == 1
    assert spread([], count=1) == []


def test_a_gpu_is_given_once() -> None:
    places = spread([room("alpha", 9, gpus=2, free_gpus=5)], count=9)

    assert [place.gpu_ids for place in places] == [("0", "1"), ("2", "3")]


def test_memory_counts_as_cores_do() -> None:
    tight = Room("tight", SIZE, cores=100.0, memory_bytes=250, gpu_ids=())

    assert tight.node_count == 2


@given(st.lists(st.integers(0, 5), max_size=5), st.integers(0, 12))
def test_places_are_within_the_room_and_evened_out(sizes: list[int], count: int) -> None:
    rooms = [room(f"h{number}", size) for number, size in enumerate(sizes)]

    places = spread(rooms, count=count)

    assert len(places) == min(count, sum(sizes))
    left = [found.node_count - sum(place.host == found.host for place in places) for found in rooms]
    assert all(number >= 0 for number in left)
    # A host that got a node had as many places left as any other when it got its last one.
    used = [number for number, size in zip(left, sizes, strict=True) if number < size]
    assert not used or max(left) <= min(used) + 1
