"""A workspace's use of storage, as the API shows it."""

from pydantic import BaseModel, Field


class StorageRead(BaseModel):
    """What a workspace has in the object store; equal bytes are counted once."""

    objects_count: int
    size_bytes: int
    unreferenced_objects_count: int = Field(
        description="Of these, no run, dataset, model or snapshot uses any more"
    )
    unreferenced_bytes: int = Field(description="Freed once they were left alone for long enough")
    unreferenced_keep_hours: float = Field(description="How long that is")
