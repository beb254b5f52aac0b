"""The life of one node: order, source, inputs, start together, watch, deliver, finish."""

from __future__ import annotations

import _thread
import os
import signal
import sys
import time
from typing import Any

from workers.runner import crash_points
from workers.runner.api import Channel, Endpoint, persist
from workers.runner.attendants import start_attendants
from workers.runner.checkpoints import CheckpointKeeper
from workers.runner.control import PEERS_DONE, Control
from workers.runner.environment import process_environment, resolve
from workers.runner.errors import Fenced, GaveUp, PrepareError, Refused, Stopped
from workers.runner.events import EventSender, Heartbeat, Ticket, obey_stop
from workers.runner.fetch import fetch_files
from workers.runner.follow import Follower
from workers.runner.inputs import Inputs
from workers.runner.launching import Launch, make_launch
from workers.runner.notes import Notes
from workers.runner.order import Order, inside, parse_order
from workers.runner.outputs import publish_outputs
from workers.runner.places import Places
from workers.runner.processes import NodeProcess, Prepared
from workers.runner.quiet import Quiet
from workers.runner.reach import Peer, unanswering
from workers.runner.records import RecordShipper
from workers.runner.redaction import Redactor
from workers.runner.secret_files import SecretFiles
from workers.runner.shipping import LogShipper
from workers.runner.supervise import supervise

EXIT_FINISHED = 0
EXIT_FENCED = 3
EXIT_UNDELIVERED = 4
EXIT_NOT_PREPARED = 5
EXIT_STOPPED_EARLY = 6
BAD_ORDER_DELIVER_SECONDS = 60.0
SIGNALLED_DELIVER_SECONDS = 10.0
START_WAIT_SECONDS = 1.0
"""So long the control plane may wait with its answer before this node looks up from waiting."""


def main() -> int:
    """Work as the node whose folder is the current one, and return the exit status."""
    control = Control()

    def stop(number: int) -> None:
        if number == signal.SIGTERM and control.is_stop_requested:
            return  # the control plane repeats itself, and does not mean to hurry a delivery
        control.request_stop()
        control.hurry(deliver_seconds=SIGNALLED_DELIVER_SECONDS)

    for number in (signal.SIGTERM, signal.SIGINT):
        # A thread of its own: the interrupted code may hold the locks that `stop` needs.
        signal.signal(number, lambda number, _: _thread.start_new_thread(stop, (number,)))
    node_dir = os.getcwd()
    url = os.environ["TRAINWRIGHT_ENDPOINT"].rstrip("/")
    endpoint = Endpoint(url, os.path.join(node_dir, "token"), control)
    try:
        return Node(endpoint, node_dir=node_dir).work()
    except Fenced as reason:
        return _say(f"disowned: {reason}", EXIT_FENCED)
    except GaveUp as reason:
        return _say(f"not everything was delivered: {reason}", EXIT_UNDELIVERED)
    except Stopped as reason:
        return _say(str(reason), EXIT_STOPPED_EARLY)
    except Refused as refusal:
        return _say(f"refused: {refusal}", EXIT_NOT_PREPARED)


class Node:
    """One node of one attempt.

    Args:
        endpoint: the control plane.
        node_dir: the node's own folder, absolute.
    """

    def __init__(self, endpoint: Endpoint, *, node_dir: str) -> None:
        self._endpoint = endpoint
        self._control = endpoint.control
        self._node_dir = node_dir
        self._work_dir = os.path.join(node_dir, "work")
        self._spool_dir = os.path.join(node_dir, "spool")
        self._records_path = os.path.join(self._spool_dir, "records.jsonl")
        self._started_marker = os.path.join(node_dir, "started")
        for folder in (self._work_dir, self._spool_dir):
            os.makedirs(folder, exist_ok=True)
        self._inputs = Inputs(folder=os.path.join(node_dir, "inputs"), work_dir=self._work_dir)
        self._places = Places(os.path.basename(node_dir), endpoint_url=endpoint.url)
        self._events = EventSender(endpoint)
        redactor = Redactor()
        self._secrets = SecretFiles(node_dir=node_dir, redactor=redactor)
        self._shipper = LogShipper(endpoint, spool_dir=self._spool_dir, redactor=redactor)
        self._notes = Notes(self._shipper.open_own_stream, redactor)
        self._records = RecordShipper(endpoint, path=self._records_path, notes=self._notes)

    def work(self) -> int:
        """Do the whole work of the node and return the runner's exit status.

        Raises:
            Fenced, GaveUp, Stopped, Refused: why it ended early.
        """
        try:
            return self._work()
        finally:
            self._secrets.wipe()

    def _work(self) -> int:
        self._events.start()
        channel = self._endpoint.channel()
        data = persist(lambda: channel.get_json("/order"), self._control)
        channel.close()
        crash_points.reached(crash_points.ORDER_TAKEN)
        try:
            order = parse_order(data)
        except PrepareError as error:
            return self._fail(error, deliver_seconds=BAD_ORDER_DELIVER_SECONDS)
        self._control.traceparent = order.traceparent
        self._shipper.prefix = order.stream_prefix
        self._shipper.budget.limit_bytes = order.log_spool_bytes
        self._shipper.budget.stream_limit_bytes = order.log_stream_bytes
        heartbeat = Heartbeat(self._endpoint, interval_seconds=order.heartbeat_seconds)
        heartbeat.start()
        try:
            launch = make_launch(
                order, node_dir=self._node_dir, control=self._control, notes=self._notes
            )
            processes = self._prepare(order)
            heartbeat.phase = "ready"
            told = self._await_start(order, processes, launch)
        except PrepareError as error:
            return self._fail(error, deliver_seconds=order.deliver_seconds)
        except OSError as error:
            problem = PrepareError("prepare_failed", f"{error.filename}: {error.strerror}")
            return self._fail(problem, deliver_seconds=order.deliver_seconds)
        except Stopped:
            processes, told = [], {}
        finally:
            self._control.end_preparing()
        self._shipper.start()
        self._records.start()
        heartbeat.quiet = Quiet(
            [process for process, _ in processes],
            shipper=self._shipper,
            records_path=self._records_path,
        )
        heartbeat.phase = "running"
        reason: str | None = self._control.stop_reason
        keeper = None
        if processes:
            # Before they start: what is there then is known.
            keeper = self._make_keeper(order)
            reason = self._run(order, processes, launch, told, keeper)
        heartbeat.phase, heartbeat.quiet = "collecting", None
        ended = [process for process, _ in processes]
        self._deliver(order, ended, launch.helpers, reason, keeper)
        heartbeat.close()
        return EXIT_FINISHED

    def _prepare(self, order: Order) -> list[Prepared]:
        if os.path.exists(self._started_marker):
            raise PrepareError("runner_died", "an earlier runner died after it had started")
        self._secrets.prepare(self._endpoint, order)
        fetch_files(
            self._endpoint,
            order.source,
            self._work_dir,
            objects_dir=order.objects_dir,
            what="source",
        )
        for path, text in order.texts.items():
            with open(inside(self._work_dir, path), "w", encoding="utf-8") as file:
                file.write(text)
        self._inputs.prepare(self._endpoint, order)
        for folder in (*order.collect, *order.follow):
            os.makedirs(inside(self._work_dir, folder), exist_ok=True)
        here = os.path.dirname(os.path.abspath(__file__))
        prepared = []
        for item in order.processes:
            environment = process_environment(
                order,
                item,
                input_paths=self._inputs.paths,
                records_path=self._records_path,
                standin_dir=os.path.join(here, "standin"),
                beside_azureml_dir=os.path.join(here, "beside_azureml"),
            )
            environment.update(self._secrets.variables)
            process = NodeProcess(
                argv=[resolve(argument, self._inputs.paths) for argument in item.argv],
                stream=self._shipper.open_stream(item.stream),
                control=self._control,
            )
            prepared.append(Prepared(process, environment))
        return prepared

    def _await_start(
        self, order: Order, processes: list[Prepared], launch: Launch
    ) -> dict[str, Any]:
        """Say that the node is ready, wait for the word to start with all others, return it."""
        place: dict[str, Any] = {}
        if order.ports is not None:
            address = self._places.take_address()
            ports = self._places.take_ports(order.ports.wanted, first=order.ports.first)
            # A node may keep ports for others without a process of its own.
            launch.open(address, ports, processes[0].environment if processes else {})
            place = {"address": address, "ports": ports}
        channel = self._endpoint.channel()
        answer = self._start_word(channel, self._events.post("ready", **place).wait())
        if missing := self._unanswering(answer, order):
            # Perhaps they have ended meanwhile, and nobody needs them any more.
            answer = self._start_word(channel, {})
            there = {peer["node"] for peer in answer.get("peers") or []}
            missing = [peer for peer in missing if peer.node in there]
        channel.close()
        if missing:
            raise PrepareError("peers_unreachable", _words(missing, order))
        for process, more in zip(processes, answer.get("environments") or []):
            process.environment.update(more)
        return answer

    def _start_word(self, channel: Channel, answer: dict[str, Any]) -> dict[str, Any]:
        """Wait until all nodes are ready; returns what comes with the word to start."""
        beat = {"phase": "ready", "wait_seconds": START_WAIT_SECONDS}
        while answer.get("command") != "start":
            obey_stop(answer, self._control)
            if answer.get("command") == "stop":
                raise Stopped("stopped before the start")
            # The answer waits until all nodes are ready; one that did not is no reason to hurry.
            began = time.monotonic()
            answer = persist(lambda: channel.post_json("/heartbeat", beat), self._control)
            if answer.get("command") == "continue":
                self._control.rest(max(0.0, began + START_WAIT_SECONDS - time.monotonic()))
        return answer

    def _unanswering(self, answer: dict[str, Any], order: Order) -> list[Peer]:
        peers = [
            Peer(int(peer["node"]), str(peer["address"]), int(peer["port"]))
            for peer in answer.get("peers") or []
        ]
        return unanswering(peers, seconds=order.reach_seconds, control=self._control)

    def _make_keeper(self, order: Order) -> CheckpointKeeper | None:
        if order.checkpoints is None:
            return None
        return CheckpointKeeper(
            self._endpoint,
            work_dir=self._work_dir,
            folder=order.checkpoints,
            held_dir=os.path.join(self._node_dir, "held"),
            notes=self._notes,
        )

    def _run(
        self,
        order: Order,
        processes: list[Prepared],
        launch: Launch,
        told: dict[str, Any],
        keeper: CheckpointKeeper | None,
    ) -> str | None:
        follower = Follower(
            work_dir=self._work_dir,
            folders=order.follow,
            shipper=self._shipper,
            notes=self._notes,
        )
        with open(self._started_marker, "wb"):
            pass
        launch.begin(processes, cwd=self._work_dir, told=told)
        crash_points.reached(crash_points.SCRIPT_STARTED)
        self._events.post("started")
        follower.start()
        attendants = start_attendants(
            order, self._endpoint, work_dir=self._work_dir, events=self._events
        )
        if keeper is not None:
            keeper.start()
        reason = supervise(
            [process for process, _ in processes],
            order,
            self._control,
            helpers=launch.helpers,
            on_end=lambda place, process: self._events.post(
                "process_ended", place=place, **process.ending()
            ),
        )
        launch.close()
        for attendant in attendants:
            attendant.close()
        if keeper is not None:
            keeper.close()
        self._control.end_work(deliver_seconds=order.deliver_seconds)
        follower.close()
        if reason is not None and self._control.stopped_because is not None:
            self._notes.write(f"the processes were stopped: {self._control.stopped_because}")
        return reason

    def _deliver(
        self,
        order: Order,
        processes: list[NodeProcess],
        helpers: list[NodeProcess],
        reason: str | None,
        keeper: CheckpointKeeper | None,
    ) -> None:
        self._control.end_work(deliver_seconds=order.deliver_seconds)
        # At once: delivering may take a day.
        self._secrets.wipe()
        self._inputs.remove_outside()
        crash_points.reached(crash_points.SCRIPT_ENDED)
        reports = [process.report() for process in processes]
        bad = [helper.report() for helper in helpers if helper.ended_badly]
        more = {"helpers": bad} if bad else {}
        exited = self._events.post("exited", processes=reports, reason=reason, **more)
        is_partial = reason != PEERS_DONE and (
            reason is not None or bool(bad) or any(process.has_failed for process in processes)
        )
        if keeper is not None and is_partial and _keeps_checkpoint(exited):
            # First: of an attempt that has to give way, the outputs are not asked for.
            keeper.keep_last()
        if processes and order.collect:
            self._publish(order, is_partial=is_partial)
        crash_points.reached(crash_points.OUTPUTS_PUBLISHED)
        self._records.close()
        streams = self._shipper.seal_and_drain()
        exited.wait()
        self._events.post("finished", streams=streams).wait()
        crash_points.reached(crash_points.END_REPORTED)

    def _publish(self, order: Order, *, is_partial: bool) -> None:
        try:
            publish_outputs(
                self._endpoint,
                work_dir=self._work_dir,
                folders=order.collect,
                is_partial=is_partial,
                notes=self._notes,
            )
        except Refused as refusal:
            message = f"the outputs were refused: {refusal}"
            self._notes.write(message)
            self._events.post("failed", code="outputs_refused", message=message).wait()

    def _fail(self, error: PrepareError, *, deliver_seconds: float) -> int:
        self._control.end_preparing()
        self._control.end_work(deliver_seconds=deliver_seconds)
        self._inputs.remove_outside()
        self._events.post("failed", code=error.code, message=error.message).wait()
        return _say(f"{error.code}: {error.message}", EXIT_NOT_PREPARED)


def _keeps_checkpoint(exited: Ticket) -> bool:
    try:
        return bool(exited.wait().get("keeps_checkpoint"))
    except Refused:  # which is told in the end, after the outputs
        return False


def _words(missing: list[Peer], order: Order) -> str:
    places = ", ".join(f"node {peer.node} ({peer.address}:{peer.port})" for peer in missing)
    return (
        f"no answer from {places} for {order.reach_seconds:g} s, although all nodes are ready: "
        "what nodes send each other is dropped on its way, by a firewall, or by an encrypted "
        "overlay network where a kernel has no IPsec (ESP)"
    )


def _say(text: str, status: int) -> int:
    sys.stderr.write(f"trainwright runner: {text}\n")
    return status
