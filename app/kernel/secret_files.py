"""Secrets that the operator keeps in files, as container platforms hand them out."""

from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

from pydantic import SecretStr


def read_secret(path: Path) -> str:
    """The content of a secret's file, without the line end that editors leave.

    Raises:
        OSError: it cannot be read.
        ValueError: it is empty.
    """
    secret = path.read_text().strip()
    if not secret:
        raise ValueError(f"the secret in {path} is empty")
    return secret


def with_password(url: SecretStr, path: Path) -> SecretStr:
    """An address with the password that lies in a file.

    Args:
        url: with a host, with or without a user, without a password.
        path: of the password's file.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is empty, or the address has a password already, or no host.
    """
    parts = urlsplit(url.get_secret_value())
    if not parts.hostname:
        raise ValueError(f"there is a password in {path} for an address without a host")
    if parts.password is not None:
        raise ValueError(f"there is a password in {path}, and another one in the address")
    user, _, host = parts.netloc.rpartition("@")
    password = quote(read_secret(path), safe="")
    return SecretStr(urlunsplit(parts._replace(netloc=f"{user}:{password}@{host}")))
