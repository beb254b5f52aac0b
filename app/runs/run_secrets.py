"""Secrets of a run: checked when it is submitted, handed to its nodes when they start."""

import base64
from collections.abc import Mapping

from sqlalchemy.ext.asyncio import AsyncSession

from app.kernel.errors import invalid_field
from app.kernel.keyring import Keyring, KeyUnknown, ValueAltered
from app.runs.schemas import SecretUse
from app.runs.transitions import add_event
from app.secrets import repository, service
from app.secrets.errors import SecretNotFound
from app.tables.run import Run, RunNode


async def check_secrets(
    session: AsyncSession, workspace_id: str, wanted: Mapping[str, SecretUse]
) -> None:
    """See that all secrets of a request are there.

    Raises:
        Invalid: one is not, or not in the version that is asked for.
    """
    for name, use in wanted.items():
        row = await repository.find(session, workspace_id, service.USERS, use.secret)
        if row is None:
            message = f"There is no secret {use.secret!r}; write it with PUT …/secrets/NAME first."
            raise invalid_field(f"/secrets/{name}/secret", "unknown_secret", message)
        if use.version is None:
            continue
        if await repository.find_version(session, row.id, use.version) is None:
            message = f"Secret {use.secret!r} has no version {use.version}, but {row.version}."
            raise invalid_field(f"/secrets/{name}/version", "unknown_secret_version", message)


async def values_for_node(
    session: AsyncSession, keyring: Keyring, run: Run, node: RunNode
) -> list[dict[str, str]]:
    """The secrets of a run as its node needs them: a value in base64, or why there is none.

    Args:
        session: the transaction; the run is locked in it.
        keyring: decrypts the values.
        run: whose they are.
        node: that asks for them.
    """
    answers = []
    for name, use in run.request.get("secrets", {}).items():
        try:
            value = await service.reveal(
                session,
                keyring,
                workspace_id=run.workspace_id,
                name=use["secret"],
                version=use.get("version"),
            )
        except SecretNotFound as error:
            answers.append({"name": name, "error": error.detail})
        except (KeyUnknown, ValueAltered):
            message = f"Secret {use['secret']!r} cannot be decrypted here; an operator has to look."
            answers.append({"name": name, "error": message})
        else:
            answers.append({"name": name, "value": base64.b64encode(value).decode()})
    if answers:
        add_event(
            session, run, kind="secrets_handed_out", actor=node.name,
            data={"names": sorted(item["name"] for item in answers if "value" in item)},
        )  # fmt: skip
    return answers
