"""What the scripts save while they run is kept, whenever they save it."""

from typing import Any

from tests.runner.conftest import Bench

SAVE = "mkdir -p checkpoints; echo {step} > checkpoints/step; "
UNTIL_DONE = "until [ -e done ]; do sleep 0.05; done"


def texts(bench: Bench) -> list[str]:
    """What was in the one file of each checkpoint that was told."""
    found = []
    for checkpoint in bench.api.checkpoints:
        (file,) = checkpoint["files"]
        assert file["path"] == "checkpoints/step"
        found.append(bench.api.blobs[file["sha256"]].decode().strip())
    return found


def shell(bench: Bench, text: str, **process: Any) -> None:
    bench.process("/bin/sh", "-c", text, **process)


def test_what_is_saved_at_once_is_kept(bench: Bench) -> None:
    bench.api.order["checkpoints"] = "checkpoints"
    shell(bench, SAVE.format(step=1) + UNTIL_DONE)
    for _ in range(40):  # they are started one after the other: the first has saved long before
        shell(bench, UNTIL_DONE)
    bench.start()
    bench.api.wait_for(lambda: bench.api.checkpoints)
    (bench.work / "done").touch()
    assert bench.wait() == 0
    assert texts(bench) == ["1"]


def test_what_an_attempt_starts_with_is_not_sent_again(bench: Bench) -> None:
    bench.source("checkpoints/step", "1")
    bench.api.order["checkpoints"] = "checkpoints"
    shell(bench, "until [ -e next ]; do sleep 0.05; done; " + SAVE.format(step=2) + UNTIL_DONE)
    bench.start()
    bench.api.wait_for(lambda: len(bench.api.beats) > 60)  # of six seconds, and a look takes two
    assert bench.api.checkpoints == []
    (bench.work / "next").touch()
    bench.api.wait_for(lambda: bench.api.checkpoints)
    (bench.work / "done").touch()
    assert bench.wait() == 0
    assert texts(bench) == ["2"]
