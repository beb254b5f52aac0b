"""Reading a version's files again and comparing them with their checksums."""

import hashlib

from app.kernel.clock import utc_now
from app.models.schemas import DamagedFile, ModelFile, Verification
from app.storage.errors import ObjectCorrupt, ObjectMissing
from app.storage.objects import ObjectStore
from app.tables.model import ModelVersion

_SHOWN = 100


async def verify(objects: ObjectStore, row: ModelVersion) -> Verification:
    """Read every byte of a version and compare checksums and sizes.

    Args:
        objects: where the bytes are.
        row: the version.
    """
    damaged = []
    problems: dict[tuple[str, int], str] = {}
    for file in (ModelFile.model_validate(each) for each in row.files):
        # Many files may have the same bytes, which are read once.
        content = (file.sha256, file.size_bytes)
        if content not in problems:
            problems[content] = await _problem(objects, file)
        if problem := problems[content]:
            damaged.append(DamagedFile(path=file.path, sha256=file.sha256, problem=problem))
    return Verification(
        state="damaged" if damaged else "intact",
        verified_at=utc_now(),
        files_count=len(row.files),
        size_bytes=row.size_bytes,
        damaged_count=len(damaged),
        damaged=damaged[:_SHOWN],
    )


async def _problem(objects: ObjectStore, file: ModelFile) -> str:
    digest, size_bytes = hashlib.sha256(), 0
    try:
        async for chunk in await objects.open(file.sha256):
            digest.update(chunk)
            size_bytes += len(chunk)
    except ObjectMissing:
        return "The bytes are not in the store."
    except ObjectCorrupt:
        return "The bytes were changed after they were stored."
    if digest.hexdigest() != file.sha256:
        return f"The bytes have the SHA-256 {digest.hexdigest()}."
    if size_bytes != file.size_bytes:
        return f"The file has {size_bytes} bytes instead of {file.size_bytes}."
    return ""
