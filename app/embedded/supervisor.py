"""Keeping children alive: start, wait until ready, restart with back-off, stop with deadlines."""

import asyncio
import signal
import time
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from app.embedded.children import ChildSpec, command_line
from app.embedded.errors import ChildFailed, EmbeddedError
from app.embedded.logs import ChildLog

FIRST_DELAY_SECONDS = 0.1
LONGEST_DELAY_SECONDS = 30.0
HEALTHY_SECONDS = 10.0
SLOW_SECONDS = 10.0
FIRST_TRIES = 3
_POLL_SECONDS = 0.03
_FORCE_SECONDS = 3.0
_LAST_WORDS_SECONDS = 0.5


class Supervisor:
    """The children of one stack, in the order of their start.

    Args:
        log_dir: where each child's output goes, as `NAME.log`.
        report: told in a line what happened to a child (for the terminal).
    """

    def __init__(self, log_dir: Path, *, report: Callable[[str], None]) -> None:
        self._log_dir = log_dir
        self._report = report
        self._stages: list[list[_Keeper]] = []
        self._hurry = asyncio.Event()

    async def start(self, *specs: ChildSpec) -> None:
        """Start children side by side and wait until all are ready.

        Raises:
            ChildFailed: one was not ready after several tries; its log's end is in the message.
        """
        keepers = [
            _Keeper(spec, self._log_dir, report=self._report, hurry=self._hurry) for spec in specs
        ]
        self._stages.append(keepers)
        await asyncio.gather(*(keeper.start() for keeper in keepers))

    async def run_once(self, spec: ChildSpec) -> bytes:
        """Run a program to its end and return its standard output; its errors go to its log.

        Raises:
            ChildFailed: it ended with an exit code other than 0.
        """
        log = ChildLog(self._log_dir / f"{spec.name}.log")
        process = await _spawn(spec, stderr=PIPE)
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            output, _ = await asyncio.gather(process.stdout.read(), log.pump(process.stderr))
            if await process.wait() != 0:
                raise ChildFailed(_failure(spec, process, log))
            return output
        finally:
            if process.returncode is None:
                process.kill()
            log.close()

    async def stop(self) -> None:
        """Stop all children, the last started first; those started together, together."""
        while self._stages:
            await asyncio.gather(*(keeper.stop() for keeper in self._stages.pop()))

    def hurry(self) -> None:
        """Shorten all deadlines of a stop to nothing."""
        self._hurry.set()


class _Keeper:
    """Keeps one child alive until told to stop."""

    def __init__(
        self,
        spec: ChildSpec,
        log_dir: Path,
        *,
        report: Callable[[str], None],
        hurry: asyncio.Event,
    ) -> None:
        self._spec = spec
        self._log = ChildLog(log_dir / f"{spec.name}.log")
        self._report = report
        self._hurry = hurry
        self._stopping = asyncio.Event()
        self._first_ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._keep())
        await self._first_ready

    async def stop(self) -> None:
        self._stopping.set()
        if self._task is not None:
            await self._task
        if not self._first_ready.done():
            self._first_ready.cancel()
        self._log.close()

    async def _keep(self) -> None:
        tries = 0
        delay_seconds = FIRST_DELAY_SECONDS
        while not self._stopping.is_set():
            tries += 1
            ready_at = None
            try:
                reason, ready_at = await self._live_once()
            except (EmbeddedError, OSError) as error:
                reason = f"{self._spec.name} cannot start: {error}"
            if self._stopping.is_set():
                return
            if tries >= FIRST_TRIES and not self._first_ready.done():
                self._first_ready.set_exception(ChildFailed(reason))
                return
            if ready_at is not None and time.monotonic() - ready_at >= HEALTHY_SECONDS:
                delay_seconds = FIRST_DELAY_SECONDS
            self._report(f"{reason.partition(chr(10))[0]}; restart in {delay_seconds:.1f} s")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), timeout=delay_seconds)
            delay_seconds = min(2 * delay_seconds, LONGEST_DELAY_SECONDS)

    async def _live_once(self) -> tuple[str, float | None]:
        """One life of the child; return how it ended, and since when it had been ready."""
        if self._spec.prepare is not None:
            await self._spec.prepare()
        process = await _spawn(self._spec, stderr=STDOUT)
        assert process.stdout is not None
        pump = asyncio.create_task(self._log.pump(process.stdout))
        ended = asyncio.create_task(process.wait())
        stopping = asyncio.create_task(self._stopping.wait())
        ready_at = None
        try:
            if await self._wait_until_ready(ended, stopping):
                ready_at = time.monotonic()
                if not self._first_ready.done():
                    self._first_ready.set_result(None)
                await asyncio.wait({ended, stopping}, return_when=asyncio.FIRST_COMPLETED)
            was_running = not ended.done()
            if was_running:
                await self._terminate(process, ended)
            # Programs that the child started may hold its output open for longer.
            await asyncio.wait({pump}, timeout=_LAST_WORDS_SECONDS)
        finally:
            for task in (pump, stopping):
                task.cancel()
        if was_running:
            seconds = self._spec.ready_seconds
            return f"{self._spec.name} was not ready within {seconds:.0f} s", ready_at
        return _failure(self._spec, process, self._log), ready_at

    async def _wait_until_ready(
        self, ended: asyncio.Task[int], stopping: asyncio.Task[bool]
    ) -> bool:
        poll = asyncio.create_task(self._poll_until_ready())
        try:
            await asyncio.wait({ended, stopping, poll}, return_when=asyncio.FIRST_COMPLETED)
            return poll.done() and poll.result()
        finally:
            poll.cancel()

    async def _poll_until_ready(self) -> bool:
        if self._spec.is_ready is None:
            return True
        if self._spec.needs is not None:
            await self._spec.needs()
        began, tell_after = time.monotonic(), SLOW_SECONDS
        while (seconds := time.monotonic() - began) < self._spec.ready_seconds:
            if await self._spec.is_ready():
                return True
            if seconds >= tell_after:
                tell_after *= 2
                what = f"{self._spec.name} has been starting for {seconds:.0f} s"
                self._report(f"{what}; what it does is in {self._log.path}")
            # Who takes long is not to be asked all the time.
            await asyncio.sleep(max(_POLL_SECONDS, seconds / 100))
        return False

    async def _terminate(self, process: Process, ended: asyncio.Task[int]) -> None:
        """Ask, insist, kill."""
        steps = (
            (self._spec.stop_signal, self._spec.stop_seconds),
            (self._spec.force_signal, _FORCE_SECONDS),
            (signal.SIGKILL, None),
        )
        hurry = asyncio.create_task(self._hurry.wait())
        try:
            for number, seconds in steps:
                with suppress(ProcessLookupError):
                    process.send_signal(number)
                is_asking = number == self._spec.stop_signal
                waited_for = {ended, hurry} if is_asking else {ended}
                await asyncio.wait(waited_for, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
                if ended.done():
                    return
        finally:
            hurry.cancel()


async def _spawn(spec: ChildSpec, *, stderr: int) -> Process:
    """Start a child in a session of its own, so that Ctrl-C reaches the supervisor alone."""
    command = command_line(spec.argv, account=spec.account, death_signal=spec.death_signal)
    return await asyncio.create_subprocess_exec(
        *command,
        env=dict(spec.env),
        cwd=spec.cwd,
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=stderr,
        pass_fds=spec.pass_fds,
        start_new_session=True,
    )


def _failure(spec: ChildSpec, process: Process, log: ChildLog) -> str:
    code = process.returncode or 0
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
    return f"{spec.name} {how}\nThe end of {log.path}:\n{log.tail()}"
