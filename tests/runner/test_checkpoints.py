"""What the scripts save while they run is kept, whenever they save it."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.runner.conftest import Bench
from tests.runner.node_api import Refusal

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
        shell(bench, "until [ -e done ]; do sleep 1; done")
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


def at_first(bench: Bench, path: str, what: Callable[[], object]) -> None:
    """Have `what` happen when the runner asks for that path first, before it is answered."""
    done: list[object] = []

    def watch(method: str, asked: str) -> Refusal | None:
        if asked == path and not done:
            done.append(what())
        return None

    bench.api.refuse = watch


def kept(bench: Bench, index: int) -> dict[str, str]:
    """The files of a checkpoint, by their names, once it was told."""
    bench.api.wait_for(lambda: len(bench.api.checkpoints) > index)
    (bench.work / "done").touch()
    assert bench.wait() == 0
    return told(bench, index)


def told(bench: Bench, index: int) -> dict[str, str]:
    """The files of a checkpoint that was told, by their names."""
    files = bench.api.checkpoints[index]["files"]
    return {file["path"]: bench.api.blobs[file["sha256"]].decode() for file in files}


def test_what_is_rotated_away_while_it_is_sent_is_kept_all_the_same(bench: Bench) -> None:
    bench.api.order["checkpoints"] = "checkpoints"
    bench.script(
        "import pathlib, time\n"
        "old = pathlib.Path('checkpoints/deep'); old.mkdir(parents=True)\n"
        "(old / 'step-1').write_text('one')\n"
        "pathlib.Path('checkpoints/latest').write_text('step-1')\n"
        "while not pathlib.Path('done').exists(): time.sleep(0.05)\n"
    )
    folder = bench.work / "checkpoints"

    def rotate() -> None:
        (folder / "deep" / "step-1").unlink()
        (folder / "deep" / "step-2").write_text("two")
        (folder / "new").write_text("step-2")
        (folder / "new").rename(folder / "latest")

    at_first(bench, "/v1/node/blobs/missing", rotate)
    bench.start()
    assert kept(bench, 0) == {"checkpoints/deep/step-1": "one", "checkpoints/latest": "step-1"}


@pytest.mark.parametrize("later", ["12345", "123", "123456"])
def test_what_is_written_over_while_it_is_sent_is_kept_when_it_rests(
    bench: Bench, later: str
) -> None:
    bench.api.order["checkpoints"] = "checkpoints"
    shell(bench, SAVE.format(step="abcd") + UNTIL_DONE)
    step = bench.work / "checkpoints" / "step"
    at_first(bench, "/v1/node/blobs/missing", lambda: step.write_text(later))
    bench.start()
    assert kept(bench, 0) == {"checkpoints/step": later}


def test_links_among_checkpoints_are_followed_inside_them(bench: Bench) -> None:
    bench.api.order["checkpoints"] = "checkpoints"
    bench.script(
        "import os, pathlib, time\n"
        "pathlib.Path('checkpoints/1').mkdir(parents=True)\n"
        "pathlib.Path('checkpoints/1/w').write_text('one')\n"
        "os.symlink(os.path.abspath('checkpoints/1'), 'checkpoints/last')\n"
        "os.symlink('/etc/passwd', 'checkpoints/passwd')\n"
        "while not os.path.exists('done'): time.sleep(0.05)\n"
    )
    bench.start()
    assert kept(bench, 0) == {"checkpoints/1/w": "one", "checkpoints/last/w": "one"}


NEVER_RESTS = (
    "import itertools, os, pathlib, time\n"
    "folder = pathlib.Path('checkpoints'); folder.mkdir()\n"
    "for step in itertools.count(1):\n"
    "    if os.path.exists('done'): break\n"
    "    with open(folder / f'step-{step}', 'w') as file:\n"
    "        for _ in range(20):\n"
    "            file.write(f'{step}'); file.flush(); time.sleep(0.02)\n"
    "    {tell}\n"
    "    if step > 3: (folder / f'step-{step - 3}').unlink()\n"
)


def is_whole(files: dict[str, str]) -> bool:
    """Whether the newest checkpoint that is spoken of is there, to its end."""
    latest = files["checkpoints/latest"]
    return files.get(f"checkpoints/{latest}") == latest.partition("-")[2] * 20


def test_a_folder_that_never_rests_is_kept_without_what_is_being_written(bench: Bench) -> None:
    bench.api.order["checkpoints"] = "checkpoints"
    tell = "(folder / 'new').write_text(f'step-{step}'); (folder / 'new').rename(folder / 'latest')"
    bench.script(NEVER_RESTS.replace("{tell}", tell))
    bench.start()
    assert is_whole(kept(bench, 0))


def test_what_is_written_over_all_the_time_is_kept_whole_or_not_at_all(bench: Bench) -> None:
    bench.api.order["checkpoints"] = "checkpoints"
    bench.script(NEVER_RESTS.replace("{tell}", "(folder / 'latest').write_text(f'step-{step}')"))
    bench.start()
    bench.api.wait_for(lambda: len(bench.api.beats) > 200)  # twenty seconds
    (bench.work / "done").touch()
    assert bench.wait() == 0
    for index in range(len(bench.api.checkpoints)):  # there are some where the script stood still
        assert is_whole(told(bench, index))


SAVES_AT_THE_END = (
    "import os, pathlib, signal, sys, time\n"
    "def save(*_):\n"
    "    pathlib.Path('checkpoints/step').write_text('2')\n"
    "    sys.exit(0)\n"
    "signal.signal(signal.SIGTERM, save)\n"
    "os.mkdir('checkpoints'); pathlib.Path('checkpoints/step').write_text('1')\n"
    "print('training', flush=True)\n"
    "time.sleep(600)\n"
)


@pytest.mark.parametrize("keeps", [True, False])
def test_what_is_saved_on_being_told_to_stop_is_kept_for_a_next_attempt(
    bench: Bench, keeps: bool
) -> None:
    bench.api.order["checkpoints"] = "checkpoints"
    bench.api.keeps_checkpoint = keeps
    bench.script(SAVES_AT_THE_END)
    bench.start()
    bench.api.wait_for(lambda: bench.api.checkpoints)
    bench.api.command = "stop"
    assert bench.wait() == 0
    assert texts(bench) == (["1", "2"] if keeps else ["1"])


def test_what_is_being_sent_when_the_script_ends_is_kept_for_a_next_attempt(bench: Bench) -> None:
    bench.api.order["checkpoints"] = "checkpoints"
    bench.api.keeps_checkpoint = True
    shell(bench, SAVE.format(step=1) + "sleep 600")

    def hold_up(method: str, path: str) -> Refusal | None:
        has_ended = any(event["event"] == "exited" for event in bench.api.events)
        if method == "PUT" and not has_ended:
            bench.api.command = "stop"
            return Refusal(503, "later")
        return None

    bench.api.refuse = hold_up
    assert bench.run() == 0
    assert texts(bench) == ["1"]


def test_a_script_that_ends_well_leaves_no_checkpoint_to_be_kept(bench: Bench) -> None:
    bench.api.order["checkpoints"] = "checkpoints"
    bench.api.keeps_checkpoint = True
    shell(bench, SAVE.format(step=1))
    assert bench.run() == 0
    assert bench.api.checkpoints == []
