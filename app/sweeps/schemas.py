"""Sweeps as the API takes and shows them."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from app.kernel.names import Tags
from app.kernel.orm import MAX_INTEGER
from app.models.schemas import ModelDescription
from app.runs.schemas import Blocker, RunCreate
from app.sweeps.constraints import Constraint
from app.sweeps.distributions import Distribution, ParameterName, Value
from app.sweeps.policies import Goal, Policy, PolicyComparison

MOST_TRIALS = 1000
MOST_AT_ONCE = 100
_MOST_INTERVALS = 10_000
_MOST_OF_ALL_TRIALS = 1_000_000
MetricName = Annotated[str, StringConstraints(min_length=1, max_length=255)]


class _Algorithm(BaseModel):
    model_config = ConfigDict(extra="forbid")


class RandomSampling(_Algorithm):
    """Values at random."""

    type: Literal["random"]


class GridSampling(_Algorithm):
    """All combinations of choices, in a fixed order."""

    type: Literal["grid"]


class BayesianSampling(_Algorithm):
    """As HyperDrive has it: choice, uniform and quniform only, and no early termination."""

    type: Literal["bayesian"]


class TpeSampling(_Algorithm):
    """Tree-structured Parzen estimator; learns from trials that were ended early as well."""

    type: Literal["tpe"]


class GpSampling(_Algorithm):
    """A Gaussian process and the expected improvement."""

    type: Literal["gp"]


Algorithm = Annotated[
    RandomSampling | GridSampling | BayesianSampling | TpeSampling | GpSampling,
    Field(discriminator="type"),
]


class Objective(BaseModel):
    """What is searched for."""

    model_config = ConfigDict(extra="forbid")

    primary_metric: MetricName = Field(description="Exactly as the script logs it")
    goal: Goal


class Limits(BaseModel):
    """When a sweep is over; whatever is reached first."""

    model_config = ConfigDict(extra="forbid")

    max_trials: int = Field(ge=1, le=MOST_TRIALS)
    max_concurrent_trials: int | None = Field(
        default=None, ge=1, le=MOST_AT_ONCE, description="Absent: all at once"
    )
    max_duration_seconds: int | None = Field(
        default=None, ge=1, le=30 * 24 * 3600, description="Then trials that go on are canceled"
    )
    max_failed_trials: int | None = Field(
        default=None, ge=1, le=MOST_TRIALS, description="So many that fail, and the sweep fails"
    )
    max_cost: float | None = Field(
        default=None,
        gt=0,
        le=1_000_000_000,
        description="Of all trials together, in the installation's currency. A trial is proposed "
        "when there is enough for the most that it may cost; when all is spent, trials that go on "
        "are canceled",
    )

    @property
    def most_intervals(self) -> int:
        """How many intervals of a trial are compared: what all log is looked at as a whole."""
        return min(_MOST_INTERVALS, _MOST_OF_ALL_TRIALS // self.max_trials)


class SweepCreate(BaseModel):
    """A search for good hyperparameters."""

    model_config = ConfigDict(extra="forbid")

    trial: RunCreate = Field(
        description="The run of each trial. ${{search_space.NAME}} in its command, arguments, "
        "parameters and environment variables becomes the value; what is named nowhere is "
        "passed as --NAME VALUE"
    )
    search_space: dict[ParameterName, Distribution] = Field(min_length=1, max_length=50)
    constraints: list[Constraint] = Field(default=[], max_length=50)
    algorithm: Algorithm
    objective: Objective
    early_termination: Policy | None = Field(default=None, description="Absent: no trial is ended")
    limits: Limits
    warm_start_from: list[Annotated[str, StringConstraints(max_length=100)]] = Field(
        default=[], max_length=5, description="Sweeps whose trials the sampler learns from"
    )
    seed: int | None = Field(default=None, ge=0, le=MAX_INTEGER, description="Absent: any")
    display_name: str = Field(default="", max_length=200)
    description: str = Field(default="", max_length=5000)
    tags: Tags = Field(default={}, max_length=50)


class SweepError(BaseModel):
    """Why a sweep failed."""

    code: str
    message: str


class SweepRead(BaseModel):
    """A sweep."""

    id: str
    status: str = Field(
        description="Running, CancelRequested, Completed, Failed or Canceled; more may come"
    )
    end_reason: str = Field(
        description="Why no more trials are proposed: max_trials, grid_exhausted, max_duration, "
        "max_cost, max_failed_trials, canceled, trial_refused, nothing_left; empty while they are"
    )
    blockers: list[Blocker] = Field(
        description="Why no trial is proposed just now: code budget, when those that go on keep "
        "what is left of max_cost; code quota, when the workspace has as many runs as it may; code "
        "failing, when looks at the sweep end with an error"
    )
    error: SweepError | None
    display_name: str
    description: str
    tags: dict[str, str]
    experiment_name: str
    trial: dict[str, Any] = Field(
        description="With the versions of data and the environment that there were at first"
    )
    search_space: dict[str, Distribution]
    constraints: list[Constraint]
    algorithm: Algorithm
    objective: Objective
    early_termination: Policy | None
    limits: Limits
    warm_start_from: list[str]
    seed: int
    trials_count: int
    running_count: int
    completed_count: int
    failed_count: int
    canceled_count: int = Field(description="Those that were ended early among them")
    ended_early_count: int
    cost: float = Field(description="Of all trials, in the installation's currency")
    best_trial: int | None = Field(description="Its number; of equals the first")
    best_run_id: str | None
    best_value: float | None
    created_by: str
    created_at: datetime
    updated_at: datetime
    ended_at: datetime | None


class TrialRead(BaseModel):
    """A trial."""

    number: int
    run_id: str | None = Field(description="null: the run was deleted")
    status: str = Field(description="Of the run")
    parameters: dict[str, Value]
    value: float | None = Field(description="The best of the primary metric so far")
    intervals: int = Field(description="How many values of it were logged")
    cost: float = Field(description="Of its run; to the hundredth while it goes on")
    termination: PolicyComparison | None = Field(description="The comparison that ended it early")
    created_at: datetime
    ended_at: datetime | None


class ReplayRequest(BaseModel):
    """Another policy for a sweep."""

    model_config = ConfigDict(extra="forbid")

    early_termination: Policy


class BestModelCreate(ModelDescription):
    """Register the model of the best trial that completed."""

    model_name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
    path: str = Field(max_length=4000, examples=["outputs/model"], description="In the run's files")
