"""The committed OpenAPI document: written by ``make openapi``, compared by a test.

``openapi/openapi.json`` is the document of this version of the code; ``openapi/released.json`` that
of the last release, which clients out there are made of.
"""

import json
from pathlib import Path
from typing import Any

import typer
from alembic.script import ScriptDirectory

from app.main import create_app

FOLDER = Path(__file__).parents[2] / "openapi"
CURRENT = FOLDER / "openapi.json"
RELEASED = FOLDER / "released.json"
MIGRATIONS = FOLDER.with_name("migrations")


def current() -> dict[str, Any]:
    """The document of the application as it is."""
    return create_app().openapi()


def render(document: dict[str, Any]) -> str:
    """The text of a document's file: one that shows its changes line by line."""
    return json.dumps(document, ensure_ascii=False, indent=1) + "\n"


def main(*, release: bool = False) -> None:
    """Write the document; with ``--release`` as the one that was released, too, with its schema."""
    document = current()
    FOLDER.mkdir(exist_ok=True)
    CURRENT.write_text(render(document))
    if release:
        RELEASED.write_text(render(document))
        head = ScriptDirectory(str(MIGRATIONS)).get_current_head()
        (MIGRATIONS / "released.txt").write_text(f"{head}\n")


if __name__ == "__main__":
    typer.run(main)
