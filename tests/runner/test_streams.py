"""Log bytes: whole, in order, once, whatever they are and whatever happens on the way."""

import hashlib
import time
from functools import partial

import pytest

from tests.runner.conftest import Bench
from tests.runner.node_api import DEADLINE_SECONDS, NodeApi, Refusal
from workers.runner.node import EXIT_UNDELIVERED

STDOUT = "user_logs/std_log.txt"
TICKS = "import time\nfor i in range(40):\n    print('tick', i)\n    time.sleep(0.02)\n"
ALL_TICKS = "".join(f"tick {index}\n" for index in range(40))


def assert_sealed(bench: Bench) -> None:
    sealed = bench.api.event("finished")["streams"]
    assert {name: end for name, end in sealed.items() if end["length_bytes"]} == {
        name: {"length_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in bench.api.streams.items()
    }


@pytest.mark.fault(36)
def test_nothing_is_lost_or_doubled_while_the_api_is_away(bench: Bench) -> None:
    bench.script(TICKS)
    bench.start()
    bench.api.wait_for(lambda: bench.api.streams.get(STDOUT))
    bench.api.is_away = True
    asked = bench.api.requests
    bench.api.wait_for(lambda: bench.api.requests > asked + 3)
    bench.api.is_away = False

    assert bench.wait() == 0

    assert bench.api.text() == ALL_TICKS
    assert_sealed(bench)


def test_the_script_ends_while_the_api_is_away_and_all_is_delivered_after(bench: Bench) -> None:
    bench.script(
        "import pathlib, time\n"
        "while not pathlib.Path('go').exists():\n    time.sleep(0.01)\n"
        "print('late words')\n"
        "open('outputs/late.txt', 'w').write('late')\n"
        "pathlib.Path('ended').touch()\n"
    )
    bench.start()
    bench.api.event("started")
    bench.api.is_away = True
    (bench.work / "go").touch()
    ends_at = time.monotonic() + DEADLINE_SECONDS
    while not (bench.work / "ended").exists():
        assert time.monotonic() < ends_at
        time.sleep(0.01)
    asked = bench.api.requests
    bench.api.wait_for(lambda: bench.api.requests > asked + 2)
    assert bench.runner is not None
    assert bench.runner.poll() is None
    bench.api.is_away = False

    assert bench.wait() == 0

    assert bench.api.text() == "late words\n"
    assert bench.api.output("outputs/late.txt") == b"late"
    assert_sealed(bench)


@pytest.mark.fault(42)
def test_undelivered_work_is_given_up_in_the_end(bench: Bench) -> None:
    bench.api.order["deliver_seconds"] = 1
    bench.script("import pathlib, time\nwhile not pathlib.Path('go').exists(): time.sleep(0.01)\n")
    bench.start()
    bench.api.event("started")
    bench.api.is_away = True
    (bench.work / "go").touch()

    assert bench.wait() == EXIT_UNDELIVERED


@pytest.mark.fault(36)
def test_bytes_whose_answer_was_lost_are_not_doubled(bench: Bench) -> None:
    bench.api.lose_answers = 3
    bench.script(TICKS)

    assert bench.run() == 0

    assert bench.api.text() == ALL_TICKS
    assert_sealed(bench)


def test_bytes_that_the_control_plane_lost_are_sent_again(bench: Bench) -> None:
    bench.api.forget_after = 10
    bench.script(TICKS)

    assert bench.run() == 0

    assert bench.api.text() == ALL_TICKS
    assert_sealed(bench)


def test_a_chunk_that_is_too_large_is_sent_in_smaller_ones(bench: Bench) -> None:
    bench.script("import sys; sys.stdout.write('x' * 3_000_000)")
    sizes: list[int] = []

    def too_large(method: str, path: str) -> Refusal | None:
        if path.endswith("/logs") and len(sizes) < 3:
            sizes.append(1)
            return Refusal(413, "too_large")
        return None

    bench.api.refuse = too_large
    assert bench.run() == 0
    assert len(bench.api.text()) == 3_000_000
    assert_sealed(bench)


def test_pieces_begin_where_lines_begin(bench: Bench) -> None:
    bench.script(
        "import time\n"
        "for part in range(10):\n"
        "    print(*(f'line {n} of {part}' for n in range(10_000)), sep=chr(10), flush=True)\n"
        "    time.sleep(0.01)\n"
    )

    assert bench.run() == 0

    offsets = [offset for _, stream, offset, _ in bench.api.log_posts if stream == STDOUT]
    data = bytes(bench.api.streams[STDOUT])
    assert len(offsets) > 1
    assert {data[offset - 1 : offset] for offset in offsets} <= {b"", b"\n"}
    assert_sealed(bench)


@pytest.mark.fault(36)
def test_odd_bytes_come_through_as_they_are(bench: Bench) -> None:
    bench.script(
        "import os\n"
        r"os.write(1, b'\xff\xfe\x00 not text\n')" + "\n"
        r"[os.write(1, b'\r%3d%%' % i) for i in (10, 50, 100)]; os.write(1, b'\n')" + "\n"
        "os.write(2, 'naïve – 数字\\n'.encode())\n"
        "os.write(1, b'no newline at the end')\n"
    )

    assert bench.run() == 0

    assert bytes(bench.api.streams[STDOUT]) == (
        b"\xff\xfe\x00 not text\n\r 10%\r 50%\r100%\n"
        + "naïve – 数字\n".encode()
        + b"no newline at the end"
    )
    assert bench.exited()["last_lines"][1:] == ["100%", "naïve – 数字", "no newline at the end"]
    assert_sealed(bench)


@pytest.mark.fault(36)
def test_lines_of_megabytes_and_a_hundred_thousand_lines(bench: Bench) -> None:
    bench.script(
        "import sys\n"
        "sys.stdout.write('y' * 5_000_000 + '\\n')\n"
        "sys.stdout.flush()\n"
        "for i in range(100_000):\n    sys.stdout.write('line %d\\n' % i)\n"
    )

    assert bench.run() == 0

    expected = "y" * 5_000_000 + "\n" + "".join(f"line {i}\n" for i in range(100_000))
    assert bench.api.text() == expected
    assert len(bench.exited()["last_lines"]) == 20
    assert bench.exited()["last_lines"][-1] == "line 99999"
    # They gathered while earlier ones were on their way.
    assert len(bench.api.log_posts) < 5000
    assert_sealed(bench)


def _has(api: NodeApi, text: str) -> bool:
    return api.text() == text


def test_a_line_waits_for_no_other_and_for_no_heartbeat(bench: Bench) -> None:
    bench.api.order["heartbeat_seconds"] = 600
    bench.script(
        "import pathlib, time\n"
        "for i in range(10):\n"
        "    print(i, flush=True)\n"
        "    while not pathlib.Path(f'seen{i}').exists(): time.sleep(0.01)\n"
    )
    bench.start()

    for index in range(10):
        lines = "".join(f"{number}\n" for number in range(index + 1))
        bench.api.wait_for(partial(_has, bench.api, lines))
        (bench.work / f"seen{index}").touch()

    assert bench.wait() == 0


def test_a_full_spool_drops_and_says_so_but_never_holds_up_the_script(bench: Bench) -> None:
    bench.api.order["log_spool_bytes"] = 300_000
    bench.script(
        "import os, pathlib, time\n"
        "print('first', flush=True)\n"
        "while not pathlib.Path('go').exists(): time.sleep(0.01)\n"
        "for _ in range(100): os.write(1, b'x' * 9_999 + b'\\n')\n"
        "pathlib.Path('printed').touch()\n"
        "while not pathlib.Path('end').exists(): time.sleep(0.01)\n"
        "print('last')\n"
    )
    bench.start()
    bench.api.wait_for(lambda: bench.api.text() == "first\n")
    bench.api.is_away = True
    (bench.work / "go").touch()
    ends_at = time.monotonic() + DEADLINE_SECONDS
    while not (bench.work / "printed").exists():
        assert time.monotonic() < ends_at
        time.sleep(0.01)
    bench.api.is_away = False
    bench.api.wait_for(lambda: len(bench.api.streams[STDOUT]) >= 299_000)
    (bench.work / "end").touch()

    assert bench.wait() == 0

    text = bench.api.text()
    assert text.startswith("first\n" + ("x" * 9_999 + "\n") * 20)
    assert "bytes lost: the node's disk or spool was full" in text
    assert len(text) < 400_000
    assert_sealed(bench)


def test_what_was_delivered_leaves_the_disk(bench: Bench) -> None:
    bench.script(
        "import os, pathlib, time\n"
        "for _ in range(60): os.write(1, b'z' * 1_000_000)\n"
        "while not pathlib.Path('go').exists(): time.sleep(0.01)\n"
    )
    bench.start()
    bench.api.wait_for(lambda: len(bench.api.streams.get(STDOUT, b"")) == 60_000_000)
    spool = bench.work.parent / "spool"
    ends_at = time.monotonic() + DEADLINE_SECONDS
    while sum(file.stat().st_size for file in spool.iterdir()) > 2 * (16 << 20):
        assert time.monotonic() < ends_at
        time.sleep(0.01)
    (bench.work / "go").touch()

    assert bench.wait() == 0
    assert_sealed(bench)


def test_every_byte_comes_with_the_time_of_its_writing(bench: Bench) -> None:
    bench.script(
        "import pathlib, time\n"
        "print('ready', flush=True)\n"
        "while not pathlib.Path('go').exists(): time.sleep(0.01)\n"
        "for i in range(10): print(repr(time.time()), flush=True); time.sleep(0.05)\n"
        "pathlib.Path('printed').touch()\n"
    )
    bench.start()
    bench.api.wait_for(lambda: bench.api.text() == "ready\n")
    bench.api.is_away = True
    (bench.work / "go").touch()
    ends_at = time.monotonic() + DEADLINE_SECONDS
    while not (bench.work / "printed").exists():
        assert time.monotonic() < ends_at
        time.sleep(0.01)
    bench.api.is_away = False

    assert bench.wait() == 0

    noted = bench.api.moments(STDOUT)
    for line, offset in list(
        zip(bench.api.text().split(), _offsets(bench.api.text()), strict=True)
    )[1:]:
        moment = next(millis for start, millis in reversed(noted) if start <= offset)
        # It is noted when it is read from the pipe, soon after.
        assert -20 < moment - float(line) * 1000 < 20_000
    # Several may be read together, but not all of them when they are sent.
    assert len({millis for _, millis in noted}) >= 3


def test_a_script_that_prints_nothing_has_an_empty_stream(bench: Bench) -> None:
    bench.script("")

    assert bench.run() == 0

    assert bench.api.event("finished")["streams"][STDOUT] == {
        "length_bytes": 0,
        "sha256": hashlib.sha256().hexdigest(),
    }


def test_files_under_logs_are_followed_while_they_grow(bench: Bench) -> None:
    bench.script(
        "import pathlib, time\n"
        "pathlib.Path('logs/train').mkdir()\n"
        "with open('logs/train/events.bin', 'ab', buffering=0) as file:\n"
        r"    file.write(b'\x00\x01first')" + "\n"
        "    while not pathlib.Path('go').exists(): time.sleep(0.01)\n"
        r"    file.write(b'\xffsecond')" + "\n"
    )
    bench.start()
    bench.api.wait_for(
        lambda: bytes(bench.api.streams.get("logs/train/events.bin", b"")) == b"\x00\x01first"
    )
    (bench.work / "go").touch()

    assert bench.wait() == 0

    assert bytes(bench.api.streams["logs/train/events.bin"]) == b"\x00\x01first\xffsecond"
    assert_sealed(bench)


def test_what_a_log_file_held_before_it_was_rewritten_stays(bench: Bench) -> None:
    bench.script(
        "import pathlib, time\n"
        "log = pathlib.Path('logs/a.log')\n"
        "log.write_text('old content')\n"
        "while not pathlib.Path('go').exists(): time.sleep(0.01)\n"
        "log.write_text('a new and longer content')\n"
    )
    bench.start()
    bench.api.wait_for(lambda: bench.api.text("logs/a.log") == "old content")
    (bench.work / "go").touch()

    assert bench.wait() == 0

    assert bench.api.text("logs/a.log") == "old contenta new and longer content"
    assert_sealed(bench)


def _offsets(text: str) -> list[int]:
    offsets = [0]
    for line in text.splitlines(keepends=True)[:-1]:
        offsets.append(offsets[-1] + len(line))
    return offsets


def test_a_log_that_is_too_long_ends_with_a_line_that_says_so(bench: Bench) -> None:
    bench.api.order["log_stream_bytes"] = 1000
    bench.script("for n in range(1000): print('line', n)")

    assert bench.run() == 0

    first, _, last = bench.api.text().rstrip("\n").rpartition("\n")
    assert last == "[trainwright] the log is as long as it may be; what follows is not kept"
    assert len(first) == 1000
    assert_sealed(bench)


def test_a_log_that_is_refused_leaves_its_room_to_the_others(bench: Bench) -> None:
    bench.api.order["log_spool_bytes"] = 300_000
    bench.script(
        "import pathlib, time\n"
        "folder = pathlib.Path('logs', *[letter * 250 for letter in 'abcd'])\n"
        "folder.mkdir(parents=True)\n"
        "with open(folder / 'train.log', 'wb', buffering=0) as file: file.write(b'x' * 250_000)\n"
        "while not pathlib.Path('go').exists(): time.sleep(0.01)\n"
        "for index in range(100): print('line', index, 'y' * 2_000)\n"
    )
    bench.start()
    bench.api.wait_for(lambda: any(len(name) > 1000 for name, _, _ in bench.api.log_times))
    (bench.work / "go").touch()

    assert bench.wait() == 0

    assert bench.api.text().count("line ") == 100
    assert "bytes lost" not in bench.api.text()


def test_bytes_that_are_gone_from_the_spool_are_missed_at_once(bench: Bench) -> None:
    bench.script(
        "import pathlib, time\n"
        "print('first', flush=True)\n"
        "while not pathlib.Path('go').exists(): time.sleep(0.01)\n"
        "print('x' * 3_000_000, flush=True)\n"
        "while not pathlib.Path('end').exists(): time.sleep(0.01)\n"
    )
    bench.start()
    bench.api.wait_for(lambda: bench.api.text() == "first\n")
    bench.api.is_away = True
    (bench.work / "go").touch()
    (segment,) = (bench.node_dir / "spool").glob("stream-*")
    ends_at = time.monotonic() + DEADLINE_SECONDS
    while segment.stat().st_size < 3_000_000:
        assert time.monotonic() < ends_at
        time.sleep(0.01)
    segment.unlink()
    bench.api.is_away = False
    (bench.work / "end").touch()

    assert bench.wait() == EXIT_UNDELIVERED
