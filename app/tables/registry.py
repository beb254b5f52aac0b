"""All tables, imported in one place so that the metadata is complete."""

from app.kernel.orm import Base
from app.tables import (
    base_image,
    blob,
    cluster,
    dataset,
    deployment,
    environment,
    experiment,
    host,
    idempotency_key,
    image,
    input_volume,
    leak,
    log,
    metric,
    model,
    run,
    snapshot,
    token,
    tracking,
    upload,
    workspace,
)

TABLE_MODULES = (
    base_image,
    blob,
    cluster,
    dataset,
    deployment,
    environment,
    experiment,
    host,
    idempotency_key,
    image,
    input_volume,
    leak,
    log,
    metric,
    model,
    run,
    snapshot,
    token,
    tracking,
    upload,
    workspace,
)

METADATA = Base.metadata
