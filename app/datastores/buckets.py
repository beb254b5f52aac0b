"""Buckets as datastores.

They are asked through the object store library, which resolves names itself and follows
redirects: so only at the clouds' own addresses and at servers that the operator opened.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import (
    BaseError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from obstore.store import AzureStore, GCSStore, S3Store

from app.datastores.errors import DatastoreRefused, NotWritable
from app.datastores.stores import CHUNK_BYTES, Listed, Opened
from app.kernel.errors import Unavailable

_CLIENT_OPTIONS: Any = {"connect_timeout": timedelta(seconds=10), "timeout": timedelta(hours=6)}
_GOOGLE_TAKEN_FIRST = (
    "GOOGLE_BEARER_TOKEN",
    "GOOGLE_SERVICE_ACCOUNT",
    "GOOGLE_SERVICE_ACCOUNT_PATH",
)
_S3_TAKEN_FIRST = ("AWS_ENDPOINT_URL_S3",)
_AZURE_TAKEN_FIRST = ("AZURE_STORAGE_USE_EMULATOR",)
"""Variables that the library takes before what a datastore says."""
_RETRIES: Any = {"max_retries": 3, "retry_timeout": timedelta(seconds=30)}


@dataclass(frozen=True)
class BucketStore:
    """A bucket.

    Attributes:
        store: of the library, without the prefix.
        reader: the same, for reading files.
        prefix: of all files, with a slash at its end unless it is empty.
        is_writable: whether files may be put there.
    """

    store: Any
    reader: Any
    prefix: str
    is_writable: bool = True

    def address(self, path: str) -> str:
        """Files are asked for through the library."""
        return ""

    def etag(self, path: str) -> str:
        """As the server says it."""
        with _translated():
            return str(obstore.head(self.reader, self.prefix + path)["e_tag"])

    def open(self, path: str) -> Opened:
        """The file."""
        with _translated():
            found = obstore.head(self.reader, self.prefix + path)
        etag = str(found["e_tag"])
        return Opened(etag, found["size"], partial(self._chunks, path, etag), _close_nothing)

    def _chunks(self, path: str, etag: str, start: int, end: int) -> Iterator[bytes]:
        if start == end:
            return
        options: Any = {"range": (start, end), "if_match": etag}
        with _translated():
            found = obstore.get(self.reader, self.prefix + path, options=options)
            for chunk in found.stream(min_chunk_size=CHUNK_BYTES):
                yield bytes(chunk)

    def listed(self, prefix: str) -> Iterator[Listed]:
        """Files by their keys."""
        folder = (self.prefix + prefix).rpartition("/")[0]
        with _translated():
            for page in obstore.list(self.store, folder or None, chunk_size=1000):
                for entry in page:
                    path = entry["path"].removeprefix(self.prefix)
                    if path.startswith(prefix) and entry["path"].startswith(self.prefix):
                        yield path, entry["size"]

    def put(self, path: str, source: Path) -> None:
        """Write a file, in parts where it is large."""
        if not self.is_writable:
            raise NotWritable("Nothing can be written to this bucket without credentials.")
        with _translated():
            obstore.put(self.store, self.prefix + path, source)


def s3_store(place: dict[str, Any], credentials: dict[str, str]) -> BucketStore:
    """A bucket of S3.

    Raises:
        DatastoreRefused: the environment would send its requests elsewhere.
    """
    _check_environment(_S3_TAKEN_FIRST)
    endpoint = place["endpoint"] or f"https://s3.{place['region']}.amazonaws.com"
    config: Any = {
        "endpoint": endpoint,
        "region": place["region"],
        "skip_signature": not credentials,
    }
    keys = {
        "access_key_id": credentials.get("access_key_id"),
        "secret_access_key": credentials.get("secret_access_key"),
        "token": credentials.get("session_token"),
    }
    signing = _only(keys) if credentials else {}
    store = S3Store(place["bucket"], config=config, **_client(endpoint), **signing)
    return BucketStore(store, store, _folder(place["prefix"]))


def azure_store(place: dict[str, Any], credentials: dict[str, str]) -> BucketStore:
    """A container of Azure Blob.

    Raises:
        DatastoreRefused: the environment would send its requests elsewhere.
    """
    _check_environment(_AZURE_TAKEN_FIRST)
    endpoint = place["endpoint"] or f"https://{place['account_name']}.blob.core.windows.net"
    config: Any = {"account_name": place["account_name"], "endpoint": endpoint}
    sas = credentials.get("sas_token", "").lstrip("?")
    form: dict[str, Any] = {"skip_signature": True}
    signing: dict[str, Any] = {}
    if "account_key" in credentials:
        form = {"account_key": credentials["account_key"]}
        signing = _only({"access_key": credentials["account_key"]})
    elif sas:
        form = {"sas_key": sas}
        signing = _only({"sas_token": sas})
    # The first only tells whether the credentials are of a form that can be used.
    tried: Any = {**config, **form}
    AzureStore(place["container"], config=tried, **_client(endpoint))
    config["skip_signature"] = not signing
    store = AzureStore(place["container"], config=config, **_client(endpoint), **signing)
    return BucketStore(store, store, _folder(place["prefix"]))


def gcs_store(place: dict[str, Any], credentials: dict[str, str]) -> BucketStore:
    """A bucket of Google Cloud Storage.

    Without credentials it can only be read: the library asks for reading without any, but writes
    with what it finds on the machine, which is not the user's.

    Raises:
        DatastoreRefused: there are credentials, and others in the environment that the library
            takes before them.
    """
    if credentials:
        _check_environment(_GOOGLE_TAKEN_FIRST)
    # What was registered when places had no endpoints has none.
    endpoint = place.get("endpoint") or "https://storage.googleapis.com"
    config: Any = {"base_url": endpoint}
    config |= (
        {"service_account_key": credentials["service_account_key"]}
        if credentials
        else {"skip_signature": True}
    )
    store = GCSStore(place["bucket"], config=config, **_client(endpoint))
    # What lies there gzipped Google unpacks on the way, and then says no size and sends no parts,
    # unless it is told that it need not. Lists are better not sent packed.
    packed = _client(endpoint, {"Accept-Encoding": "gzip"})
    reader = GCSStore(place["bucket"], config=config, **packed)
    return BucketStore(store, reader, _folder(place["prefix"]), is_writable=bool(credentials))


def _check_environment(names: Sequence[str]) -> None:
    for name in names:
        if name in os.environ:
            raise DatastoreRefused(
                f"The environment of the control plane has {name}, which the library takes instead"
                " of what a datastore says; its operator can take it away from there."
            )


def _only(keys: Mapping[str, str | None]) -> dict[str, Any]:
    """What makes the library sign with these and nothing else.

    Beside credentials in its configuration it would take tokens from the environment, which are
    the machine's.
    """
    return {"credential_provider": lambda: {**keys, "expires_at": None}}


def _client(endpoint: str, headers: dict[str, str] | None = None) -> dict[str, Any]:
    is_plain = endpoint.startswith("http://")
    options: Any = {**_CLIENT_OPTIONS, "allow_http": is_plain, "default_headers": headers or {}}
    return {"client_options": options, "retry_config": _RETRIES}


def _folder(prefix: str) -> str:
    plain = prefix.strip("/")
    return f"{plain}/" if plain else ""


@contextmanager
def _translated() -> Iterator[None]:
    """Turn what the library raises into our errors.

    What it says may hold parts of answers, addresses and more, so none of it is passed on.
    """
    try:
        yield
    except (FileNotFoundError, NotFoundError) as error:
        raise FileNotFoundError("there is no such file, or no such bucket") from error
    except (PermissionDeniedError, UnauthenticatedError, PermissionError) as error:
        raise PermissionError("the credentials are not good for that") from error
    except BaseError as error:
        raise Unavailable(
            "The datastore does not answer, or refuses; its owner can check it."
        ) from error


def _close_nothing() -> None:
    """A bucket's file is held by nothing."""
