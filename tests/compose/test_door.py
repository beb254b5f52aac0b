"""What the gateway's HAProxy tells the API of who asks, with HAProxy itself and no container."""

import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address

import pytest
import yaml

from tests.conftest import REPOSITORY

CALLER = "203.0.113.9"
PROXY = "172.18.0.1"
TOLD = ("X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Prefix")


@dataclass(frozen=True)
class Doors:
    """Ports of a gateway.

    Attributes:
        front: for callers of the machine, and for proxies.
        nodes: for containers of runs.
    """

    front: int
    nodes: int


class Echo(BaseHTTPRequestHandler):
    """Answers with what is said of who asks."""

    def do_GET(self) -> None:
        """Answer."""
        said = {name: ", ".join(self.headers.get_all(name, [])) for name in TOLD}
        content = json.dumps(said).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture(scope="module")
def program() -> str:
    """Return HAProxy."""
    found = shutil.which("haproxy")
    if found is None:
        pytest.skip("no haproxy here: what it tells of who asks was NOT tested")
    return found


@pytest.fixture(scope="module")
def doors(program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    """Return the ports of the gateway before a server that echoes; they take PROXY headers."""
    with (
        socket.create_server(("127.0.0.1", 0)) as front,
        socket.create_server(("127.0.0.1", 0)) as nodes,
    ):
        doors = Doors(front.getsockname()[1], nodes.getsockname()[1])
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        config = tmp_path_factory.mktemp("door") / "haproxy.cfg"
        config.write_text(before(f"127.0.0.1:{server.server_port}", doors))
        process = subprocess.Popen([program, "-db", "-f", str(config)])
        try:
            await_open(doors.front)
            await_open(doors.nodes)
            yield doors
        finally:
            process.terminate()
            process.wait(timeout=10)
            server.shutdown()


def before(address: str, doors: Doors) -> str:
    """The gateway's configuration with this server behind it."""
    shipped = (REPOSITORY / "compose" / "haproxy.cfg").read_text()
    frontends, _, _ = shipped.partition("\nbackend api\n")
    for inside, port in ((8470, doors.front), (8471, doors.nodes)):
        frontends = frontends.replace(f"bind :{inside}\n", f"bind 127.0.0.1:{port} accept-proxy\n")
    return f"{frontends}\nbackend api\n    server echo {address}\n"


def await_open(port: int) -> None:
    """Wait until something listens."""
    deadline = time.monotonic() + 30
    while True:
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert time.monotonic() < deadline, "HAProxy does not listen"
        time.sleep(0.05)


def told(port: int, caller: str, **said: str) -> dict[str, str]:
    """What the API is told by a caller at this address who says this."""
    family, target = ("TCP6", "::1") if ip_address(caller).version == 6 else ("TCP4", "127.0.0.1")
    lines = [f"PROXY {family} {caller} {target} 1111 8470", "GET / HTTP/1.0", "Host: localhost"]
    lines += [f"X-Forwarded-{name}: {value}" for name, value in said.items()]
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall("\r\n".join([*lines, "", ""]).encode())
        answer = b"".join(iter(lambda: client.recv(4096), b""))
    found = json.loads(answer.partition(b"\r\n\r\n")[2])
    return {name.removeprefix("X-Forwarded-"): value for name, value in found.items() if value}


def test_the_configuration_is_one(program: str) -> None:
    shipped = REPOSITORY / "compose" / "haproxy.cfg"
    checked = subprocess.run([program, "-c", "-f", shipped], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("caller", [CALLER, "2001:db8::7", "192.168.1.7", PROXY])
def test_the_address_of_a_caller_is_told(doors: Doors, caller: str) -> None:
    for port in (doors.front, doors.nodes):
        assert told(port, caller) == {"For": caller}


@pytest.mark.parametrize("proxy", [PROXY, "10.1.2.3", "fd00::1"])
def test_a_proxy_on_this_machine_or_beside_it_is_believed(doors: Doors, proxy: str) -> None:
    said = {"For": CALLER, "Proto": "https", "Prefix": "/models"}
    assert told(doors.front, proxy, **said) == said


@pytest.mark.parametrize("caller", [CALLER, "2001:db8::7"])
def test_others_are_not_believed_what_they_say_of_themselves(doors: Doors, caller: str) -> None:
    said = {"For": "198.51.100.1", "Proto": "https", "Prefix": "/models"}
    assert told(doors.front, caller, **said) == {"For": caller}


@pytest.mark.parametrize("container", [PROXY, "10.1.2.3", "fd00::1"])
def test_containers_of_runs_are_not_believed(doors: Doors, container: str) -> None:
    said = {"For": CALLER, "Proto": "https", "Prefix": "/models"}
    assert told(doors.nodes, container, **said) == {"For": container}


def test_containers_of_runs_have_the_door_that_believes_nobody() -> None:
    settings = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())
    ports = {port.split(":")[-1] for port in settings["services"]["gateway"]["ports"]}
    [nodes] = [port for port in settings["services"]["gateway"]["ports"] if "NODE_PORT" in port]
    assert (ports, nodes.rpartition(":")[2]) == ({"8470", "8471"}, "8471")
