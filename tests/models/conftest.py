"""The application with the reconcilers of models."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from fastapi import FastAPI

from app.providers.process.provider import ProcessProvider
from tests.live_api import LiveApi, live_api
from workers.context import WorkerContext
from workers.process import RUNNER
from workers.reconcile_model import ModelReconciler
from workers.reconciler import Reconciler


def model_reconcilers(app: FastAPI) -> Sequence[Reconciler]:
    state = app.state
    context = WorkerContext(
        settings=state.settings,
        database=state.database,
        objects=state.objects,
        signals=state.signals,
        signer=state.signer,
        provider=ProcessProvider(state.settings.data_dir / "nodes", runner=RUNNER),
    )
    return [ModelReconciler(context)]


@pytest.fixture
async def api(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[LiveApi]:
    async with live_api(
        tmp_path / "data",
        postgres_url,
        broker_url,
        reconcilers=model_reconcilers,
        model_captures_at_once=0,
    ) as live:
        yield live
