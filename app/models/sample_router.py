"""Routes of the sample of a model version: an input, and what the model answers to it."""

from fastapi import APIRouter, Request, Response
from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.access import UserAccess
from app.auth.needs import needs
from app.auth.writes import WriteRoute
from app.kernel.clock import utc_now
from app.kernel.db import SessionDep
from app.kernel.errors import FieldError, Invalid
from app.kernel.etags import check_preconditions, resource_etag
from app.kernel.ids import new_id
from app.kernel.validate_only import VALIDATES
from app.models.access import VersionDep
from app.models.errors import SampleNotFound
from app.models.sample import MAX_ELEMENTS, elements, misfits
from app.models.schemas import SamplePut, SampleRead, parse_signature
from app.tables.model import SAMPLE_FOR_THE_RELEASE_BEFORE, ModelSample, ModelVersion

router = APIRouter(
    prefix="/v1/workspaces/{workspace}/models/{model}/versions/{version}/sample",
    tags=["models"],
    route_class=WriteRoute,
)


@router.get("")
@needs("models.read", run=True)
async def get_model_sample(row: VersionDep, session: SessionDep, response: Response) -> SampleRead:
    """What a version answers to one input; replicas that answer otherwise are not healthy."""
    sample = await _find(session, row)
    if sample is None:
        raise SampleNotFound(
            f"Version {row.version} has no sample: PUT one, or see `capture` of the version, which"
            " says why none could be taken."
        )
    response.headers["ETag"] = _etag(sample)
    return SampleRead.model_validate(sample)


@router.put(
    "",
    dependencies=[VALIDATES],
    responses={201: {"model": SampleRead, "description": "The version had none"}},
)
@needs("models.write")
async def put_model_sample(
    row: VersionDep,
    body: SamplePut,
    session: SessionDep,
    request: Request,
    response: Response,
    _: UserAccess,
) -> SampleRead:
    """Say what a version answers to one input: replicas are compared with it from now on.

    Values are checked against the signature, where it is known.
    """
    _check(row, body)
    before = await _find(session, row, lock=True)
    check_preconditions(request, None if before is None else _etag(before))
    given = {
        **SAMPLE_FOR_THE_RELEASE_BEFORE,
        **body.model_dump(),
        "is_given": True,
        "captured_at": utc_now(),
    }
    statement = insert(ModelSample).values(id=new_id("sample"), model_version_id=row.id, **given)
    await session.execute(
        statement.on_conflict_do_update(index_elements=["model_version_id"], set_=given)
    )
    sample = await _find(session, row)
    assert sample is not None
    response.status_code = 201 if before is None else 200
    response.headers["ETag"] = _etag(sample)
    return SampleRead.model_validate(sample)


@router.delete("", status_code=204)
@needs("models.write")
async def delete_model_sample(
    row: VersionDep, session: SessionDep, request: Request, _: UserAccess
) -> None:
    """Forget the sample; 204 also when there is none."""
    before = await _find(session, row, lock=True)
    check_preconditions(request, None if before is None else _etag(before))
    await session.execute(delete(ModelSample).where(ModelSample.model_version_id == row.id))


async def _find(
    session: AsyncSession, row: ModelVersion, *, lock: bool = False
) -> ModelSample | None:
    statement = select(ModelSample).where(ModelSample.model_version_id == row.id)
    if lock:
        statement = statement.with_for_update()
    found = await session.execute(statement.execution_options(populate_existing=True))
    return found.scalar_one_or_none()


def _check(row: ModelVersion, body: SamplePut) -> None:
    count = elements(body.inputs) + elements(body.outputs)
    if count > MAX_ELEMENTS:
        raise Invalid(f"A sample has at most {MAX_ELEMENTS} values; this one has {count}.")
    signature = parse_signature(row.signature)
    if signature is None:
        return
    wrong = misfits("inputs", signature.inputs, body.inputs)
    wrong += misfits("outputs", signature.outputs, body.outputs)
    if wrong:
        raise Invalid(
            "The sample does not fit the signature of the version.",
            errors=[FieldError(pointer, "sample_misfit", words) for pointer, words in wrong],
        )


def _etag(sample: ModelSample) -> str:
    return resource_etag(sample.id, sample.captured_at)
