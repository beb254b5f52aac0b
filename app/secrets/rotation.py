"""Rotation of the key that secrets are encrypted with; may be broken off and repeated."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy.ext.asyncio import AsyncSession

from app.kernel.keyring import Keyring, KeyUnknown, Sealed, ValueAltered
from app.secrets import repository
from app.secrets.service import purpose

BATCH_ROWS = 200

Sessions = Callable[[], AbstractAsyncContextManager[AsyncSession]]


@dataclass(frozen=True)
class Rotated:
    """What a rotation did.

    Attributes:
        key_id: the key that everything is encrypted with now.
        values: how many values were encrypted anew.
        unreadable: values that could not be decrypted, each by what it is bound to.
        is_new: whether the key was made now; else an earlier rotation was brought to its end.
        unused: the keys that nothing needs any more; where keys may be written, they are gone.
    """

    key_id: str
    values: int
    unreadable: tuple[str, ...]
    is_new: bool
    unused: frozenset[str]


async def rotate(sessions: Sessions, keyring: Keyring, *, may_write: bool) -> Rotated:
    """Encrypt all values with a new key, batch by batch, then forget the old ones.

    A rotation that was broken off is finished first: as long as something is encrypted with
    another key of the file, no further one is made. What cannot be decrypted stays as it is.

    Args:
        sessions: makes transactions.
        keyring: the installation's keys.
        may_write: whether keys may be added to their file; else its newest one is used.
    """
    async with sessions() as session:
        # After this, everybody who encrypts has read the file with the new key.
        await repository.let_nobody_encrypt(session)
        used = await repository.key_ids(session) & set(keyring.ids())
        is_new = may_write and used <= {keyring.current}
        if is_new:
            keyring.add()
    values, unreadable = 0, []
    batch = await _batch(sessions, keyring, after=("", 0))
    while batch.last is not None:
        values += batch.values
        unreadable += batch.unreadable
        batch = await _batch(sessions, keyring, after=batch.last)
    async with sessions() as session:
        await repository.let_nobody_encrypt(session)
        unused = set(keyring.ids()) - await repository.key_ids(session) - {keyring.current}
        if may_write:
            keyring.forget(unused)
        return Rotated(keyring.current, values, tuple(unreadable), is_new, frozenset(unused))


class _Batch(NamedTuple):
    values: int
    unreadable: list[str]
    last: tuple[str, int] | None
    """The last row that was looked at; None: there was none."""


async def _batch(sessions: Sessions, keyring: Keyring, *, after: tuple[str, int]) -> _Batch:
    unreadable = []
    last = None
    async with sessions() as session:
        await repository.let_no_key_be_added(session)
        rows = await repository.lock_under_other_keys(
            session, keyring.current, after=after, limit=BATCH_ROWS
        )
        for row, workspace_id in rows:
            last = (row.secret_id, row.version)
            bound_to = purpose(workspace_id, row.secret_id, row.version)
            try:
                value = keyring.open(Sealed(row.key_id, row.sealed), purpose=bound_to)
            except (KeyUnknown, ValueAltered):
                unreadable.append(bound_to)
                continue
            sealed = keyring.seal(value, purpose=bound_to)
            row.key_id, row.sealed = sealed.key_id, sealed.data
    return _Batch(len(rows) - len(unreadable), unreadable, last)
