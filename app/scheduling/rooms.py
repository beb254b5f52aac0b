"""The room that hosts have left, indexed by how many nodes of a size fit where."""

import heapq
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from operator import ge

from app.scheduling.types import Host, Size

_ROUNDING = 1e-9


_NOTHING = Size(0.0, 0, 0)


class NodeSizes:
    """What a node of a nominal size really gets, on hosts that give one node so much at most.

    Sizes larger than every host are cut down, so that scripts written for large machines still
    find a place (docs/decisions, 0003): of GPUs they get as many as the best host gives. Where a
    host holds the size whole, none is cut down elsewhere.
    """

    def __init__(self, hosts: Iterable[Host]) -> None:
        self._limits = {host.node_limit for host in hosts}
        self._least: dict[Size, Size] = {}

    def on(self, limit: Size, nominal: Size) -> Size:
        """What a node gets where it gets so much at most; nothing where it is not to be."""
        got = _cut(nominal, limit)
        least = self._least.get(nominal)
        if least is None:
            cuts = [_cut(nominal, other) for other in self._limits]
            gpus = max((cut.gpus for cut in cuts), default=0)
            least = nominal if nominal in cuts else Size(0.0, 0, gpus)
            self._least[nominal] = least
        return got if all(map(ge, got, least)) else _NOTHING


def _cut(nominal: Size, limit: Size) -> Size:
    return Size(
        min(nominal.cores, limit.cores),
        min(nominal.memory_bytes, limit.memory_bytes),
        min(nominal.gpus, limit.gpus),
    )


def fit_count(free: Size, size: Size) -> int:
    """How many nodes of a size there is room for; none of what a host without room gives."""
    if size.cores <= 0 or size.memory_bytes <= 0:
        return 0
    fits = min(
        int(free.cores / size.cores + _ROUNDING),
        int(free.memory_bytes / size.memory_bytes + _ROUNDING),
    )
    if size.gpus:
        fits = min(fits, free.gpus // size.gpus)
    return max(0, fits)


class Holding:
    """What hosts would hold if nothing were on them, those that take no work now as well."""

    def __init__(self, hosts: Sequence[Host]) -> None:
        self._sizes = NodeSizes(hosts)
        # Many hosts are alike.
        self._kinds = Counter((host.total, host.node_limit) for host in hosts)
        self._counts: dict[Size, int] = {}

    def count(self, nominal: Size) -> int:
        """How many nodes of a size."""
        if nominal not in self._counts:
            self._counts[nominal] = sum(
                fit_count(total, self._sizes.on(limit, nominal)) * hosts
                for (total, limit), hosts in self._kinds.items()
            )
        return self._counts[nominal]


class _Index:
    """Hosts by how many nodes of one nominal size fit: kept right while rooms change."""

    def __init__(self) -> None:
        self.fits: dict[str, int] = {}
        self.total = 0
        # fit → heap of (order of the host, host); entries whose fit has changed are skipped.
        self.buckets: dict[int, list[tuple[int, str]]] = {}

    def put(self, order: int, host: str, fit: int) -> None:
        old = self.fits.get(host, 0)
        if fit == old and host in self.fits:
            return
        self.total += fit - old
        self.fits[host] = fit
        if fit:
            heapq.heappush(self.buckets.setdefault(fit, []), (order, host))

    def add(self, order: int, host: str, fit: int) -> None:
        """One more host, behind all that there are."""
        self.fits[host] = fit
        if fit:
            self.total += fit
            self.buckets.setdefault(fit, []).append((order, host))

    def copy(self) -> "_Index":
        """The same index, to try something on."""
        twin = _Index()
        twin.fits, twin.total = dict(self.fits), self.total
        twin.buckets = {fit: list(bucket) for fit, bucket in self.buckets.items()}
        return twin

    def first(self, fit: int) -> str | None:
        """The first host with exactly this fit."""
        bucket = self.buckets.get(fit)
        while bucket:
            host = bucket[0][1]
            if self.fits[host] == fit:
                return host
            heapq.heappop(bucket)
        self.buckets.pop(fit, None)
        return None


class Rooms:
    """What hosts have left to hand out."""

    def __init__(self, hosts: Collection[Host], free: Mapping[str, Size], sizes: NodeSizes) -> None:
        self._sizes = sizes
        self._limits = {host.name: host.node_limit for host in hosts}
        self._orders = {name: order for order, name in enumerate(sorted(self._limits))}
        self._closed = {host.name for host in hosts if not host.takes_new_nodes}
        self.free = {name: free[name] for name in self._limits}
        self._indexes: dict[Size, _Index] = {}
        self._cache: dict[tuple[Size, Size], dict[Size, int]] = {}

    def size_on(self, host: str, nominal: Size) -> Size:
        """What a node really gets there."""
        return self._sizes.on(self._limits[host], nominal)

    def count(self, nominal: Size) -> int:
        """How many nodes of a size fit, on all hosts together."""
        return self._index(nominal).total

    def count_on(self, host: str, nominal: Size) -> int:
        """How many nodes of a size fit on a host."""
        return self._index(nominal).fits.get(host, 0)

    def give(self, host: str, size: Size) -> None:
        """A node of this real size is gone: its room is free again."""
        if host in self.free:
            free = self.free[host]
            self.set(
                host,
                Size(
                    free.cores + size.cores,
                    free.memory_bytes + size.memory_bytes,
                    free.gpus + size.gpus,
                ),
            )

    def take(self, host: str, size: Size) -> None:
        """A node of this real size is made."""
        self.give(host, Size(-size.cores, -size.memory_bytes, -size.gpus))

    def set(self, host: str, free: Size) -> None:
        """A host has so much left."""
        self.free[host] = free
        for nominal, index in self._indexes.items():
            index.put(self._orders[host], host, self._fit(host, nominal))

    def choose(self, nominal: Size, count: int, *, packs: bool) -> list[str] | None:
        """Hosts for so many nodes, one name a node; None when not all of them fit.

        Takes the room. Packed: on the host where they just fit, or else on as few as can be.
        Spread: the next node goes where most fit, so that nodes which work together share a
        host's cores and network card with as few others as can be. Among equals the first by name.
        """
        index = self._index(nominal)
        if index.total < count:
            return None
        chosen: list[str] = []
        while len(chosen) < count:
            host, at_once = self._next(index, count - len(chosen), packs=packs)
            size = self.size_on(host, nominal)
            for _ in range(at_once):
                self.take(host, size)
                chosen.append(host)
        return chosen

    def _next(self, index: _Index, missing: int, *, packs: bool) -> tuple[str, int]:
        fits = sorted(index.buckets)
        wanted = [fit for fit in fits if fit >= missing] if packs else []
        for fit in [*wanted, *reversed(fits)]:
            host = index.first(fit)
            if host is not None:
                return host, (min(fit, missing) if packs else 1)
        raise AssertionError("the total says that more nodes fit than hosts have room for")

    def copy(self, *sizes: Size) -> "Rooms":
        """The same rooms, to try something on.

        Args:
            sizes: nodes of which are going to be counted; others can be too, for more time.
        """
        twin = Rooms((), {}, self._sizes)
        twin._limits, twin._orders, twin._cache = self._limits, self._orders, self._cache
        twin.free, twin._closed = dict(self.free), self._closed
        twin._indexes = {size: self._index(size).copy() for size in sizes}
        return twin

    def _index(self, nominal: Size) -> _Index:
        index = self._indexes.get(nominal)
        if index is None:
            index = self._indexes[nominal] = _Index()
            # In order: what is sorted is a heap.
            for host, order in self._orders.items():
                index.add(order, host, self._fit(host, nominal))
        return index

    def _fit(self, host: str, nominal: Size) -> int:
        if host in self._closed:
            return 0
        # Many hosts are alike: what was found for one holds for all of them.
        limit = self._limits[host]
        found = self._cache.get((nominal, limit))
        if found is None:
            found = self._cache[nominal, limit] = {}
        free = self.free[host]
        fit = found.get(free)
        if fit is None:
            fit = found[free] = fit_count(free, self._sizes.on(limit, nominal))
        return fit
