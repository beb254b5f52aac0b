"""The phases of a run as bars: a pure function of its events."""

from collections.abc import Sequence
from datetime import datetime

from app.pictures.errors import NothingToPlot
from app.pictures.spec import Mark, Span, Timeline
from app.pictures.texts import duration
from app.runs.states import TERMINAL, Status
from app.tables.run import RunEvent

_MOST_MARKS = 20
_INSTANT = frozenset({Status.NOT_STARTED, *TERMINAL})


def of_events(events: Sequence[RunEvent], now: datetime) -> Timeline:
    """Bars of the phases that a run went through.

    Args:
        events: of the run, in order.
        now: where the phase ends in which it is.

    Raises:
        NothingToPlot: it has no events.
    """
    if not events:
        raise NothingToPlot("Nothing is known yet of when the run was in which state.")
    began_at = events[0].created_at
    changes = [event for event in events if event.type == "state_changed"]
    spans: list[Span] = []
    for change, following in zip(changes, [*changes[1:], None], strict=True):
        if change.status in _INSTANT:
            continue
        start = (change.created_at - began_at).total_seconds()
        end = ((following.created_at if following else now) - began_at).total_seconds()
        going_on = "" if following else ", going on"
        note = duration(end - start) + going_on
        spans.append(Span(row=change.status, start=start, end=max(start, end), note=note))
    marks = [
        Mark(
            at=(event.created_at - began_at).total_seconds(),
            label=f"attempt {event.data['attempt']}",
        )
        for event in events
        if event.type == "attempt_started" and event.data.get("attempt", 1) > 1
    ]
    rows = [str(status) for status in Status if any(span["row"] == status for span in spans)]
    if not rows:
        raise NothingToPlot("The run has not been in any state that takes time.")
    return Timeline(rows=_in_order(rows), spans=spans, marks=marks[:_MOST_MARKS])


def _in_order(rows: Sequence[str]) -> list[str]:
    """Top down as a run goes; the exceptional ones last."""
    exceptional = [Status.NOT_RESPONDING, Status.CANCEL_REQUESTED]
    return sorted(rows, key=lambda row: (row in exceptional, list(Status).index(Status(row))))
