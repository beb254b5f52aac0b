"""Tables are what the migrations make."""

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def test_migrations_and_tables_say_the_same(postgres_url: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "alembic", "check"],
        cwd=REPOSITORY,
        env={**os.environ, "TRAINWRIGHT_DATABASE_URL": postgres_url},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
