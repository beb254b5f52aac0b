"""Sweeps over hyperparameters: described, submitted, and looked at."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn

from trainwright.azureml._unsupported import leave_aside, refuse
from trainwright.azureml.core.run import Run
from trainwright.azureml.exceptions import (
    ActivityFailedException,
    ExperimentExecutionException,
    NotSupported,
    ServiceException,
    UserErrorException,
    raised_as,
)
from trainwright.azureml.train._sampling import (
    BanditPolicy,
    BayesianParameterSampling,
    GridParameterSampling,
    MedianStoppingPolicy,
    NoTerminationPolicy,
    PrimaryMetricGoal,
    RandomParameterSampling,
    TruncationSelectionPolicy,
    choice,
    lognormal,
    loguniform,
    normal,
    qlognormal,
    qloguniform,
    qnormal,
    quniform,
    randint,
    uniform,
)
from trainwright.azureml.train._sweep_body import resumed_ids, sweep_body

if TYPE_CHECKING:
    from trainwright.azureml.core.experiment import Experiment

__all__ = [
    "BanditPolicy",
    "BayesianParameterSampling",
    "GridParameterSampling",
    "HyperDriveConfig",
    "HyperDriveRun",
    "MedianStoppingPolicy",
    "NoTerminationPolicy",
    "PrimaryMetricGoal",
    "RandomParameterSampling",
    "TruncationSelectionPolicy",
    "choice",
    "lognormal",
    "loguniform",
    "normal",
    "qlognormal",
    "qloguniform",
    "qnormal",
    "quniform",
    "randint",
    "uniform",
]

MAX_DURATION_MINUTES = 10_080
_LOOK_SECONDS = 1.0


@dataclass
class HyperDriveConfig:
    """A sweep.

    Attributes:
        hyperparameter_sampling: which values are tried.
        primary_metric_name: exactly as the script logs it.
        primary_metric_goal: whether high or low values are good.
        max_total_runs: at most so many runs.
        max_concurrent_runs: so many at a time; None: all.
        max_duration_minutes: after so long, what still runs is canceled.
        policy: which runs end early; None: none.
        estimator: what is run.
        run_config: the same, as a ScriptRunConfig.
        resume_from: earlier sweeps, whose runs the sampling learns from.
        resume_child_runs: cannot be had.
        pipeline: cannot be had.
        debug_flag: left aside.
        custom_run_id: cannot be had.
    """

    hyperparameter_sampling: Any
    primary_metric_name: str
    primary_metric_goal: PrimaryMetricGoal
    max_total_runs: int
    max_concurrent_runs: int | None = None
    max_duration_minutes: int = MAX_DURATION_MINUTES
    policy: Any = None
    estimator: Any = None
    run_config: Any = None
    resume_from: Any = None
    resume_child_runs: Any = None
    pipeline: Any = None
    debug_flag: Any = None
    custom_run_id: str | None = None

    def start(self, experiment: "Experiment", tags: Mapping[str, str]) -> "HyperDriveRun":
        """Submit the sweep; `Experiment.submit` calls it.

        Raises:
            ExperimentExecutionException: the server refuses it; the message says why.
            NotSupported: it asks for something that there is not.
            UserErrorException: it has neither an estimator nor a run_config, or both.
        """
        refuse(
            "HyperDriveConfig", "Give estimator or run_config; earlier sweeps are resume_from.",
            pipeline=self.pipeline, resume_child_runs=self.resume_child_runs,
            custom_run_id=self.custom_run_id,
        )  # fmt: skip
        leave_aside("HyperDriveConfig", "It is not known here.", debug_flag=self.debug_flag)
        if (self.estimator is None) == (self.run_config is None):
            raise UserErrorException("HyperDriveConfig takes either an estimator or a run_config.")
        connection = experiment.workspace.connection
        with raised_as(ExperimentExecutionException):
            body = sweep_body(self) | {"trial": self._trial(experiment), "tags": dict(tags)}
            read = connection.post(connection.path("sweeps"), body)
        return HyperDriveRun(experiment, read["id"], hyperdrive_config=self)

    def _trial(self, experiment: "Experiment") -> dict[str, Any]:
        """The run of each trial, as the server translates it; the source is sent on the way."""
        workspace = experiment.workspace
        source = self.run_config if self.estimator is None else self.estimator
        submission = source.to_submission(workspace)
        names = self.hyperparameter_sampling.parameter_space
        submission = replace(submission, arguments=_without(submission.arguments, names))
        body = submission.body(workspace) | {"experiment_name": experiment.name}
        connection = workspace.connection
        report = connection.post(
            connection.path("runs", "import"), body, params={"validate_only": "true"}
        )
        if not report["is_valid"]:
            wrong = [one for one in report["notes"] if one["kind"] == "unsupported"]
            raise UserErrorException("; ".join(one["message"] for one in wrong))
        for note in report["notes"]:
            if note["kind"] == "left_aside":
                print(f"Note: {note['message']}")
        return dict(report["run"])


class HyperDriveRun:
    """A sweep that was submitted.

    Args:
        experiment: the experiment it belongs to.
        run_id: its id.
        hyperdrive_config: what it was made of, if it is known.
    """

    def __init__(self, experiment: Any, run_id: str, hyperdrive_config: Any = None) -> None:
        self.experiment = experiment
        self.id = run_id
        self.connection = experiment.workspace.connection
        self._config = hyperdrive_config

    @property
    def hyperdrive_config(self) -> Any:
        """What the sweep was made of; None where it was found by its id."""
        return self._config

    @property
    def status(self) -> str:
        """How it is now."""
        return self.get_status()

    def get_status(self) -> str:
        """Look, and return how it is: Running, Completed, Failed, Canceled."""
        return str(self._read()["status"])

    def get_details(self) -> dict[str, Any]:
        """The sweep, as the API shows it."""
        return self._read()

    def wait_for_completion(
        self, show_output: bool = False, wait_post_processing: bool = False
    ) -> dict[str, Any]:
        """Wait until the sweep is over.

        Args:
            show_output: print how far it is whenever that changes.
            wait_post_processing: a run is over here when its outputs are there.

        Raises:
            ActivityFailedException: it failed.
        """
        said = ""
        while (read := self._read())["ended_at"] is None:
            line = (
                f"{read['trials_count']} runs, {read['running_count']} under way, "
                f"best {self._name()} {read['best_value']}"
            )
            if show_output and line != said:
                print(line, flush=True)
            said = line
            time.sleep(_LOOK_SECONDS)
        if read["status"] == "Failed":
            error = read["error"] or {"message": read["end_reason"]}
            raise ActivityFailedException(f"Sweep {self.id} failed: {error['message']}")
        return read

    def cancel(self) -> None:
        """Ask for the end of the sweep and of its runs."""
        with raised_as(ServiceException):
            self.connection.post(self._path("cancel"))

    def fail(self) -> NoReturn:
        """Refuse: a sweep fails by itself.

        Raises:
            NotSupported: always.
        """
        raise NotSupported("HyperDriveRun.fail: a sweep fails by itself; cancel() ends it.")

    def get_best_run_by_primary_metric(
        self,
        include_failed: bool = True,
        include_canceled: bool = True,
        include_resume_from_runs: bool = True,
    ) -> Run | None:
        """The run with the best value of the primary metric; None: none has logged it.

        Args:
            include_failed: failed ones, too.
            include_canceled: canceled ones, too.
            include_resume_from_runs: those of `resume_from`, too.
        """
        resumed = self._read()["warm_start_from"] or resumed_ids(self._config)
        sweeps = [self.id, *(resumed if include_resume_from_runs else [])]
        params = {
            "include_failed": str(include_failed).lower(),
            "include_canceled": str(include_canceled).lower(),
        }
        found = [one for sweep in sweeps if (one := self._best(sweep, params)) is not None]
        if not found:
            return None
        chosen = max(found, key=lambda one: self._sign() * one["value"])
        return Run(self.experiment, chosen["run_id"])

    def get_children(self) -> Iterator[Run]:
        """Its runs, in the order in which they were proposed."""
        for trial in self._trials("number"):
            if trial["run_id"] is not None:
                yield Run(self.experiment, trial["run_id"])

    def get_children_sorted_by_primary_metric(
        self, top: int = 0, reverse: bool = False, discard_no_metric: bool = False
    ) -> list[dict[str, Any]]:
        """Its runs with their values, the best first.

        Args:
            top: only so many; 0: all.
            reverse: the worst first.
            discard_no_metric: without those that have logged nothing, which come last.
        """
        is_high_first = (self._sign() > 0) != reverse
        found = list(self._trials("-value" if is_high_first else "value"))
        if not discard_no_metric:
            found += [one for one in self._trials("number") if one["value"] is None]
        rows = [
            {
                "run_id": one["run_id"],
                "hyperparameters": json.dumps(one["parameters"]),
                "best_primary_metric": one["value"],
                "status": one["status"],
            }
            for one in found
        ]
        return rows[:top] if top else rows

    def get_hyperparameters(self) -> dict[str, Any]:
        """The values that each run has, by its id."""
        return {one["run_id"]: one["parameters"] for one in self._trials("number")}

    def get_metrics(self) -> dict[str, Any]:
        """What each run has logged, by its id."""
        return {run.id: run.get_metrics() for run in self.get_children()}

    def get_diagnostics(self) -> NoReturn:
        """Refuse: there is no file of diagnostics.

        Raises:
            NotSupported: always.
        """
        raise NotSupported("HyperDriveRun.get_diagnostics: get_details() says how the sweep is.")

    def _best(self, sweep_id: str, params: dict[str, str]) -> dict[str, Any] | None:
        try:
            with raised_as(ServiceException):
                path = self.connection.path("sweeps", sweep_id, "best")
                found: dict[str, Any] = self.connection.get(path, params=params)
        except ServiceException as error:
            if error.status_code == 404:
                return None
            raise
        return found

    def _read(self) -> dict[str, Any]:
        with raised_as(ServiceException):
            read: dict[str, Any] = self.connection.get(self._path())
        return read

    def _trials(self, order: str) -> Iterator[dict[str, Any]]:
        with raised_as(ServiceException):
            yield from self.connection.pages(self._path("trials"), params={"order_by": order})

    def _name(self) -> str:
        return str(self._read()["objective"]["primary_metric"])

    def _sign(self) -> int:
        return 1 if self._read()["objective"]["goal"] == "maximize" else -1

    def _path(self, *more: str) -> str:
        return str(self.connection.path("sweeps", self.id, *more))


def _without(arguments: Sequence[Any], names: Mapping[str, Any]) -> list[Any]:
    """Arguments without those that the sweep gives, each with its value."""
    kept: list[Any] = []
    flags = _flags(names)
    is_value = False
    for argument in arguments:
        is_name = isinstance(argument, str) and argument.startswith("-")
        name, equals, _ = argument.partition("=") if is_name else ("", "", "")
        if name in flags:
            is_value = not equals
        elif is_value and not is_name:
            is_value = False
        else:
            is_value = False
            kept.append(argument)
    return kept


def _flags(names: Mapping[str, Any]) -> set[str]:
    return {name if name.startswith("-") else f"--{name}" for name in names}
