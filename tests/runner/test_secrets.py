"""Secrets reach scripts as files, and nothing else of a node holds their values."""

import base64
import stat
from pathlib import Path

from tests.runner.conftest import Bench

STDOUT = "user_logs/std_log.txt"
CANARY = "canary-4f1b9e-Ω"

LOOK = """
import os, sys, time
path = os.environ['TRAINWRIGHT_SECRET_DB_FILE']
value = open(path, encoding='utf-8').read()
print('mode', oct(os.stat(path).st_mode), oct(os.stat(os.path.dirname(path)).st_mode))
print('path', path)
print('value', value)
for letter in value:
    sys.stdout.write(letter); sys.stdout.flush(); time.sleep(0.002)
print()
print('environ', sum(value in text for text in os.environ.values()))
open('logs/own.txt', 'w').write('own ' + value + '\\n')
"""


def give(bench: Bench, value: str = CANARY, name: str = "DB") -> None:
    bench.api.order["secrets"] = [name]
    encoded = base64.b64encode(value.encode()).decode()
    bench.api.secrets = [{"name": name, "value": encoded}]


def files_with(folder: Path, value: str) -> list[Path]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return [path for path in found if value.encode() in path.read_bytes()]


def test_a_secret_is_a_file_for_its_script_alone(bench: Bench) -> None:
    give(bench)
    bench.script(LOOK)

    assert bench.run() == 0

    lines = bench.api.text().splitlines()
    modes, path = lines[0].split()[1:], Path(lines[1].split()[1])
    assert [stat.S_IMODE(int(mode, 8)) for mode in modes] == [0o600, 0o700]
    assert path.name == "DB"
    assert not path.is_relative_to(bench.work)
    assert not path.exists()
    assert not path.parent.exists()
    assert lines[2:5] == ["value [secret DB]", "[secret DB]", "environ 0"]
    assert bench.api.streams["logs/own.txt"] == b"own [secret DB]\n"
    # Its own log file is the script's; but nothing that the runner wrote holds the value.
    assert files_with(bench.node_dir, CANARY) == [bench.work / "logs" / "own.txt"]


def test_what_a_script_logs_and_says_at_its_end_is_redacted(bench: Bench) -> None:
    give(bench)
    bench.script(
        "import json, os, sys\n"
        "value = open(os.environ['TRAINWRIGHT_SECRET_DB_FILE'], encoding='utf-8').read()\n"
        "with open(os.environ['TRAINWRIGHT_RECORDS'], 'a') as records:\n"
        "    records.write(json.dumps({'kind': 'tag', 'key': value, 'value': value}) + '\\n')\n"
        "    records.write('no record ' + value + '\\n')\n"
        "raise SystemExit('failed with ' + value)\n"
    )

    assert bench.run() == 0

    assert bench.api.records == [
        {"kind": "tag", "key": "[secret DB]", "value": "[secret DB]"},
    ]
    assert bench.exited()["last_lines"][-1] == "failed with [secret DB]"
    assert CANARY not in repr(bench.api.events)
    assert not any(CANARY.encode() in data for data in bench.api.streams.values())


def test_a_secret_that_is_gone_fails_the_node_before_anything_runs(bench: Bench) -> None:
    bench.api.order["secrets"] = ["DB"]
    bench.api.secrets = [{"name": "DB", "error": "There is no secret 'db' in this workspace."}]
    bench.script("print('ran')")

    assert bench.run() != 0

    failed = bench.api.event("failed")
    assert failed["code"] == "secret_unavailable"
    assert "no secret 'db'" in failed["message"]
    assert bench.api.text() == ""


def test_a_folder_that_is_not_the_nodes_own_is_refused(bench: Bench) -> None:
    give(bench)
    (bench.node_dir / "secrets").symlink_to(bench.objects_dir)
    bench.script("print('ran')")

    assert bench.run() != 0

    assert bench.api.event("failed")["code"] == "secrets_folder_unsafe"
