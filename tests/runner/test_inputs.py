"""Source and inputs: verified bytes, where scripts look for them."""

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from tests.runner.conftest import Bench

IMAGES = b"images" * 1000
NESTED = "http%3A/%2Fhost/exdb/mnist/train-images.gz"


def input_order(bench: Bench, *, mode: str, digest: str, **members: Any) -> None:
    bench.api.order["inputs"] = [
        {
            "name": "mnist",
            "mode": mode,
            "path_on_compute": None,
            "files": [{"path": NESTED, "sha256": digest, "size_bytes": len(IMAGES)}],
            **members,
        }
    ]
    bench.script(
        "import os, sys\n"
        "folder = sys.argv[1]\n"
        "assert folder == os.environ['mnist'] == os.environ['AZUREML_DATAREFERENCE_mnist']\n"
        "assert folder == os.environ['AZURE_ML_INPUT_mnist']\n"
        f"path = os.path.join(folder, '{NESTED}')\n"
        "print(folder, len(open(path, 'rb').read()), os.path.islink(path))\n",
        {"template": "${{inputs.mnist}}"},
    )


def test_a_mount_shows_the_objects_of_the_local_store(bench: Bench) -> None:
    bench.api.order["objects_dir"] = str(bench.objects_dir)
    input_order(bench, mode="mount", digest=bench.store(IMAGES))

    assert bench.run() == 0

    folder = bench.node_dir / "inputs" / "mnist"
    assert bench.api.text() == f"{folder} {len(IMAGES)} True\n"


def test_a_download_copies_out_of_the_local_store(bench: Bench) -> None:
    bench.api.order["objects_dir"] = str(bench.objects_dir)
    input_order(bench, mode="download", digest=bench.store(IMAGES))

    assert bench.run() == 0

    assert bench.api.text().endswith(f" {len(IMAGES)} False\n")


@pytest.mark.parametrize("mode", ["mount", "download"])
def test_without_a_local_store_the_bytes_come_over_http(bench: Bench, mode: str) -> None:
    input_order(bench, mode=mode, digest=bench.api.add_blob(IMAGES))

    assert bench.run() == 0

    assert bench.api.text().endswith(f" {len(IMAGES)} False\n")


def test_a_download_that_breaks_off_goes_on_where_it_broke(bench: Bench) -> None:
    input_order(bench, mode="download", digest=bench.api.add_blob(IMAGES))
    source_bytes = sum(map(len, bench.api.blobs.values())) - len(IMAGES)
    bench.api.breaks_after = [source_bytes, 2500, 0, 1000]

    assert bench.run() == 0

    assert bench.api.text().endswith(f" {len(IMAGES)} False\n")
    assert bench.api.blob_bytes == source_bytes + len(IMAGES)


def test_a_download_that_breaks_off_ends_where_no_part_can_be_had(bench: Bench) -> None:
    input_order(bench, mode="download", digest=bench.api.add_blob(IMAGES))
    bench.api.answers_ranges = False
    bench.api.breaks_after = [len(IMAGES), 2500]

    assert bench.run() == 0

    assert bench.api.text().endswith(f" {len(IMAGES)} False\n")


def test_a_mounted_object_that_was_changed_is_an_error_that_names_the_file(bench: Bench) -> None:
    bench.api.order["objects_dir"] = str(bench.objects_dir)
    digest = bench.store(IMAGES)
    path = bench.objects_dir / "sha256" / digest[:2] / digest
    path.chmod(0o644)
    path.write_bytes(b"x" * len(IMAGES))
    input_order(bench, mode="mount", digest=digest)

    assert bench.run() == 5

    failed = bench.api.event("failed")
    assert failed["code"] == "input_digest_mismatch"
    assert NESTED in failed["message"]
    assert "'mnist'" in failed["message"]


def test_an_object_whose_seal_is_gone_but_not_its_bytes_is_fine(bench: Bench) -> None:
    bench.api.order["objects_dir"] = str(bench.objects_dir)
    input_order(bench, mode="mount", digest=bench.store(IMAGES, sealed=False))
    assert bench.run() == 0


def test_wrong_bytes_over_http_are_an_error_that_names_the_file(bench: Bench) -> None:
    digest = bench.api.add_blob(IMAGES)
    bench.api.blobs[digest] = b"something else"
    input_order(bench, mode="download", digest=digest)

    assert bench.run() == 5

    assert bench.api.event("failed")["code"] == "input_digest_mismatch"
    assert NESTED in bench.api.event("failed")["message"]
    assert not (bench.node_dir / "inputs" / "mnist" / NESTED).exists()


def test_a_blob_that_nobody_has_is_named(bench: Bench) -> None:
    bench.source("train.py", "print()")
    del bench.api.blobs[bench.api.order["source"][0]["sha256"]]
    bench.process("true")

    assert bench.run() == 5

    assert bench.api.event("failed")["code"] == "blob_unavailable"
    assert "train.py" in bench.api.event("failed")["message"]


def test_a_relative_path_on_compute_is_in_the_working_folder(bench: Bench) -> None:
    digest = bench.api.add_blob(IMAGES)
    input_order(bench, mode="download", digest=digest, path_on_compute="data/mnist")

    assert bench.run() == 0

    assert bench.api.text().startswith(str(bench.work / "data" / "mnist"))


def test_an_absolute_path_on_compute_is_there_for_the_run_only(
    bench: Bench, tmp_path: Path
) -> None:
    place = tmp_path / "elsewhere" / "mnist"
    digest = bench.api.add_blob(IMAGES)
    input_order(bench, mode="download", digest=digest, path_on_compute=str(place))

    assert bench.run() == 0

    assert bench.api.text().startswith(str(place))
    assert not os.path.lexists(place)


def test_a_path_on_compute_that_is_taken_is_an_error(bench: Bench, tmp_path: Path) -> None:
    digest = bench.api.add_blob(IMAGES)
    input_order(bench, mode="download", digest=digest, path_on_compute=str(tmp_path))

    assert bench.run() == 5

    assert bench.api.event("failed")["code"] == "input_path_unavailable"


@pytest.mark.parametrize("path", ["../escape", "/etc/escape", "a//b", ""])
def test_a_path_that_leads_out_is_refused(bench: Bench, path: str) -> None:
    digest = hashlib.sha256(b"").hexdigest()
    bench.api.order["source"] = [{"path": path, "sha256": digest, "size_bytes": 0}]
    bench.process("true")

    assert bench.run() == 5

    assert bench.api.event("failed")["code"] == "unsafe_path"


def test_an_argument_that_names_an_unknown_input_is_an_error(bench: Bench) -> None:
    bench.process("echo", {"template": "--data=${{inputs.nothing}}"})

    assert bench.run() == 5

    assert bench.api.event("failed")["code"] == "unknown_input"


def test_a_literal_argument_is_never_a_template(bench: Bench) -> None:
    bench.process("echo", "${{inputs.nothing}}", "a b", "")

    assert bench.run() == 0

    assert bench.api.text() == "${{inputs.nothing}} a b \n"


def test_an_order_that_cannot_be_read_is_told(bench: Bench) -> None:
    bench.api.order["inputs"] = [{"name": "x", "mode": "teleport"}]

    assert bench.run() == 5

    assert bench.api.event("failed")["code"] == "bad_order"
