"""Signed tokens of runs and nodes, and derived keys: nothing of them is stored."""

import base64
import hashlib
import hmac
import secrets
import time
from pathlib import Path
from typing import Literal

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from app.auth.principal import Principal
from app.kernel.errors import Unauthorized
from app.kernel.secret_files import read_secret

RUN_TOKEN_SECONDS = 30 * 24 * 3600
"""A run lives 30 days at most, as in the contract; its tokens too."""
_SHORTEST_KEY_BYTES = 32


class Signer:
    """Makes and checks signed tokens with this installation's key."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._jwk = OctKey.import_key(key)

    @classmethod
    def load(cls, data_dir: Path, key_file: Path | None = None) -> "Signer":
        """The signer of this installation.

        Args:
            data_dir: where its key lies; made on the first call.
            key_file: where the operator keeps it instead.

        Raises:
            OSError: the operator's file cannot be read.
            ValueError: the key in it is too short.
        """
        if key_file is not None:
            key = read_secret(key_file).encode()
            if len(key) < _SHORTEST_KEY_BYTES:
                raise ValueError(
                    f"the signing key in {key_file} has {len(key)} bytes; at least "
                    f"{_SHORTEST_KEY_BYTES} random ones are needed"
                )
            return cls(key)
        path = data_dir / "secrets" / "signing.key"
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
            temporary.touch(mode=0o600)
            temporary.write_bytes(secrets.token_bytes(32))
            try:
                # A link never replaces: of two processes that start at once, one key wins.
                path.hardlink_to(temporary)
            except FileExistsError:
                pass
            finally:
                temporary.unlink()
        return cls(path.read_bytes())

    @property
    def installation_id(self) -> str:
        """What this installation writes on things outside its data folder that are its own."""
        digest = hmac.digest(self._key, b"installation", hashlib.sha256)
        return f"tw-{digest.hex()[:16]}"

    def issue(self, principal: Principal, *, seconds: int = RUN_TOKEN_SECONDS) -> str:
        """A token (JWT, HS256) for a run or a node.

        Args:
            principal: whom it stands for; a ``run``, ``node``, ``discovery`` or ``artifacts``.
            seconds: how long it is valid.
        """
        now = int(time.time())
        claims = {
            "kind": principal.kind,
            "sub": principal.id,
            "ws": principal.workspace_id,
            "att": principal.attempt,
            "iat": now,
            "exp": now + seconds,
        }
        return jwt.encode({"alg": "HS256"}, claims, self._jwk)

    def verify(self, token: str) -> Principal:
        """The principal of a token.

        Raises:
            Unauthorized: not one of ours, altered, or expired.
        """
        try:
            claims = jwt.decode(token, self._jwk, algorithms=["HS256"]).claims
            jwt.JWTClaimsRegistry(exp={"essential": True}).validate(claims)
        except (JoseError, ValueError) as error:
            raise Unauthorized("This token is not valid, or it has expired.") from error
        kind: Literal["run", "node", "discovery", "artifacts"] = claims["kind"]
        return Principal(
            kind=kind,
            id=claims["sub"],
            name=f"{kind} {claims['sub']}",
            workspace_id=claims["ws"],
            attempt=claims["att"],
        )

    def derive(self, prefix: str, purpose: str) -> str:
        """A key that only this installation can compute (HMAC-SHA-256 over ``purpose``)."""
        digest = hmac.digest(self._key, purpose.encode(), hashlib.sha256)
        return prefix + base64.urlsafe_b64encode(digest).decode().rstrip("=")
