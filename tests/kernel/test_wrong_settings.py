"""A setting that is wrong is said in a sentence."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("UNREFERENCED_KEEP_HOURS", "0.001", "greater than or equal to 1"),
        ("MAX_BODY_BYTES", "many", "a valid integer"),
    ],
)
def test_it_is_named_with_what_is_wrong(tmp_path: Path, name: str, given: str, said: str) -> None:
    environment = {
        **os.environ,
        "TRAINWRIGHT_DATA_DIR": str(tmp_path),
        f"TRAINWRIGHT_{name}": given,
    }
    ended = subprocess.run(
        [sys.executable, "-m", "app.cli", "migrate"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ended.returncode == 1
    (sentence,) = ended.stderr.splitlines()
    assert sentence.startswith(f"TRAINWRIGHT_{name}: ")
    assert said in sentence
