"""How large a picture is, who draws it, and the answer it becomes."""

import hashlib
from typing import Annotated, Any, NamedTuple

from fastapi import Depends, Query, Request, Response

from app.kernel.json import json_bytes
from app.pictures.render import Renderer
from app.pictures.spec import MEDIA_TYPES, Bars, Format, Panel, Parallel, Picture, Timeline


class Frame(NamedTuple):
    """How large, and who draws."""

    request: Request
    renderer: Renderer
    width: int
    height: int | None


async def _frame(
    request: Request,
    width: Annotated[int, Query(ge=300, le=2400, description="In pixels")] = 900,
    height: Annotated[
        int | None, Query(ge=150, le=4000, description="In pixels; absent: as it needs")
    ] = None,
) -> Frame:
    return Frame(request, request.app.state.renderer, width, height)


FrameDep = Annotated[Frame, Depends(_frame)]
PICTURE: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            media_type: {"schema": {"type": "string", "format": "binary"}}
            for media_type in MEDIA_TYPES.values()
        }
    },
    304: {"description": "The picture is the one that the client has"},
}


async def drawn(
    frame: Frame,
    kind: Format,
    *,
    title: str,
    footer: str = "",
    panels: list[Panel] | None = None,
    timeline: Timeline | None = None,
    parallel: Parallel | None = None,
    bars: Bars | None = None,
) -> Response:
    """The answer that is a picture; 304 when the client has it.

    Args:
        frame: how large, and who draws.
        kind: of file.
        title: above it.
        footer: small print below.
        panels, timeline, parallel, bars: what it shows, one of them.
    """
    picture = Picture(
        title=title,
        footer=footer,
        format=kind,
        width_px=frame.width,
        height_px=frame.height,
        panels=panels or [],
        timeline=timeline,
    )
    if parallel is not None:
        picture["parallel"] = parallel
    if bars is not None:
        picture["bars"] = bars
    etag = f'"{hashlib.sha256(json_bytes(picture)).hexdigest()}"'
    headers = {
        "ETag": etag,
        "Cache-Control": "private, no-cache",
        "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'",
    }
    if etag in frame.request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    content = await frame.renderer.render(picture)
    return Response(content, headers=headers, media_type=MEDIA_TYPES[kind])
