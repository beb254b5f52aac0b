"""Keys of deployments and tokens of replicas: derived, never stored.

Each comes from the signing key of the time when it was made, so that another signing key changes
nothing of what somebody holds.
"""

import hmac
from datetime import datetime
from typing import Literal

from app.auth.service import DEPLOYMENT_KEY_PREFIX
from app.auth.signing import Signer
from app.tables.deployment import Deployment

KeyName = Literal["primary", "secondary"]


def deployment_keys(signer: Signer, row: Deployment) -> dict[KeyName, str]:
    """Both keys of a deployment as they are now."""
    return {
        "primary": _key(
            signer, row.id, "primary", row.primary_key_number, made_at=row.primary_key_at
        ),
        "secondary": _key(
            signer, row.id, "secondary", row.secondary_key_number, made_at=row.secondary_key_at
        ),
    }


def is_key_of(signer: Signer, row: Deployment, key: str) -> bool:
    """Whether ``key`` is one of the deployment's keys."""
    found = [hmac.compare_digest(key, own) for own in deployment_keys(signer, row).values()]
    return any(found)


def replica_token(signer: Signer, replica_name: str, *, made_at: datetime) -> str:
    """What a replica wants to see on every prediction request."""
    return signer.derive("twr_", f"replica/{replica_name}", at=made_at)


def _key(
    signer: Signer, deployment_id: str, name: KeyName, number: int, *, made_at: datetime
) -> str:
    purpose = f"deployment/{deployment_id}/{name}/{number}"
    return signer.derive(DEPLOYMENT_KEY_PREFIX, purpose, at=made_at)
