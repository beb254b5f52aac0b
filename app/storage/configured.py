"""The object store that the settings describe."""

import json

from app.kernel.config import Settings
from app.storage.errors import StoreUnavailable
from app.storage.objects import ObjectStore
from app.storage.remote import RemoteObjects


def make_object_store(settings: Settings) -> ObjectStore:
    """The local folder, with the bucket of `object_store_url` behind it if one is set.

    Raises:
        StoreUnavailable: the bucket's address or its options are not understood.
        OSError: the file of options cannot be read.
    """
    remote = None
    if settings.object_store_url:
        options = {}
        if settings.object_store_options_file is not None:
            options = json.loads(settings.object_store_options_file.read_text())
        if not isinstance(options, dict):
            raise StoreUnavailable("the file of options must hold one JSON object")
        remote = RemoteObjects(settings.object_store_url, options)
    return ObjectStore(settings.data_dir / "objects", remote)
