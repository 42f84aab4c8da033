"""Which parts of the grid are known, apart from what was found there: nothing found is known as well."""

from collections.abc import Iterator
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Extent:
    """A stretch of the grid, both ends included, and when (on the monotonic clock) it was read."""

    first: int
    last: int
    read_at: float
    # What the engine remarked on it; repeated whenever it is used.
    infos: tuple[str, ...] = ()

    @property
    def steps(self) -> int:
        """How many points of the grid it has."""
        return self.last - self.first + 1


Coverage = tuple[Extent, ...]


def alive(coverage: Coverage, since: float) -> Coverage:
    """What was read no earlier than that."""
    return tuple(extent for extent in coverage if extent.read_at >= since)


def within(coverage: Coverage, first: int, last: int) -> Coverage:
    """The parts in a range, cut to it."""
    return tuple(
        replace(extent, first=max(extent.first, first), last=min(extent.last, last))
        for extent in coverage
        if extent.first <= last and extent.last >= first
    )


def gaps(coverage: Coverage, first: int, last: int) -> list[tuple[int, int]]:
    """The stretches of a range that are not covered."""
    found: list[tuple[int, int]] = []
    at = first
    for extent in within(coverage, first, last):
        if extent.first > at:
            found.append((at, extent.first - 1))
        at = extent.last + 1
    if at <= last:
        found.append((at, last))
    return found


def covered(coverage: Coverage, new: Extent, slack: float) -> Coverage:
    """The coverage with one more extent, which wins where it overlaps others.

    Neighbours read within `slack` seconds of one another become one that is as old as the
    older: a panel that refreshes would otherwise leave an extent behind every time.
    """
    parts = [*_around(coverage, new), new]
    parts.sort(key=lambda extent: extent.first)
    joined: list[Extent] = []
    for extent in parts:
        if joined and _are_alike(joined[-1], extent, slack):
            read_at = min(joined[-1].read_at, extent.read_at)
            joined[-1] = replace(joined[-1], last=extent.last, read_at=read_at)
        else:
            joined.append(extent)
    return tuple(joined)


def _around(coverage: Coverage, new: Extent) -> Iterator[Extent]:
    """What remains of a coverage outside an extent."""
    for extent in coverage:
        if extent.first < new.first:
            yield replace(extent, last=min(extent.last, new.first - 1))
        if extent.last > new.last:
            yield replace(extent, first=max(extent.first, new.last + 1))


def _are_alike(left: Extent, right: Extent, slack: float) -> bool:
    return left.last + 1 == right.first and left.infos == right.infos and abs(left.read_at - right.read_at) <= slack
