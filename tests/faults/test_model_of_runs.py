"""A run of two nodes under random faults, as a model: the product's decisions and its transition
function between two reconcilers that steal each other's lease, runners that die, fall silent or
repeat themselves, late messages, cancels, and a clock that jumps.

Rows, messages and nodes are plain objects here; what is decided of them is the product's.
"""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy.ext.asyncio import AsyncSession

from app.runs.decide import (
    NodeView,
    Outcome,
    hung_nodes,
    is_tried_again,
    lost_nodes,
    outcome,
    silent_nodes,
)
from app.runs.states import Status
from app.runs.transitions import transition
from app.tables.run import Run, RunEvent
from tests.faults.invariants import ENDS, FOLLOWS

NODES = 2
MAX_ATTEMPTS = 3
LEASE_SECONDS = 30.0
SILENT_SECONDS = 30.0
LOST_SECONDS = 600.0
OVER = {"Finished", "Failed", "Lost"}
_NEXT: dict[str, Status] = {
    Status.STARTING: Status.PREPARING,
    Status.PREPARING: Status.QUEUED,
}
indices = st.integers(0, NODES - 1)
workers = st.integers(0, 1)


class Node:
    """A row of a node, and the thing at the provider."""

    def __init__(self, attempt: int, index: int) -> None:
        self.attempt, self.index = attempt, index
        self.state = "Launched"
        self.result: dict[str, Any] | None = None
        self.heard_at = 0.0
        self.is_alive = True


class RunMachine(RuleBasedStateMachine):
    """Steps of everybody who may touch a run, in any order."""

    @initialize()
    def submit(self) -> None:
        self.events: list[RunEvent] = []
        # What the transition function needs of a session: somewhere to put events and hints.
        self.session = cast(AsyncSession, SimpleNamespace(add=self.events.append, info={}))
        self.run_row = Run(
            id="run_model", kind="job", status="NotStarted", event_seq=0, attempt=0,
            properties={}, blockers=[], max_attempts=MAX_ATTEMPTS,
        )  # fmt: skip
        self.now = 0.0
        self.nodes: list[Node] = []
        self.things: dict[tuple[int, int], int] = {}
        self.lease: tuple[int, float] | None = None
        self.tokens = 0
        self.held: list[tuple[int, list[NodeView]] | None] = [None, None]
        self.was_cancel_accepted = False
        self.ended: str | None = None
        self.become(Status.STARTING)

    def become(self, status: Status) -> None:
        transition(self.session, self.run_row, status, actor="model")

    def current(self) -> list[Node]:
        return [node for node in self.nodes if node.attempt == self.run_row.attempt]

    # Reconcilers: take the lease and look, and some time later act on what was seen.

    @rule(who=workers)
    def load(self, who: int) -> None:
        if self.lease is not None and self.lease[1] > self.now:
            return
        self.tokens += 1
        self.lease = (self.tokens, self.now + LEASE_SECONDS)
        views = [
            NodeView(
                index=node.index,
                state=node.state,
                is_alive=node.is_alive,
                heartbeat_age_seconds=self.now - node.heard_at,
                result=node.result,
            )
            for node in self.current()
        ]
        self.held[who] = (self.tokens, views)

    @rule(who=workers)
    def apply(self, who: int) -> None:
        held, self.held[who] = self.held[who], None
        if held is None or self.lease is None or held[0] != self.lease[0]:
            return  # fenced: somebody newer owns the row
        self.step(held[1])
        self.lease = None

    @rule(who=workers)
    def die(self, who: int) -> None:
        self.held[who] = None

    def step(self, views: list[NodeView]) -> None:
        status = self.run_row.status
        if status in _NEXT:
            self.become(_NEXT[status])
        elif status in ENDS:
            return
        elif status == Status.CANCEL_REQUESTED:
            for node in self.current():
                node.is_alive = False
            self.finish(Outcome(Status.CANCELED))
        elif not views:
            return
        elif lost := (
            lost_nodes(views)
            or hung_nodes(views, timeout_seconds=LOST_SECONDS, could_report_seconds=1e9)
        ):
            self.lose(lost)
        elif all(view.state in OVER for view in views):
            end = outcome(views, is_cancel_requested=False)
            if self.run_row.attempt < MAX_ATTEMPTS and is_tried_again(end, retry_on=[]):
                self.begin_again()
            else:
                self.finish(end)
        elif silent_nodes(views, timeout_seconds=SILENT_SECONDS) and status == Status.RUNNING:
            self.become(Status.NOT_RESPONDING)

    def lose(self, lost: list[int]) -> None:
        rows = self.current()
        if not any(node.state not in OVER and node.index in lost for node in rows):
            return  # it has finished between the look and the lock
        for node in rows:
            node.state = node.state if node.state in OVER else "Lost"
        if self.run_row.status in (Status.QUEUED, Status.RUNNING, Status.FINALIZING):
            self.become(Status.NOT_RESPONDING)

    def begin_again(self) -> None:
        self.remove_things()
        for status in (Status.NOT_RESPONDING, Status.QUEUED):
            if self.run_row.status != status:
                self.become(status)

    def finish(self, end: Outcome) -> None:
        self.remove_things()
        passes = (Status.RUNNING, Status.NOT_RESPONDING)
        if self.run_row.status in passes and end.status != Status.FAILED:
            self.become(Status.FINALIZING)
        self.become(end.status)
        self.ended = str(end.status)

    def remove_things(self) -> None:
        for node in self.current():
            node.is_alive = False
            self.things.pop((node.attempt, node.index), None)

    # The planner.

    @precondition(lambda self: self.run_row.status == Status.QUEUED)
    @rule()
    def place(self) -> None:
        if any(node.state not in OVER for node in self.current()):
            return
        self.run_row.attempt += 1
        for index in range(NODES):
            self.nodes.append(Node(self.run_row.attempt, index))
            self.nodes[-1].heard_at = self.now
            key = (self.run_row.attempt, index)
            self.things[key] = self.things.get(key, 0) + 1

    # Runners; what they say may be late, doubled, or of an attempt that is over.

    def node(self, attempt: int, index: int) -> Node | None:
        """The row that a message is about; None: it is answered 410."""
        is_over = self.run_row.status in ENDS or attempt != self.run_row.attempt
        found = [n for n in self.nodes if (n.attempt, n.index) == (attempt, index)]
        return None if is_over or not found or found[0].state in OVER else found[0]

    @rule(attempt=st.integers(1, MAX_ATTEMPTS), index=indices)
    def heartbeat(self, attempt: int, index: int) -> None:
        node = self.node(attempt, index)
        if node is not None:
            node.heard_at = self.now

    @rule(attempt=st.integers(1, MAX_ATTEMPTS), index=indices, again=st.booleans())
    def started(self, attempt: int, index: int, again: bool) -> None:
        for _ in range(1 + again):
            node = self.node(attempt, index)
            if node is None or node.state not in ("Launched", "Ready"):
                return
            node.state = "Running"
            if self.run_row.status in (Status.QUEUED, Status.NOT_RESPONDING):
                self.become(Status.RUNNING)

    @rule(
        attempt=st.integers(1, MAX_ATTEMPTS), index=indices, code=st.sampled_from([0, 0, 0, 1]),
        again=st.booleans(),
    )  # fmt: skip
    def finished(self, attempt: int, index: int, code: int, again: bool) -> None:
        for _ in range(1 + again):
            node = self.node(attempt, index)
            if node is None:
                return
            node.state = "Finished"
            node.result = {"processes": [{"exit_code": code}]}
            if all(one.state in OVER for one in self.current()):
                if self.run_row.status == Status.QUEUED:
                    self.become(Status.RUNNING)
                if self.run_row.status in (Status.RUNNING, Status.NOT_RESPONDING):
                    self.become(Status.FINALIZING)

    @rule(index=indices)
    def runner_dies(self, index: int) -> None:
        for node in self.current():
            if node.index == index:
                node.is_alive = False

    # Everything else.

    @rule()
    def cancel(self) -> None:
        if self.run_row.status in {*ENDS, "Finalizing", "CancelRequested"}:
            return
        self.become(Status.CANCEL_REQUESTED)
        self.was_cancel_accepted = True

    @rule(seconds=st.sampled_from([1.0, 10.0, 31.0, 601.0, 3600.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    # What must hold after every step.

    @invariant()
    def history_is_lawful(self) -> None:
        status = "NotStarted"
        for number, event in enumerate(getattr(self, "events", []), start=1):
            assert event.seq == number
            assert event.data["from"] == status
            status = event.data["to"]
            assert status in FOLLOWS[event.data["from"]]

    @invariant()
    def an_end_is_final_and_an_accepted_cancel_wins(self) -> None:
        if getattr(self, "ended", None) is not None:
            assert self.run_row.status == self.ended
            assert not self.was_cancel_accepted or self.ended == "Canceled"

    @invariant()
    def no_place_has_two_things_and_only_the_current_attempt_has_any(self) -> None:
        for (attempt, _), count in getattr(self, "things", {}).items():
            assert count == 1
            assert attempt == self.run_row.attempt
        assert getattr(self, "ended", None) is None or not self.things

    def teardown(self) -> None:
        """Left alone, with one reconciler and nothing but honest runners, it ends."""
        if not hasattr(self, "events"):
            return
        for _ in range(100):
            if self.run_row.status in ENDS:
                return
            if self.run_row.status == Status.QUEUED:
                self.place()
            for node in self.current():
                if node.is_alive:
                    self.started(node.attempt, node.index, False)
                    self.finished(node.attempt, node.index, 0, False)
            self.now += LEASE_SECONDS + 1
            self.load(0)
            self.apply(0)
        raise AssertionError(f"the run never ends: {self.run_row.status}")


RunMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


@pytest.mark.fault(40)
class TestRunMachine(RunMachine.TestCase):  # type: ignore[misc, valid-type]
    """All that Hypothesis tries."""
