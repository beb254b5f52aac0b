"""Signed tokens of runs and nodes, and derived keys: nothing of them is stored."""

import base64
import hashlib
import hmac
import time
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import GuestProtocol, OctKey

from app.auth.principal import Principal
from app.auth.signing_keys import SigningKeys
from app.kernel.clock import utc_now
from app.kernel.errors import Unauthorized

RUN_TOKEN_SECONDS = 30 * 24 * 3600
"""A run lives 30 days at most, as in the contract; its tokens too."""
_LASTING = jwt.JWTClaimsRegistry(exp={"essential": True})


class Signer:
    """Makes and checks signed tokens with this installation's keys."""

    def __init__(self, keys: SigningKeys) -> None:
        self.keys = keys

    @classmethod
    def load(cls, data_dir: Path, key_file: Path | None = None) -> "Signer":
        """The signer of this installation.

        Args:
            data_dir: where its keys lie; the first is made on the first call.
            key_file: where the operator keeps them instead.

        Raises:
            OSError: the operator's file cannot be read.
            ValueError: what is in it are no keys, or a key is too short.
        """
        return cls(SigningKeys.load(data_dir, key_file))

    @property
    def installation_id(self) -> str:
        """What this installation writes on things outside its data folder that are its own."""
        return self.keys.installation_id

    def issue(self, principal: Principal, *, seconds: int = RUN_TOKEN_SECONDS) -> str:
        """A token (JWT, HS256) for a run or a node.

        Args:
            principal: whom it stands for; a ``run``, ``node``, ``discovery`` or ``artifacts``.
            seconds: how long it is valid; at most `RUN_TOKEN_SECONDS`, as keys are kept so long.
        """
        claims = {
            "kind": principal.kind,
            "sub": principal.id,
            "ws": principal.workspace_id,
            "att": principal.attempt,
        }
        return self.sign(claims, seconds=seconds)

    def verify(self, token: str) -> Principal:
        """The principal of a token.

        Raises:
            Unauthorized: not one of ours, altered, or expired.
        """
        claims = self.read(token)
        kind: Literal["run", "node", "discovery", "artifacts"] = claims["kind"]
        return Principal(
            kind=kind,
            id=claims["sub"],
            name=f"{kind} {claims['sub']}",
            workspace_id=claims["ws"],
            attempt=claims["att"],
        )

    def sign(self, claims: dict[str, Any], *, seconds: int, purpose: str = "") -> str:
        """Claims as a JWT (HS256).

        Args:
            claims: what is signed; ``iat`` and ``exp`` are added.
            seconds: how long it is valid.
            purpose: what it is for, where it is no token of the API: it is good for nothing else.
        """
        now = int(time.time())
        key = self.keys.at(utc_now())
        header = {"alg": "HS256", "kid": key.id}
        return jwt.encode(
            header, {**claims, "iat": now, "exp": now + seconds}, _jwk(key.secret, purpose)
        )

    def read(self, token: str, *, purpose: str = "") -> dict[str, Any]:
        """The claims that were signed for this purpose.

        Raises:
            Unauthorized: not by one of our keys, altered, or expired.
        """

        def find(signed: GuestProtocol) -> OctKey:
            key_id = signed.headers().get("kid")
            # Only the first key has signed without its name.
            key = self.keys.all()[0] if key_id is None else self.keys.named(key_id)
            if key is None:
                raise ValueError("its key is not there")
            return _jwk(key.secret, purpose)

        try:
            claims = jwt.decode(token, find, algorithms=["HS256"]).claims
            # Made where the clock is ahead, it seems to be of the future: it is good all the same.
            _LASTING.validate({name: claims[name] for name in claims if name != "iat"})
        except (JoseError, ValueError, TypeError) as error:
            # Its header is anybody's: the library stumbles over odd types in it.
            raise Unauthorized("This token is not valid, or it has expired.") from error
        return claims

    def derive(self, prefix: str, purpose: str, *, at: datetime) -> str:
        """A key that only this installation can compute (HMAC-SHA-256 over ``purpose``).

        Args:
            prefix: what it begins with.
            purpose: what it is for.
            at: when that was made: the key that signed then is taken, whenever this is asked.
        """
        digest = hmac.digest(self.keys.at(at).secret, purpose.encode(), hashlib.sha256)
        return prefix + base64.urlsafe_b64encode(digest).decode().rstrip("=")


def _jwk(secret: bytes, purpose: str) -> OctKey:
    key = hmac.digest(secret, purpose.encode(), hashlib.sha256) if purpose else secret
    return OctKey.import_key(key)
