"""Calls to the control plane, with the token of the run."""

import http.client
import json
import os
import time
import uuid
from urllib.parse import quote, urlencode, urlsplit

from azureml.exceptions import RunEnvironmentException, ServiceException

RETRY_SECONDS = 30.0
CHUNK_BYTES = 1 << 18
MODEL_NAME_PATTERN = "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"  # the service's own


class Service(object):
    """The workspace's API.

    Args:
        url: address of the workspace, as in TRAINWRIGHT_API.
        token: bearer token of the run.
    """

    def __init__(self, url, token):
        if not url or not token:
            raise RunEnvironmentException(
                "TRAINWRIGHT_API and AZUREML_RUN_TOKEN are needed to reach the run's history."
            )
        self._parts = urlsplit(url)
        self._token = token

    def get(self, path, **query):
        """GET a JSON document."""
        return json.loads(self._call("GET", with_query(path, query)).decode("utf-8"))

    def send(self, method, path, document, retry_seconds=RETRY_SECONDS):
        """Send a JSON document and return the one answered.

        Sending is repeated when the answer is lost: the key keeps that from making two of a thing.
        """
        body = json.dumps(document).encode("ascii")
        headers = {"Content-Type": "application/json"}
        if method == "POST":
            headers["Idempotency-Key"] = str(uuid.uuid4())
        answer = self._call(method, path, body, headers, retry_seconds)
        return json.loads(answer.decode("utf-8")) if answer else {}

    def items(self, path, **query):
        """GET all pages of a list."""
        found = []
        while True:
            page = self.get(path, **query)
            found += page.get("items", [])
            if not page.get("next_page_token"):
                return found
            query["page_token"] = page["next_page_token"]

    def download(self, path, target):
        """GET bytes into a file."""
        folder = os.path.dirname(os.path.abspath(target))
        os.makedirs(folder, exist_ok=True)
        data = self._call("GET", path)
        with open(target, "wb") as file:
            file.write(data)

    def upload(self, path, source):
        """PUT a file's bytes; `source` is a path."""
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(os.stat(source).st_size),
        }

        def chunks():
            with open(source, "rb") as file:
                chunk = file.read(CHUNK_BYTES)
                while chunk:
                    yield chunk
                    chunk = file.read(CHUNK_BYTES)

        self._call("PUT", path, chunks, headers)

    def upload_bytes(self, path, data, retry_seconds=RETRY_SECONDS):
        """PUT bytes that are in memory."""
        headers = {"Content-Type": "application/octet-stream"}
        self._call("PUT", path, data, headers, retry_seconds)

    def _call(self, method, path, body=None, headers=None, retry_seconds=RETRY_SECONDS):
        """Call until answered, for at most `retry_seconds`; every call here may be repeated."""
        ends_at = time.time() + retry_seconds
        pause_seconds = 0.2
        while True:
            try:
                return self._once(method, path, body, headers or {})
            except (OSError, http.client.HTTPException) as error:
                failure = ServiceException("The service cannot be reached: {!r}".format(error))
            except ServiceException as error:
                if error.status_code is None or error.status_code < 500:
                    raise
                failure = error
            if time.time() + pause_seconds > ends_at:
                raise failure
            time.sleep(pause_seconds)
            pause_seconds = min(2.0, pause_seconds * 2)

    def _once(self, method, path, body, headers):
        kind = http.client.HTTPConnection
        if self._parts.scheme == "https":
            kind = http.client.HTTPSConnection
        connection = kind(self._parts.hostname, self._parts.port, timeout=60)
        try:
            content = body() if callable(body) else body
            sent = dict(headers, Authorization="Bearer " + self._token)
            connection.request(method, self._parts.path.rstrip("/") + path, content, sent)
            response = connection.getresponse()
            data = response.read()
        finally:
            connection.close()
        if response.status >= 300:
            raise _refusal(response.status, data)
        return data


def file_path(run_id, name):
    """Return the address of a run's file."""
    return "/runs/{}/files/{}".format(quote(run_id, safe=""), quote(name))


def versions_path(model_name):
    """Return the address of a model's versions.

    Raises:
        ServiceException: the name fits in no address, so that the service cannot say what is wrong.
    """
    name = str(model_name)
    if name in ("", ".", "..") or "/" in name:
        message = "path/model: String should match pattern '{}'".format(MODEL_NAME_PATTERN)
        raise ServiceException(message, status_code=422, code="invalid")
    return "/models/{}/versions".format(quote(name, safe="", errors="replace"))


def with_query(path, query):
    """Return the path with the query values that are not None."""
    given = {name: value for name, value in query.items() if value is not None}
    return path + "?" + urlencode(given) if given else path


def _refusal(status, data):
    try:
        problem = json.loads(data.decode("utf-8"))
    except ValueError:
        problem = {}
    detail = problem.get("detail") or problem.get("title") or "HTTP {}".format(status)
    return ServiceException(str(detail), status_code=status, code=str(problem.get("code", "")))
