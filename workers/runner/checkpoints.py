"""Keep what the scripts save while they run, so that the next attempt can go on from there."""

from __future__ import annotations

import functools
import os
import shutil
import threading
from collections.abc import Callable
from typing import Dict, Tuple

from workers.runner.api import Endpoint, persist
from workers.runner.errors import Fenced, GaveUp, Refused, Stopped
from workers.runner.notes import Notes
from workers.runner.order import inside
from workers.runner.outputs import upload_folders

LOOK_SECONDS = 2.0
MOST_RESTLESS_LOOKS = 5
"""After so many looks at a folder that never rests, some ten seconds, it is kept as it goes by."""

Listing = Dict[str, Tuple[int, int]]
"""Of each file, by its path in the folder: its size in bytes, and when it was written."""


class CheckpointKeeper(threading.Thread):
    """Uploads a folder whenever it has changed and then stayed as it is for one look.

    Its files are held by links meanwhile, so that scripts which save faster than is uploaded, and
    remove what is old, lose nothing. What is written over while it is uploaded is not told to the
    control plane: a checkpoint is whole. A folder that never rests, because the script saves again
    sooner than we look, is held first: what rests in there from one look to the next is whole.
    What the folder holds when the keeper is made is known already, so make it before the scripts
    start.

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
        restless_looks = 0
        while not self._closing.wait(LOOK_SECONDS):
            before, seen = seen, self._listing(self._work_dir)
            if not seen or seen == self._kept:
                restless_looks = 0
                continue
            restless_looks += 1
            try:
                if seen == before:
                    goes_on = self._keep(seen, self._send)
                elif restless_looks > MOST_RESTLESS_LOOKS:
                    goes_on = self._keep(seen, functools.partial(self._send_moving, before))
                else:
                    continue
            except (Fenced, GaveUp, Stopped):
                return
            if not goes_on:
                return
            if self._kept is seen:
                restless_looks = 0

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
        if not found or found == self._kept:
            return
        if self._keep(found, self._send) and found != self._kept:
            self._notes.write(f"{self._folder}: what was saved last was not kept: it changed")

    def _keep(self, found: Listing, send: Callable[[Listing], bool]) -> bool:
        """Keep what was found; False: it was refused."""
        try:
            if send(found):
                self._kept = found
        except Refused as refusal:
            self._notes.write(f"{self._folder}: was not kept: {refusal}")
            return False
        finally:
            shutil.rmtree(self._held_dir, ignore_errors=True)
        return True

    def _send(self, listing: Listing) -> bool:
        """Upload these files, which rested; False when they are others meanwhile."""
        base = self._held_dir if self._hold() else self._work_dir
        return self._listing(base) == listing and self._upload(base, listing)

    def _send_moving(self, before: Listing, found: Listing) -> bool:
        """Upload the files of a folder that never rests; False when they are not whole.

        What is written while it is held can be left out if it is new: that is the next checkpoint,
        and nothing speaks of it yet. A file that was there, and is written over, cannot.

        Args:
            before: the listing of the look before.
            found: the listing of this look.
        """
        if not self._hold() or self._closing.wait(LOOK_SECONDS):
            return False
        held = self._listing(self._held_dir)
        if held.keys() != found.keys():
            return False
        changed = [path for path in found if held[path] != found[path]]
        if any(path in before for path in changed):
            return False
        for path in changed:
            os.unlink(os.path.join(inside(self._held_dir, self._folder), path))
            del held[path]
        return bool(held) and self._upload(self._held_dir, held)

    def _upload(self, base: str, listing: Listing) -> bool:
        """Upload the files that are there; False when they do not stay these."""
        uploaded = upload_folders(
            self._endpoint, work_dir=base, folders=[self._folder], notes=self._notes
        )
        if uploaded.has_lost_files or self._listing(base) != listing:
            return False
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
        found: Listing = {}
        for folder, _, names in os.walk(root):
            for name in names:
                path = os.path.join(folder, name)
                try:
                    status = os.stat(path)
                except OSError:
                    continue
                found[os.path.relpath(path, root)] = (status.st_size, status.st_mtime_ns)
        return found
