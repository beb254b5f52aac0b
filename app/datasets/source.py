"""Bounds of a fetch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from app.datasets.guard import Opening
from app.datastores.stores import Store
from app.kernel.config import Settings


@dataclass(frozen=True, slots=True)
class FetchPolicy:
    """Bounds of one fetch; durations in seconds, sizes in bytes.

    `attempts` counts connections to the source; `ca_file` replaces the built-in authorities;
    `settings` open the datastores that files lie in, and `datastores` are those opened, by name.
    """

    openings: tuple[Opening, ...] = ()
    max_bytes: int = 100 * 1024**3
    total_seconds: float = 3600.0
    idle_seconds: float = 30.0
    connect_seconds: float = 10.0
    max_redirects: int = 5
    attempts: int = 4
    backoff_seconds: float = 0.5
    ca_file: Path | None = None
    settings: Settings | None = None
    datastores: Mapping[str, Store] = field(default_factory=dict)
