"""Engines that answer over the network only to those who hold a certificate."""

import datetime as dt
import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from app.providers.base import ProviderError
from app.providers.docker.engine import EngineAddress, EngineAway, engine
from tests.engines import Engine, segment

pytestmark = pytest.mark.docker


class Authority:
    """Who signs certificates."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("authority")
        builder = _builder(self._name, self._name, self._key)
        is_one = x509.BasicConstraints(ca=True, path_length=None)
        self._own = builder.add_extension(is_one, critical=True).sign(self._key, hashes.SHA256())

    def write(self, folder: Path, address: str | None = None) -> Path:
        """Write ca.pem and a new cert.pem with its key.pem: a server's with an address."""
        folder.mkdir()
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_name("bearer"), self._name, key)
        if address is not None:
            names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
            builder = builder.add_extension(names, critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        pem = serialization.Encoding.PEM
        (folder / "ca.pem").write_bytes(self._own.public_bytes(pem))
        (folder / "cert.pem").write_bytes(certificate.public_bytes(pem))
        (folder / "key.pem").write_bytes(
            key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )
        return folder


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(hours=1))
    )


@dataclass(frozen=True)
class Guarded:
    """An engine behind TLS, and who signed for it."""

    engine: Engine
    authority: Authority


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    authority = Authority()
    with segment() as network:
        folder = authority.write(tmp_path_factory.mktemp("tls") / "server", network.next_address)
        files = {"tlscacert": "ca", "tlscert": "cert", "tlskey": "key"}
        given = [f"--{option}={folder}/{name}.pem" for option, name in files.items()]
        with network.engine("guarded", "--tlsverify", *given) as found:
            yield Guarded(found, authority)


def test_who_holds_a_certificate_is_answered(guarded: Guarded, tmp_path: Path) -> None:
    folder = guarded.authority.write(tmp_path / "client")

    with engine(EngineAddress(guarded.engine.network_url, folder)) as client:
        assert client.info()["Name"] == "guarded"


def test_who_holds_none_or_another_is_not(guarded: Guarded, tmp_path: Path) -> None:
    other = Authority().write(tmp_path / "other")
    for folder in (None, other):
        address = EngineAddress(guarded.engine.network_url, folder)
        with pytest.raises(EngineAway), engine(address) as client:
            client.info()


def test_a_certificate_that_is_not_there_is_named(tmp_path: Path) -> None:
    address = EngineAddress("tcp://127.0.0.1:1", tmp_path)
    with pytest.raises(ProviderError, match=r"ca\.pem is missing"), engine(address):
        pass
