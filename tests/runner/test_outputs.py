"""What is collected from `./outputs`, and what is said about the rest."""

import pytest

from tests.runner.conftest import Bench
from tests.runner.node_api import Refusal

NOTES = "system_logs/runner.txt"


def paths(bench: Bench) -> list[str]:
    assert bench.api.outputs is not None
    return sorted(file["path"] for file in bench.api.outputs["files"])


def test_odd_names_empty_files_and_deep_folders(bench: Bench) -> None:
    bench.script(
        "import os, pathlib\n"
        "out = pathlib.Path('outputs')\n"
        "deep = out.joinpath(*['deep'] * 40); deep.mkdir(parents=True)\n"
        "(deep / 'model.bin').write_bytes(b'deep')\n"
        "for name in ['-1.index', ' space', 'naïve 数', 'a?b#c%41', 'new\\nline', "
        "'back\\\\slash']:\n"
        "    (out / name).write_text(name)\n"
        "(out / 'empty').touch()\n"
        "(out / 'no-files').mkdir()\n"
        "open(b'outputs/caf\\xe9', 'w').write('latin')\n"
    )

    assert bench.run() == 0

    deep = "outputs/" + "deep/" * 40 + "model.bin"
    assert paths(bench) == sorted(
        [
            deep,
            "outputs/-1.index",
            "outputs/ space",
            "outputs/naïve 数",
            "outputs/a?b#c%41",
            "outputs/new%0Aline",
            "outputs/back%5Cslash",
            "outputs/caf%E9",
            "outputs/empty",
        ]
    )
    assert bench.api.output("outputs/empty") == b""
    assert bench.api.output("outputs/-1.index") == b"-1.index"
    assert bench.api.output("outputs/caf%E9") == b"latin"


def test_names_that_no_run_can_have_are_left_out_and_said(bench: Bench) -> None:
    bench.script(
        "import os\n"
        "def leave(*folders):\n"
        "    os.chdir(root)\n"
        "    for folder in folders:\n"
        "        os.makedirs(folder, exist_ok=True); os.chdir(folder)\n"
        "    open('file', 'w').write('x')\n"
        "os.chdir('outputs'); root = os.getcwd()\n"
        "leave(*['l' * 250] * 11)\n"
        "leave(*['d'] * 110)\n"
        "leave('fine')\n"
    )
    assert bench.run() == 0
    assert paths(bench) == ["outputs/fine/file"]
    notes = bench.api.text(NOTES)
    assert "not collected: the name is too long" in notes
    assert "not collected: in too many folders" in notes


def test_links_are_followed_only_when_they_stay_inside(bench: Bench) -> None:
    bench.script(
        "import os, pathlib\n"
        "out = pathlib.Path('outputs')\n"
        "(out / 'step-1').mkdir(); (out / 'step-1' / 'w').write_text('one')\n"
        "(out / 'latest').symlink_to('step-1')\n"
        "(out / 'same').symlink_to('step-1/w')\n"
        "(out / 'around').symlink_to('.')\n"
        "(out / 'passwords').symlink_to('/etc/passwd')\n"
        "(out / 'source').symlink_to('../train0.py')\n"
        "(out / 'broken').symlink_to('nowhere')\n"
        "os.mkfifo(out / 'pipe')\n"
    )

    assert bench.run() == 0

    assert paths(bench) == ["outputs/latest/w", "outputs/same", "outputs/step-1/w"]
    said = bench.api.text(NOTES)
    for name in ("around", "passwords", "source", "broken", "pipe"):
        assert f"outputs/{name}: " in said


def test_an_outputs_folder_that_leads_elsewhere_is_not_collected(bench: Bench) -> None:
    bench.script("import os; os.rmdir('outputs'); os.symlink('/etc', 'outputs')")

    assert bench.run() == 0

    assert paths(bench) == []
    assert "link to elsewhere" in bench.api.text(NOTES)


def test_only_missing_bytes_travel_and_each_once(bench: Bench) -> None:
    known = bench.api.add_blob(b"known")
    bench.script(
        "import pathlib\n"
        "for name, text in [('a', 'known'), ('b', 'new'), ('c', 'new')]:\n"
        "    pathlib.Path('outputs', name).write_text(text)\n"
    )
    sent: list[str] = []

    def watch(method: str, path: str) -> Refusal | None:
        if method == "PUT":
            sent.append(path.rpartition("/")[2])
        return None

    bench.api.refuse = watch
    assert bench.run() == 0

    assert len(sent) == 1
    assert known not in sent
    assert bench.api.output("outputs/c") == b"new"


def test_a_file_that_vanishes_while_it_is_collected_is_named(bench: Bench) -> None:
    bench.script("for name in 'ab': open(f'outputs/{name}', 'w').write(name)")

    def vanish(method: str, path: str) -> Refusal | None:
        if path.endswith("/blobs/missing"):
            (bench.work / "outputs" / "a").unlink()
        return None

    bench.api.refuse = vanish
    assert bench.run() == 0

    assert paths(bench) == ["outputs/b"]
    assert "outputs/a: vanished while it was collected" in bench.api.text(NOTES)


def test_a_large_file_is_uploaded_whole(bench: Bench) -> None:
    bench.script("open('outputs/large', 'wb').write(bytes(range(256)) * 40_000)")

    assert bench.run() == 0

    assert bench.api.output("outputs/large") == bytes(range(256)) * 40_000


def test_refused_outputs_are_told_and_the_node_still_finishes(bench: Bench) -> None:
    bench.script("open('outputs/a', 'w').write('a')")
    bench.api.refuse = lambda method, path: (
        Refusal(422, "path_invalid") if path.endswith("/outputs") else None
    )

    assert bench.run() == 0

    assert bench.api.event("failed")["code"] == "outputs_refused"
    assert bench.api.event("finished")


@pytest.mark.parametrize("removed", ["outputs", "logs"])
def test_a_script_that_removes_its_folders_does_no_harm(bench: Bench, removed: str) -> None:
    bench.script(f"import os; os.rmdir('{removed}'); print('done')")
    assert bench.run() == 0
    assert bench.api.text() == "done\n"


def test_nothing_is_collected_when_nothing_is_asked_for(bench: Bench) -> None:
    bench.api.order["collect"] = []
    bench.script("")

    assert bench.run() == 0

    assert bench.api.outputs is None
