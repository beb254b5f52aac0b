"""Fetching many files with one progress bar."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from trainwright.commands.output import bytes_progress, say, size
from trainwright.connection import Connection
from trainwright.downloads import download_file, safe_target
from trainwright.parallel import side_by_side


def fetch_all(
    connection: Connection,
    items: Sequence[dict[str, Any]],
    folder: Path,
    path_of: Callable[[dict[str, Any]], str],
    *,
    strip: str = "",
) -> None:
    """Fetch files into a folder, some side by side; what is complete there already stays.

    Args:
        connection: to the server.
        items: as the API lists them: `path`, `size_bytes`, `sha256`.
        folder: where they go.
        path_of: the path to ask for an item under.
        strip: a folder that all are in and that is not made here.

    Raises:
        TransferFailed: a file's name leads out of the folder, or its bytes are others.
        Unreachable: an outage lasted too long; the next call goes on.
    """
    # All names are looked at before anything is written.
    targets = [safe_target(folder, item["path"].removeprefix(strip)) for item in items]
    total = sum(item["size_bytes"] for item in items)
    folder.mkdir(parents=True, exist_ok=True)
    with bytes_progress() as progress:
        task = progress.add_task("Fetching", total=total)

        def fetch(pair: tuple[dict[str, Any], Path]) -> None:
            item, target = pair
            download_file(
                connection,
                path_of(item),
                target,
                size_bytes=item["size_bytes"],
                sha256=item["sha256"],
                on_bytes=lambda count: progress.advance(task, count),
            )

        side_by_side(fetch, zip(items, targets, strict=True))
    say(f"{len(items)} files, {size(total)}, all as announced.")
