"""The documents for readers, as tests take their examples out of them."""

import re
from dataclasses import dataclass

from tests.conftest import REPOSITORY

_BLOCK = re.compile(r"^( *)```(\S*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)

WALKED = (
    "README.md",
    "docs/guide.md",
    "docs/models.md",
    "docs/history.md",
    "docs/storage.md",
    "docs/cli.md",
    "docs/batch-scoring.md",
    "docs/serving.md",
    "docs/scripts.md",
    "docs/secrets.md",
    "docs/datastores.md",
    "docs/migration.md",
    "docs/scheduling.md",
    "docs/budgets.md",
    "docs/sweeps.md",
    "docs/mlflow.md",
)
"""Pages whose bash blocks are pasted, in this order, against a whole stack."""

OF_THE_API = ("docs/identity.md",)
"""Pages whose bash blocks need no worker."""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: str
    language: str
    text: str


def pages() -> list[str]:
    """All documents for readers, as paths in the repository."""
    found = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
    return [path.relative_to(REPOSITORY).as_posix() for path in found]


def blocks_of(page: str) -> list[Block]:
    """The fenced blocks of a page, those within lists too; `page` is a path in the repository."""
    text = (REPOSITORY / page).read_text()
    return [Block(page, language, block) for _, language, block in _BLOCK.findall(text)]


def examples_of(page: str, language: str = "bash") -> list[str]:
    """The texts of a page's blocks in one language; there has to be one."""
    found = [block.text for block in blocks_of(page) if block.language == language]
    assert found, f"{page} has no blocks in {language}"
    return found
