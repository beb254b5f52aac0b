"""The object store as a dependency of routes."""

from typing import Annotated

from fastapi import Depends, Request

from app.storage.objects import ObjectStore


async def _objects(request: Request) -> ObjectStore:
    objects: ObjectStore = request.app.state.objects
    return objects


ObjectsDep = Annotated[ObjectStore, Depends(_objects)]
