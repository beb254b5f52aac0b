"""A worker whose work ends is ended, to be started anew."""

import os
import signal
import subprocess
import sys

import pytest

PROGRAM = """
import asyncio
from workers.celery_app import _live

class Broken:
    async def run(self):
        raise {error}

asyncio.run(_live(Broken()))
"""


@pytest.mark.parametrize("error", ["RuntimeError('a defect')", "ExceptionGroup('', [OSError()])"])
def test_whatever_ends_the_poller_ends_the_worker(error: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(error=error)], env=os.environ, check=False
    )

    assert ended.returncode == -signal.SIGTERM
