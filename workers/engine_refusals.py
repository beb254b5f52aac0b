"""What an engine refuses of a build, beside the build itself, is tried again some times."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import tenacity

from app.environments.built import BuildFailed
from app.environments.commands import Output
from app.environments.image_engine import EngineRefused

PAUSES_SECONDS = (1.0, 2.0, 4.0, 8.0)
T = TypeVar("T")


async def persist(work: Callable[[], Awaitable[T]], on_output: Output) -> T:
    """Do it; what the engine refuses may pass, as a conflict or a lack of space does.

    Args:
        work: what is tried, with ever longer pauses.
        on_output: told of each refusal but the last.

    Raises:
        BuildFailed: with the engine's words; it refused again and again.
    """

    async def tell(state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, EngineRefused):
            await on_output(f"The Docker engine refuses: {error.words}\nTrying again.\n".encode())

    async def once() -> T:
        # The library awaits what a coroutine function gives, and nothing else.
        return await work()

    retrying = tenacity.AsyncRetrying(
        stop=tenacity.stop_after_attempt(len(PAUSES_SECONDS) + 1),
        wait=tenacity.wait_chain(*map(tenacity.wait_fixed, PAUSES_SECONDS)),
        retry=tenacity.retry_if_exception_type(EngineRefused),
        before_sleep=tell,
        reraise=True,
    )
    try:
        return await retrying(once)
    except EngineRefused as error:
        text = f"The Docker engine refuses a step of the build: {error.words}"
        raise BuildFailed("engine_refused", text) from error
