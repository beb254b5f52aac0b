"""A run's files as the ``azureml-core`` package knows them: addresses that are good for a day."""

from typing import Literal
from urllib.parse import quote

from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.principal import Principal
from app.auth.signing import Signer
from app.azureml.access import get_visible
from app.azureml.documents import ORIGIN, run_of_container
from app.kernel.errors import Forbidden
from app.runs import repository
from app.runs.errors import RunNotFound
from app.tables.run import Run, RunFile
from app.tables.workspace import Workspace

SIGNED = "/artifact/signed"
_SIGNED_SECONDS = 24 * 3600
Right = Literal["read", "write"]


async def run_with_files(
    session: AsyncSession, workspace: Workspace, origin: str, container: str, caller: Principal
) -> Run:
    """The run whose files are at a place.

    Raises:
        RunNotFound: it is no such place, or not for this caller.
    """
    run_id = run_of_container(container) if origin == ORIGIN else ""
    if not run_id:
        raise RunNotFound(container)
    return await get_visible(session, workspace, run_id, caller)


async def files_below(session: AsyncSession, run: Run, path: str) -> list[RunFile]:
    """The file of this path, or all files in the folder; by path."""
    wanted = path.strip("/")
    rows = await repository.all_files(session, run.id, prefix=wanted)
    folder = f"{wanted}/" if wanted else ""
    return [row for row in rows if row.path == wanted or row.path.startswith(folder)]


def signed_url(
    signer: Signer, base: str, run: Run, caller: Principal, path: str, *, right: Right
) -> str:
    """Where a file of the run is read, or also written once, without any other credential."""
    principal = Principal(
        kind="artifacts",
        id=f"{right}/{run.id}",
        name="artifacts",
        workspace_id=run.workspace_id,
        attempt=caller.attempt if run.id == caller.id else 0,
    )
    token = signer.issue(principal, seconds=_SIGNED_SECONDS)
    return f"{base}{SIGNED}/{token}/{quote(path)}"


async def signed_run(session: AsyncSession, caller: Principal, *, right: Right) -> Run:
    """The run whose files an address is good for.

    Raises:
        Forbidden: the credential in the address is not one that was given out for this.
        RunNotFound: the run is gone.
    """
    given, _, run_id = caller.id.partition("/")
    if caller.kind != "artifacts" or given not in (right, "write"):
        raise Forbidden("This address is not good for that; ask for one again.")
    return await repository.get(session, caller.workspace_id, run_id)
