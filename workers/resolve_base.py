"""The step before a build: what the tag of the base image names now."""

from dataclasses import replace

from app.environments import repository
from app.environments.docker_builder import DockerImageBuilder
from app.environments.resolved import ResolvedSpec
from app.environments.service import BUILD_LOG, build_log_owner, want_built
from app.environments.states import ImageState
from app.kernel.db import Database
from app.logs import service as logs
from app.tables.image import Image
from workers.reconciler import Guard


class BaseResolution:
    """Has another image, with the base's digest in its hash, take an image's place."""

    def __init__(self, database: Database, builder: DockerImageBuilder) -> None:
        self._database = database
        self._builder = builder

    async def resolve(self, guard: Guard, image: Image) -> None:
        """Look the base up and write down what it is.

        Raises:
            BuildFailed: the base is not to be had; with the registry's words.
            EngineUnavailable: the engine is not there.
            LeaseLost: somebody newer does this.
        """
        spec = ResolvedSpec.from_canonical(image.spec)
        said: list[bytes] = []

        async def keep(lines: bytes) -> None:
            said.append(lines)

        base = str(spec.base)
        digest = await self._builder.digest_of_base(base, keep)
        exact = replace(spec, base_digest=digest)
        async with self._database.session() as session:
            await guard.check(session)
            row = await session.get_one(Image, guard.lease.row_id)
            await repository.put_base_digest(session, base, digest)
            if row.state == ImageState.DELETED:
                return  # just now: nobody wants it any more
            for workspace_id in await repository.workspaces_of(session, row.id):
                other, is_new = await repository.add_image(
                    session, workspace_id, exact.spec_hash, exact.canonical()
                )
                is_new = await want_built(session, other, is_new=is_new)
                if is_new and said:
                    owner = build_log_owner(other.id, other.build_number + 1)
                    await logs.append(session, owner, BUILD_LOG, b"".join(said))
            row.state = ImageState.RESOLVED
            row.resolved_to = exact.spec_hash
            row.error = None
