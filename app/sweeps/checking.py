"""What can be wrong with a request for a sweep, beside its run; pure."""

from typing import NoReturn

from app.kernel.errors import invalid_field
from app.sweeps.constraints import check_constraints
from app.sweeps.distributions import Choice, QUniform, Uniform, Values
from app.sweeps.proposing import learns
from app.sweeps.schemas import BayesianSampling, GridSampling, SweepCreate
from app.sweeps.space import NothingLeft, combinations, ordered, tried
from app.sweeps.template import named


def check(body: SweepCreate) -> Values:
    """See that the parts of a request fit each other; slow where constraints leave little.

    Returns:
        Values with which a trial can be tried.

    Raises:
        Invalid: they do not; the field and what to do are named.
    """
    space = body.search_space
    try:
        ordered(space)
    except ValueError as error:
        _refuse("/search_space", "bad_condition", str(error))
    try:
        check_constraints(space, body.constraints)
    except ValueError as error:
        _refuse("/constraints", "bad_constraint", str(error))
    unknown = sorted(named(body.trial) - set(space))
    if unknown:
        _refuse("/trial", "unknown_parameter", f"the run names {unknown[0]}, which is not there")
    _check_algorithm(body)
    if isinstance(body.algorithm, GridSampling):
        first = next(combinations(space, body.constraints), None)
        if first is None:
            _refuse("/constraints", "nothing_left", "the constraints leave no combination")
        return first
    try:
        return tried(space, body.constraints)
    except NothingLeft as error:
        _refuse("/constraints", "nothing_left", str(error))


def _check_algorithm(body: SweepCreate) -> None:
    kinds = {name: type(one) for name, one in body.search_space.items()}
    if isinstance(body.algorithm, GridSampling):
        wrong = sorted(name for name, kind in kinds.items() if kind is not Choice)
        if wrong:
            _refuse(
                f"/search_space/{wrong[0]}", "not_in_a_grid", "a grid takes distributions choice"
            )
    if body.warm_start_from and not learns(body):
        _refuse(
            "/warm_start_from",
            "not_learned_from",
            f"{body.algorithm.type} learns nothing from earlier sweeps; tpe, gp and bayesian do",
        )
    if isinstance(body.algorithm, BayesianSampling):
        allowed = (Choice, Uniform, QUniform)
        wrong = sorted(name for name, kind in kinds.items() if kind not in allowed)
        if wrong:
            _refuse(
                f"/search_space/{wrong[0]}",
                "not_bayesian",
                "bayesian takes choice, uniform and quniform, as HyperDrive does; tpe and gp take "
                "all distributions",
            )
        if body.early_termination is not None:
            _refuse(
                "/early_termination",
                "not_bayesian",
                "bayesian has no early termination, as in HyperDrive; tpe and gp have",
            )


def _refuse(pointer: str, code: str, message: str) -> NoReturn:
    raise invalid_field(pointer, code, message[0].upper() + message[1:] + ".")
