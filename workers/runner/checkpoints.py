"""Keep what the scripts save while they run, so that the next attempt can go on from there."""

from __future__ import annotations

import os
import shutil
import threading
from typing import Set, Tuple

from workers.runner.api import Endpoint, persist
from workers.runner.errors import Fenced, GaveUp, Refused, Stopped
from workers.runner.notes import Notes
from workers.runner.order import inside
from workers.runner.outputs import upload_folders

LOOK_SECONDS = 2.0

Listing = Set[Tuple[str, int, int]]
"""Of each file its path in the folder, its size in bytes, and when it was written."""


class CheckpointKeeper(threading.Thread):
    """Uploads a folder whenever it has changed and then stayed as it is for one look.

    Its files are held by links meanwhile, so that scripts which save faster than is uploaded, and
    remove what is old, lose nothing. What is written over while it is uploaded is not told to the
    control plane: a checkpoint is whole. What the folder holds when the keeper is made is known
    already, so make it before the scripts start.

    Args:
        endpoint: the control plane.
        work_dir: the scripts' folder.
        folder: the folder in it; it need not be there.
        held_dir: a folder of the keeper's own, on the same disk.
        notes: takes what went wrong.
    """

    def __init__(
        self, endpoint: Endpoint, *, work_dir: str, folder: str, held_dir: str, notes: Notes
    ) -> None:
        super().__init__(name="checkpoints", daemon=True)
        self._endpoint = endpoint
        self._work_dir = work_dir
        self._folder = folder
        self._held_dir = held_dir
        self._notes = notes
        self._closing = threading.Event()
        self._kept = self._listing(work_dir)

    def run(self) -> None:
        """Look until closed, fenced or refused."""
        seen = self._kept
        while not self._closing.wait(LOOK_SECONDS):
            found = self._listing(self._work_dir)
            is_settled, seen = found == seen, found
            try:
                if is_settled and not self._keep(found):
                    return
            except (Fenced, GaveUp, Stopped):
                return

    def close(self) -> None:
        """Look no more."""
        self._closing.set()

    def keep_last(self) -> None:
        """Keep what the scripts saved in the end, once they have ended and it is closed.

        Raises:
            GaveUp, Fenced: as the control says.
        """
        self.join()
        found = self._listing(self._work_dir)
        if self._keep(found) and found and found != self._kept:
            self._notes.write(f"{self._folder}: what was saved last was not kept: it changed")

    def _keep(self, found: Listing) -> bool:
        """Keep what was found, if it is news; False: it was refused."""
        if not found or found == self._kept:
            return True
        try:
            if self._send(found):
                self._kept = found
        except Refused as refusal:
            self._notes.write(f"{self._folder}: was not kept: {refusal}")
            return False
        return True

    def _send(self, listing: Listing) -> bool:
        """Upload these files; False when they are others meanwhile."""
        try:
            base = self._held_dir if self._hold() else self._work_dir
            if self._listing(base) != listing:
                return False
            uploaded = upload_folders(
                self._endpoint, work_dir=base, folders=[self._folder], notes=self._notes
            )
            if uploaded.has_lost_files or self._listing(base) != listing:
                return False
        finally:
            shutil.rmtree(self._held_dir, ignore_errors=True)
        channel = self._endpoint.channel()
        body = {"files": uploaded.listed}
        persist(
            lambda: channel.post_json("/checkpoint", body, timeout_seconds=120),
            self._endpoint.control,
        )
        channel.close()
        return True

    def _hold(self) -> bool:
        """Link all files into the keeper's own folder; False where that is not to be had."""
        source = inside(self._work_dir, self._folder)
        target = os.path.join(self._held_dir, *self._folder.split("/"))
        if os.path.islink(source):
            return False
        try:
            for folder, folders, names in os.walk(source):
                if any(os.path.islink(os.path.join(folder, name)) for name in (*folders, *names)):
                    return False  # a link may lead to where there is only the true folder
                copy = os.path.join(target, os.path.relpath(folder, source))
                os.makedirs(copy)
                for name in names:
                    os.link(os.path.join(folder, name), os.path.join(copy, name))
        except OSError:
            return False
        return True

    def _listing(self, base: str) -> Listing:
        root = inside(base, self._folder)
        found: Listing = set()
        for folder, _, names in os.walk(root):
            for name in names:
                path = os.path.join(folder, name)
                try:
                    status = os.stat(path)
                except OSError:
                    continue
                found.add((os.path.relpath(path, root), status.st_size, status.st_mtime_ns))
        return found
