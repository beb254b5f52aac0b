"""What the gateway's HAProxy tells the API of who asks, with HAProxy itself and no container."""

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address

import pytest

from tests.conftest import REPOSITORY

CALLER = "203.0.113.9"


class Echo(BaseHTTPRequestHandler):
    """Answers with what is said of who asks."""

    def do_GET(self) -> None:
        """Answer."""
        content = ", ".join(self.headers.get_all("X-Forwarded-For", [])).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Return the port of the gateway before a server that echoes; it takes PROXY headers."""
    program = shutil.which("haproxy")
    if program is None:
        pytest.skip("no haproxy here: what it tells of who asks was NOT tested")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        config = tmp_path_factory.mktemp("door") / "haproxy.cfg"
        config.write_text(before(f"127.0.0.1:{server.server_port}", port))
        process = subprocess.Popen([program, "-db", "-f", str(config)])
        try:
            await_open(port)
            yield port
        finally:
            process.terminate()
            process.wait(timeout=10)
            server.shutdown()


def before(address: str, port: int) -> str:
    """The gateway's configuration with this server behind it."""
    shipped = (REPOSITORY / "compose" / "haproxy.cfg").read_text()
    frontend, _, _ = shipped.partition("\nbackend api\n")
    frontend = frontend.replace("bind :8470", f"bind 127.0.0.1:{port} accept-proxy")
    return f"{frontend}\nbackend api\n    server echo {address}\n"


def await_open(port: int) -> None:
    """Wait until something listens."""
    deadline = time.monotonic() + 30
    while True:
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert time.monotonic() < deadline, "HAProxy does not listen"
        time.sleep(0.05)


def told(port: int, caller: str, said: str = "") -> str:
    """What the API is told of a caller at this address who says this."""
    family, target = ("TCP6", "::1") if ip_address(caller).version == 6 else ("TCP4", "127.0.0.1")
    lines = [f"PROXY {family} {caller} {target} 1111 8470", "GET / HTTP/1.0", "Host: localhost"]
    lines += [f"X-Forwarded-For: {said}"] if said else []
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall("\r\n".join([*lines, "", ""]).encode())
        answer = b"".join(iter(lambda: client.recv(4096), b""))
    return answer.partition(b"\r\n\r\n")[2].decode()


@pytest.mark.parametrize("caller", [CALLER, "2001:db8::7", "192.168.1.7", "172.18.0.1"])
def test_the_address_of_a_caller_is_told(port: int, caller: str) -> None:
    assert told(port, caller) == caller


@pytest.mark.parametrize("proxy", ["172.18.0.1", "10.1.2.3", "fd00::1"])
def test_a_proxy_on_this_machine_or_beside_it_is_believed(port: int, proxy: str) -> None:
    assert told(port, proxy, CALLER) == CALLER


@pytest.mark.parametrize("caller", [CALLER, "2001:db8::7"])
def test_others_are_not_believed_what_they_say_of_themselves(port: int, caller: str) -> None:
    assert told(port, caller, "198.51.100.1") == caller
