"""``trainwright simulate`` with files that are traces and files that are not."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from app.simulation.command import cli
from app.simulation.report import fairness_over_time, report
from app.simulation.trace import Job

_DETAIL = [{"ip": "m1", "gpus": ["gpu0"]}]
_RAN = {
    "jobid": "application_1", "vc": "ee9e8c", "user": "ce2d4b", "status": "Pass",
    "submitted_time": "2017-10-09 07:02:56",
    "attempts": [
        {"start_time": "2017-10-09 07:03:51", "end_time": "2017-10-09 07:04:51", "detail": _DETAIL}
    ],
}  # fmt: skip
_COLUMNS = "job_id,arrives_seconds,duration_seconds,node_count,gpus_per_node"


def simulate(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def test_the_public_trace_is_known_by_what_is_in_it(tmp_path: Path) -> None:
    published = tmp_path / "cluster_job_log"
    published.write_text(json.dumps([_RAN]))

    done = simulate(published, "--json")

    assert done.exit_code == 0, done.stderr
    assert [json.loads(line)["jobs"] for line in done.stdout.splitlines()] == [1, 1, 1]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "arrives_seconds"),
        ("time,length\n1,2\n", "arrives_seconds, duration_seconds"),
        (f"{_COLUMNS}\n", "no jobs"),
        (f"{_COLUMNS}\na,0,10,1,1\nb,1,10,1,1\na,2,10,1,1\n", "line 4"),
        (f"{_COLUMNS}\na,0,nan,1,1\n", "line 2"),
        (f"{_COLUMNS}\na,0\n", "duration_seconds is missing"),
        (f"{_COLUMNS}\na,0,10,1,9\nb,0,10,2,8\n", "none of the 2 jobs"),
        ("[]", "no job that ran"),
        (json.dumps([_RAN, _RAN]), "application_1"),
        ('{"jobs": []}', "not a list"),
    ],
)
def test_what_is_no_trace_is_refused_and_says_why(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "cluster_job_log"
    path.write_text(content)

    done = simulate(path, "--hosts", "1", "--gpus", "8", "--json")

    assert done.exit_code == 2
    assert done.stdout == ""
    assert words in " ".join(done.stderr.split())


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_bytes(b"arrives_seconds,duration_seconds\n\xff\xfe,1\n")

    for arguments in ((path,), ("--machines", path)):
        done = simulate(*arguments)
        assert done.exit_code == 2
        assert done.stderr.startswith("error: ")


def test_what_no_host_has_room_for_is_left_out_for_all_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    # One node larger than a host, and more nodes than there are hosts for: each is as wide as the
    # pool at most.
    path.write_text(f"{_COLUMNS}\nfits,0,100,2,4\nlarge,1,100,1,8\nmany,2,100,3,3\n")

    done = simulate(path, "--hosts", "2", "--gpus", "4", "--json")

    assert done.exit_code == 0, done.stderr
    for line in done.stdout.splitlines():
        found = json.loads(line)
        assert (found["jobs"], found["left_out"]) == (1, 2)
        assert found["utilisation"] == 1.0
    assert "2 jobs were left out" in simulate(path, "--hosts", "2", "--gpus", "4").stdout


def test_fairness_over_time_ends_with_that_of_the_report_and_is_drawn(tmp_path: Path) -> None:
    jobs = [
        Job("a", 0.0, 100.0, 100.0, workspace="one"),
        Job("b", 0.0, 100.0, 100.0, workspace="two"),
    ]
    starts = {"a": 0.0, "b": 100.0}

    index = fairness_over_time(jobs, starts, end_seconds=200.0)

    assert index[0] == 1.0
    assert index[-1] == report("any", jobs, starts, gpus=1).fairness == pytest.approx(0.9)
    done = simulate("--jobs", "20", "--picture", tmp_path / "it.svg")
    assert done.exit_code == 0, done.stderr
    assert "Fairness between workspaces" in (tmp_path / "it.svg").read_text()
    nowhere = simulate("--jobs", "20", "--picture", tmp_path / "none" / "it.svg")
    assert nowhere.exit_code == 2
    assert nowhere.stderr.startswith("error: ")
