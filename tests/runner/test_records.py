"""The records file: every whole line once, in order, numbered."""

import json

from tests.runner.conftest import Bench
from workers.runner.node import EXIT_UNDELIVERED

APPEND = (
    "import json, os, pathlib, time\n"
    "def append(data):\n"
    "    with open(os.environ['TRAINWRIGHT_RECORDS'], 'ab', buffering=0) as file:\n"
    "        file.write(data)\n"
    "def record(i):\n"
    "    return json.dumps({'kind': 'metric', 'name': 'm', 'value': i}).encode() + b'\\n'\n"
)


def values(bench: Bench) -> list[int]:
    return [record["value"] for record in bench.api.records]


def test_records_arrive_while_the_script_runs(bench: Bench) -> None:
    bench.script(
        APPEND + "append(record(1))\nwhile not pathlib.Path('go').exists(): time.sleep(0.01)\n"
    )
    bench.start()
    bench.api.wait_for(lambda: bench.api.records)
    (bench.work / "go").touch()

    assert bench.wait() == 0
    assert values(bench) == [1]


def test_a_torn_line_waits_for_its_newline(bench: Bench) -> None:
    bench.script(
        APPEND + "whole, half = record(1), record(2)\n"
        "append(whole + half[:9])\n"
        "while not pathlib.Path('go').exists(): time.sleep(0.01)\n"
        "append(half[9:] + record(3))\n"
    )
    bench.start()
    bench.api.wait_for(lambda: bench.api.records)
    assert values(bench) == [1]
    (bench.work / "go").touch()

    assert bench.wait() == 0
    assert values(bench) == [1, 2, 3]


def test_a_last_line_without_newline_counts_when_it_is_whole(bench: Bench) -> None:
    bench.script(APPEND + "append(record(1) + record(2)[:-1])")
    assert bench.run() == 0
    assert values(bench) == [1, 2]


def test_a_last_line_that_was_cut_off_is_told_and_left_out(bench: Bench) -> None:
    bench.script(APPEND + "append(record(1) + record(2)[:-4])")
    assert bench.run() == 0
    assert values(bench) == [1]
    assert "not a record" in bench.api.text("system_logs/runner.txt")


def test_bad_lines_do_not_hold_up_good_ones(bench: Bench) -> None:
    poison = json.dumps({"kind": "poison"}) + "\\n"
    bench.script(
        APPEND + "append(record(1) + b'rubbish\\n\\n[1]\\n' + record(2))\n"
        f"append(b'{poison}' + record(3) + record(4))\n"
    )

    assert bench.run() == 0

    assert values(bench) == [1, 2, 3, 4]
    said = bench.api.text("system_logs/runner.txt")
    assert "rubbish" in said
    assert "poison" in said
    seqs = [body["first_seq"] for body in bench.api.record_bodies]
    assert seqs == sorted(set(seqs))


def test_records_that_the_control_plane_lost_do_not_hold_up_those_behind(bench: Bench) -> None:
    bench.script(
        APPEND + "for i in range(5): append(record(i))\n"
        "while not pathlib.Path('go').exists(): time.sleep(0.01)\n"
        "append(record(5) + record(6))\n"
    )
    bench.start()
    bench.api.wait_for(lambda: len(bench.api.records) == 5)
    del bench.api.records[2:]
    (bench.work / "go").touch()

    assert bench.wait() == 0

    assert values(bench) == [0, 1, 5, 6]


def test_thousands_of_records_from_several_processes(bench: Bench) -> None:
    for rank in range(2):
        bench.script(APPEND + f"for i in range(3000): append(record({rank} * 10_000 + i))")

    assert bench.run() == 0

    assert sorted(values(bench)) == [*range(3000), *range(10_000, 13_000)]
    assert [v for v in values(bench) if v < 3000] == list(range(3000))
    assert len(bench.api.record_bodies) < 600


def test_delivered_records_take_up_no_room(bench: Bench) -> None:
    size, count = 100_000, 150
    bench.script(
        APPEND + f"line = json.dumps({{'kind': 'metric', 'name': 'm', 'value': 'x' * {size}}})\n"
        f"for _ in range({count}): append(line.encode() + b'\\n')\n"
        "path = pathlib.Path(os.environ['TRAINWRIGHT_RECORDS'])\n"
        "while os.stat(path).st_blocks * 512 > 8 << 20: time.sleep(0.01)\n"
        f"assert os.stat(path).st_size > {size * count}\n"
        "append(record(7))\n"
    )

    assert bench.run() == 0

    assert len(bench.api.records) == count + 1
    assert values(bench)[-1] == 7
    assert {len(str(value)) for value in values(bench)[:-1]} == {size}


def test_records_are_kept_while_the_api_is_away(bench: Bench) -> None:
    bench.script(APPEND + "for i in range(50):\n    append(record(i))\n    time.sleep(0.02)\n")
    bench.start()
    bench.api.wait_for(lambda: bench.api.records)
    bench.api.is_away = True
    asked = bench.api.requests
    bench.api.wait_for(lambda: bench.api.requests > asked + 3)
    bench.api.is_away = False

    assert bench.wait() == 0
    assert values(bench) == list(range(50))


def test_a_line_of_megabytes_and_characters_no_database_takes(bench: Bench) -> None:
    bench.script(
        APPEND
        + "append(json.dumps({'kind': 'metric', 'value': [0] * 900_000}).encode() + b'\\n')\n"
        "append(json.dumps({'kind': 'tag', 'value': 'a\\0b\\ud800'}).encode() + b'\\n')\n"
    )

    assert bench.run() == 0

    assert len(bench.api.records[0]["value"]) == 900_000
    assert bench.api.records[1]["value"] == "a\ufffdb?"


def test_lines_nested_beyond_all_measure_do_not_hold_up_good_ones(bench: Bench) -> None:
    bench.script(
        APPEND + "deep = lambda levels: b'[' * levels + b']' * levels\n"
        'append(b\'{"kind": "metric", "value": \' + deep(200_000) + b\'}\\n\')\n'
        'append(b\'{"kind": "metric", "value": \' + deep(950) + b\'}\\n\')\n'
        "append(record(1))\n"
    )

    assert bench.run() == 0

    assert values(bench) == [1]
    assert bench.api.text("system_logs/runner.txt").count("not a record") == 2


def test_without_the_file_that_tells_how_far_records_are_they_come_as_well(bench: Bench) -> None:
    bench.script(
        APPEND + "os.unlink(os.environ['TRAINWRIGHT_RECORDS'] + '.acked')\n"
        "append(record(1))\n"
        "while not pathlib.Path('go').exists(): time.sleep(0.01)\n"
        "append(record(2))\n"
    )
    bench.start()
    bench.api.wait_for(lambda: bench.api.records)
    (bench.work / "go").touch()

    assert bench.wait() == 0

    assert values(bench) == [1, 2]


def test_records_that_a_script_removed_are_missed(bench: Bench) -> None:
    bench.script(APPEND + "os.unlink(os.environ['TRAINWRIGHT_RECORDS'])\n")

    assert bench.run() == EXIT_UNDELIVERED
