"""What a sweep takes for a trial beside bare Optuna, for an objective that is there at once."""

import asyncio
import math
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import optuna
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from sqlalchemy import create_engine, text

from app.embedded.broker import BrokerServer
from app.embedded.postgres import PostgresServer
from app.embedded.sockets import socket_folder
from app.kernel import leases
from app.sweeps.gaussian import GaussianProcessSampler
from benchmarks.figure import Figure, over_floor
from tests.conftest import migrated, running
from tests.live_api import live_api
from tests.made_runs import make_request
from tests.sweeps.searching import Searching
from workers.reconcile_sweep import SweepReconciler
from workers.reconciler import Guard

_TRIALS = 60
_LEASE_SECONDS = 3600.0
_BATCHES = (16, 32, 64, 128)
_SPACE = {
    "lr": {"type": "loguniform", "min": math.log(1e-4), "max": math.log(1e-1)},
    "momentum": {"type": "uniform", "min": 0, "max": 1},
    "batch": {"type": "choice", "values": list(_BATCHES)},
}
_SAMPLERS: dict[str, Callable[[], BaseSampler]] = {
    "random": lambda: RandomSampler(seed=1),
    "tpe": lambda: TPESampler(
        n_startup_trials=10, multivariate=True, group=True, constant_liar=True, seed=1
    ),
    "gp": lambda: GaussianProcessSampler(1, active=dict, allowed=lambda _: True),
}


def measure() -> list[Figure]:
    """Run sixty trials, one at a time, of each sampler here and by Optuna alone, in turns.

    Ours is a step of the sweep: it notes the end of a trial, proposes the next one, and writes its
    run with all checks of a submission. The objective and what a script would log are not timed.

    Returns:
        ``sweep_trial_…``: median milliseconds a trial, over `ask`, the suggestions and `tell` of a
        study in memory; ``sweep_trial_tpe_stored``: the same over a study that Optuna keeps in the
        same PostgreSQL.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    folder = Path(tempfile.mkdtemp(prefix="trainwright-bench-"))
    sockets = socket_folder(folder)
    postgres = PostgresServer(data_dir=folder / "postgres", socket_dir=sockets / "postgres")
    broker = BrokerServer(socket_path=sockets / "broker.sock")
    postgres.prepare()
    with ExitStack() as servers:
        servers.enter_context(running(postgres.spec(), is_ready=postgres.is_ready_now))
        is_ready = lambda: asyncio.run(broker.is_ready())  # noqa: E731
        servers.enter_context(running(broker.spec(), is_ready=is_ready))
        migrated(postgres.url())
        return asyncio.run(_measured(folder, postgres.url(), broker.url))


async def _measured(folder: Path, postgres_url: str, broker_url: str) -> list[Figure]:
    figures = []
    async with live_api(folder, postgres_url, broker_url) as api:
        world = Searching(api, await make_request(api))
        stored_url = _place_for_optuna(postgres_url)
        for kind, sampler in _SAMPLERS.items():
            studies = [optuna.create_study(sampler=sampler())]
            if kind == "tpe":
                studies.append(optuna.create_study(sampler=sampler(), storage=stored_url))
            ours, *floors = await _in_turns(world, kind, studies)
            for name, floor in zip(("", "_stored"), floors, strict=False):
                figures.append(
                    over_floor(f"sweep_trial_{kind}{name}", value=ours, unit="ms", floor=floor)
                )
    return figures


def _place_for_optuna(postgres_url: str) -> str:
    """Make a schema in which Optuna's tables do not meet ours; the address that leads there."""
    engine = create_engine(postgres_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE SCHEMA optuna"))
    engine.dispose()
    joint = "&" if "?" in postgres_url else "?"
    return f"{postgres_url}{joint}options=-csearch_path%3Doptuna"


async def _in_turns(world: Searching, kind: str, studies: list[optuna.study.Study]) -> list[float]:
    """Median milliseconds a trial here, and in each of the studies."""
    sweep_id = await world.create(
        search_space=_SPACE,
        algorithm={"type": kind},
        objective={"primary_metric": "acc", "goal": "minimize"},
        limits={"max_trials": _TRIALS, "max_concurrent_trials": 1},
    )
    reconciler = SweepReconciler(world.api.database, world.api.settings)
    async with world.api.database.session() as session:
        lease = await leases.acquire(
            session, reconciler.table, row_id=sweep_id, seconds=_LEASE_SECONDS
        )
    assert lease is not None
    guard = Guard(world.api.database, reconciler.table, lease)
    took: list[list[float]] = [[] for _ in range(1 + len(studies))]
    for number in range(_TRIALS):
        began = time.perf_counter()
        await reconciler.reconcile(guard)
        took[0].append(time.perf_counter() - began)
        trial = (await world.trials(sweep_id, number + 1))[number]
        await world.log(sweep_id, trial, _objective(**trial["parameters"]))
        await world.end(sweep_id, trial)
        for place, study in enumerate(studies, start=1):
            began = time.perf_counter()
            _next_trial(study)
            took[place].append(time.perf_counter() - began)
    return [1000 * statistics.median(seconds) for seconds in took]


def _next_trial(study: optuna.study.Study) -> None:
    trial = study.ask()
    value = _objective(
        lr=trial.suggest_float("lr", 1e-4, 1e-1, log=True),
        momentum=trial.suggest_float("momentum", 0, 1),
        batch=trial.suggest_categorical("batch", _BATCHES),
    )
    study.tell(trial, value)


def _objective(*, lr: float, momentum: float, batch: int) -> float:
    return (math.log10(lr) + 2) ** 2 + (momentum - 0.9) ** 2 + batch / 1000
