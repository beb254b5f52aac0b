"""Keep what the scripts save while they run, so that the next attempt can go on from there."""

from __future__ import annotations

import os
import threading
from typing import Set, Tuple

from workers.runner.api import Endpoint, persist
from workers.runner.errors import Fenced, GaveUp, Refused, Stopped
from workers.runner.notes import Notes
from workers.runner.order import inside
from workers.runner.outputs import upload_folders

LOOK_SECONDS = 2.0

Listing = Set[Tuple[str, int, int]]


class CheckpointKeeper(threading.Thread):
    """Uploads a folder whenever it has changed and then stayed as it is for one look.

    What changes while it is uploaded is not told to the control plane: a checkpoint is whole. What
    the folder holds when the keeper is made is known already, so make it before the scripts start.

    Args:
        endpoint: the control plane.
        work_dir: the scripts' folder.
        folder: the folder in it; it need not be there.
        notes: takes what went wrong.
    """

    def __init__(self, endpoint: Endpoint, *, work_dir: str, folder: str, notes: Notes) -> None:
        super().__init__(name="checkpoints", daemon=True)
        self._endpoint = endpoint
        self._work_dir = work_dir
        self._folder = folder
        self._notes = notes
        self._closing = threading.Event()
        self._known = self._listing()

    def run(self) -> None:
        """Look until closed, fenced or refused."""
        kept = seen = self._known
        while not self._closing.wait(LOOK_SECONDS):
            found = self._listing()
            is_settled, seen = found == seen, found
            if not found or found == kept or not is_settled:
                continue
            try:
                if self._keep(found):
                    kept = found
            except (Fenced, GaveUp, Stopped):
                return
            except Refused as refusal:
                self._notes.write(f"{self._folder}: was not kept: {refusal}")
                return

    def close(self) -> None:
        """Look no more."""
        self._closing.set()

    def _keep(self, listing: Listing) -> bool:
        files = upload_folders(
            self._endpoint, work_dir=self._work_dir, folders=[self._folder], notes=self._notes
        )
        if self._listing() != listing:
            return False
        channel = self._endpoint.channel()
        persist(
            lambda: channel.post_json("/checkpoint", {"files": files}, timeout_seconds=120),
            self._endpoint.control,
        )
        channel.close()
        return True

    def _listing(self) -> Listing:
        found: Listing = set()
        for folder, _, names in os.walk(inside(self._work_dir, self._folder)):
            for name in names:
                path = os.path.join(folder, name)
                try:
                    status = os.stat(path)
                except OSError:
                    continue
                found.add((path, status.st_size, status.st_mtime_ns))
        return found
