"""Secrets: what users keep for their runs, and what other domains keep for themselves.

Other domains pass a ``scope`` of their own, such as ``datastore/<id>``: such secrets are encrypted
and re-encrypted like all, are listed nowhere, and go with `forget`.
"""

from collections.abc import Callable

from sqlalchemy.ext.asyncio import AsyncSession

from app.kernel.keyring import Keyring, Sealed
from app.secrets import repository
from app.secrets.errors import SecretNotFound, TooManySecrets
from app.tables.secret import Secret, SecretVersion

MOST_SECRETS = 1000
MOST_VERSIONS = 20
"""So many versions of a secret are kept."""
USERS = ""
"""The scope of the secrets that users name themselves."""


async def put(
    session: AsyncSession,
    keyring: Keyring,
    *,
    workspace_id: str,
    name: str,
    value: bytes,
    actor: str,
    scope: str = USERS,
    description: str = "",
    accepts: Callable[[Secret | None], None] | None = None,
) -> Secret:
    """Write a value as a new version of a secret, which is made if there is none.

    Args:
        session: the transaction.
        keyring: encrypts the value.
        workspace_id: where it belongs.
        name: of the secret, within its scope.
        value: the bytes to be kept.
        actor: who writes it.
        scope: whose it is.
        description: what it is for.
        accepts: looks at the secret as it is now, held; None: there is none yet. May refuse.

    Raises:
        TooManySecrets: it is one too many for the workspace.
    """
    await repository.let_no_key_be_added(session)
    secret, is_new = await repository.get_or_create(session, workspace_id, scope, name)
    if accepts is not None:
        accepts(None if is_new else secret)
    if is_new and await repository.count(session, workspace_id, scope) > MOST_SECRETS:
        raise TooManySecrets(f"A workspace has at most {MOST_SECRETS} secrets; delete some first.")
    secret.version += 1
    secret.description = description
    sealed = keyring.seal(value, purpose=purpose(workspace_id, secret.id, secret.version))
    session.add(
        SecretVersion(
            secret_id=secret.id,
            version=secret.version,
            key_id=sealed.key_id,
            sealed=sealed.data,
            created_by=actor,
        )
    )
    await session.flush()
    await repository.drop_versions(session, secret.id, up_to=secret.version - MOST_VERSIONS)
    await session.refresh(secret)
    return secret


async def reveal(
    session: AsyncSession,
    keyring: Keyring,
    *,
    workspace_id: str,
    name: str,
    scope: str = USERS,
    version: int | None = None,
) -> bytes:
    """The value of a secret, for those who may have it: never for an answer to a client.

    Args:
        session: the transaction.
        keyring: decrypts the value.
        workspace_id: where it belongs.
        name: of the secret, within its scope.
        scope: whose it is.
        version: which one; None: the newest.

    Raises:
        SecretNotFound: there is no such secret, or the version is not kept any more.
        KeyUnknown, ValueAltered: it cannot be decrypted.
    """
    secret = await repository.get(session, workspace_id, scope, name)
    number = secret.version if version is None else version
    row = await repository.find_version(session, secret.id, number)
    if row is None:
        raise SecretNotFound(f"Secret {name!r} has no version {number} (any more).")
    sealed = Sealed(row.key_id, row.sealed)
    return keyring.open(sealed, purpose=purpose(workspace_id, secret.id, number))


async def reveal_all(
    session: AsyncSession, keyring: Keyring, *, workspace_id: str, scope: str
) -> dict[str, bytes]:
    """The newest values of all secrets of another domain's thing, by name.

    Raises:
        KeyUnknown, ValueAltered: one cannot be decrypted.
    """
    assert scope != USERS
    found = {}
    for secret in await repository.list_scope(session, workspace_id, scope):
        row = await repository.find_version(session, secret.id, secret.version)
        assert row is not None
        sealed = Sealed(row.key_id, row.sealed)
        bound = purpose(workspace_id, secret.id, secret.version)
        found[secret.name] = keyring.open(sealed, purpose=bound)
    return found


async def forget(session: AsyncSession, *, workspace_id: str, scope: str) -> None:
    """Delete all secrets of another domain's thing."""
    assert scope != USERS
    await repository.delete_scope(session, workspace_id, scope)


def purpose(workspace_id: str, secret_id: str, version: int) -> str:
    """What a version's bytes are bound to: they decrypt in no other row."""
    return f"secret/{workspace_id}/{secret_id}/{version}"
