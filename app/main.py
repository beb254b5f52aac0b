"""The API application."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import cache

from fastapi import APIRouter, Depends, FastAPI
from starlette.routing import BaseRoute

from app.api import FROM_SCRIPTS, ROUTERS
from app.auth.audit import Audit
from app.auth.bearer import Bearers
from app.auth.limits import CallerLimits
from app.auth.middleware import Authentication
from app.auth.needs import authorize
from app.auth.oidc import Provider
from app.auth.shortcuts import Shortcuts
from app.auth.signing import Signer
from app.clusters.vm_sizes import vm_sizes
from app.deployments.capture import Captures
from app.deployments.scoring import scoring_router
from app.health.figures import Figures
from app.health.readiness import Readiness
from app.kernel.addresses import check_address
from app.kernel.answers import JsonAnswers
from app.kernel.broker import BrokerHints
from app.kernel.config import Settings, get_settings
from app.kernel.db import Database
from app.kernel.deprecation import install_deprecations
from app.kernel.heads import HeadAsGet
from app.kernel.http import Envelope, Gate
from app.kernel.json import NewlineJSONResponse
from app.kernel.keyring import Keyring
from app.kernel.late_readers import LateReaders
from app.kernel.logging import configure_logging
from app.kernel.plain_text import refuse_unkeepable_bodies
from app.kernel.problems import install_problem_handlers
from app.kernel.proxies import ForwardedHeaders
from app.kernel.routes import RouteTable
from app.kernel.signals import Signals
from app.kernel.tracing import make_tracing
from app.mlflow.problems import MlflowProblems
from app.openapi.document import install_openapi
from app.pictures.render import Renderer
from app.storage.configured import make_object_store
from app.storage.problems import install_storage_handler

VERSION = "0.1.0"
UPLOAD_PATHS = (
    r"/(blobs/[0-9a-f]{64}(/partial)?|uploads/[^/]+|snapshots|archive|files/.+|logs"
    r"|mlflow-artifacts/(artifacts|mpu/parts)/.+|mlflow/upload-artifact|artifact/signed/.+)$"
)


def create_app(settings: Settings | None = None) -> FastAPI:
    """The ASGI application.

    Args:
        settings: for tests; absent: read from the environment.

    Raises:
        SizesFileInvalid: the operator's file of sizes cannot be used.
    """
    settings = settings or get_settings()
    vm_sizes(settings.vm_sizes_file)  # what is wrong with it is said now, not to the first caller
    configure_logging()
    app = FastAPI(
        title="Trainwright",
        version=VERSION,
        description="Training, registering and serving of TensorFlow models.",
        lifespan=_lifespan,
        default_response_class=NewlineJSONResponse,
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
    )
    app.state.settings = settings
    app.state.signals = Signals()
    app.state.tracing = None
    app.state.renderer = Renderer(settings)
    app.router.routes.extend(_routes())
    install_problem_handlers(app)
    install_storage_handler(app)
    install_deprecations(app)
    install_openapi(app)
    app.state.routes = RouteTable(app)
    app.add_middleware(Shortcuts, routes=app)
    app.add_middleware(CallerLimits, settings=settings)
    app.add_middleware(Authentication)
    app.add_middleware(Audit)
    app.add_middleware(
        Gate,
        allowed_hosts=settings.answered_hosts,
        max_bytes=settings.max_body_bytes,
        max_upload_bytes=settings.max_upload_bytes,
        upload_paths=UPLOAD_PATHS,
    )
    app.add_middleware(JsonAnswers)
    app.add_middleware(MlflowProblems)
    app.add_middleware(HeadAsGet, routes=app.state.routes)
    app.add_middleware(Envelope)
    app.add_middleware(ForwardedHeaders, trusted=settings.trusted_proxies)
    app.add_middleware(LateReaders)
    return app


@cache
def _routes() -> list[BaseRoute]:
    """All routes, analysed once: most of what making an application costs."""
    root = APIRouter(
        default_response_class=NewlineJSONResponse,
        generate_unique_id_function=lambda route: route.name,
        dependencies=[Depends(authorize), Depends(check_address)],
    )
    for router in ROUTERS:
        # What scripts log is mended where it is stored: refusing a batch would lose the rest.
        checks = [] if router in FROM_SCRIPTS else [Depends(refuse_unkeepable_bodies)]
        root.include_router(router, dependencies=checks)
    return root.routes


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    settings: Settings = app.state.settings
    hints = BrokerHints(settings, app.state.signals)
    app.state.signer = Signer.load(settings.data_dir, settings.signing_key_file)
    app.state.keyring = Keyring.load(settings)
    app.state.database = Database(settings, hints)
    provider = Provider(settings) if settings.oidc_issuer else None
    app.state.provider = provider
    app.state.bearers = provider and Bearers(settings, provider, app.state.database)
    app.state.objects = make_object_store(settings)
    app.state.tracing = make_tracing(settings)
    app.state.figures = Figures(app.state.database, settings.data_dir)
    app.state.readiness = Readiness(app.state.database, app.state.objects, app.state.signals)
    scoring = AsyncExitStack()
    app.state.scoring = await scoring.enter_async_context(
        scoring_router(
            app.state.database,
            app.state.signer,
            Captures(
                app.state.database,
                app.state.objects,
                write_seconds=settings.capture_write_seconds,
            ),
        )
    )
    listener = asyncio.create_task(app.state.signals.listen(settings.redis_url))
    try:
        yield
    finally:
        listener.cancel()
        with suppress(asyncio.CancelledError):
            await listener
        await scoring.aclose()
        await app.state.readiness.close()
        if provider is not None:
            await provider.close()
        if app.state.tracing is not None:
            app.state.tracing.close()
        hints.close()
        await app.state.database.close()
