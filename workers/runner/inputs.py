"""The named inputs of a node: where they lie and how a script finds them."""

from __future__ import annotations

import os

from workers.runner.api import Endpoint
from workers.runner.errors import PrepareError
from workers.runner.fetch import fetch_files, is_whole, link_files
from workers.runner.order import Order, OrderInput, inside


class Inputs:
    """Prepared inputs.

    Args:
        folder: the node's folder of inputs.
        work_dir: the scripts' working folder, to which a relative path on compute belongs.
    """

    def __init__(self, *, folder: str, work_dir: str) -> None:
        self._folder = folder
        self._work_dir = work_dir
        self._outside: list[str] = []
        self.paths: dict[str, str] = {}

    def prepare(self, endpoint: Endpoint, order: Order) -> None:
        """Mount or download every input of the order.

        Raises:
            PrepareError: see `fetch_files` and `link_files`; or a path on compute is taken.
        """
        for item in order.inputs:
            if item.mode == "mount" and item.mounted_at and is_whole(item.files, item.mounted_at):
                self.paths[item.name] = self._place(item, item.mounted_at)
                continue
            folder = os.path.join(self._folder, item.name)
            os.makedirs(folder, exist_ok=True)
            what = f"input {item.name!r}"
            if item.mode == "mount" and order.objects_dir is not None:
                link_files(item.files, folder, objects_dir=order.objects_dir, what=what)
            else:
                fetch_files(endpoint, item.files, folder, objects_dir=order.objects_dir, what=what)
            self.paths[item.name] = self._place(item, folder)

    def remove_outside(self) -> None:
        """Remove the links that were made outside the node's folder."""
        for path in self._outside:
            if os.path.islink(path) and os.readlink(path).startswith(self._folder + os.sep):
                os.unlink(path)

    def _place(self, item: OrderInput, folder: str) -> str:
        wanted = item.path_on_compute
        if not wanted or wanted == folder:
            return folder
        is_outside = os.path.isabs(wanted)
        path = os.path.normpath(wanted) if is_outside else inside(self._work_dir, wanted)
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            os.symlink(folder, path)
        except OSError as error:
            raise PrepareError(
                "input_path_unavailable",
                f"input {item.name!r} cannot be put at {wanted!r}: {error.strerror}",
            ) from error
        if is_outside:
            self._outside.append(path)
        return path
