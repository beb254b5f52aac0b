"""What an engine refuses of a build, beside the build itself, is tried again some times."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

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
    for pause_seconds in PAUSES_SECONDS:
        try:
            return await work()
        except EngineRefused as error:
            await on_output(f"The Docker engine refuses: {error.words}\nTrying again.\n".encode())
        await asyncio.sleep(pause_seconds)
    try:
        return await work()
    except EngineRefused as error:
        text = f"The Docker engine refuses a step of the build: {error.words}"
        raise BuildFailed("engine_refused", text) from error
