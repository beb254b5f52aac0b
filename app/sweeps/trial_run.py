"""The run that a trial submits; pure."""

import json
from collections.abc import Mapping

from app.runs.schemas import RunCreate
from app.runs.transitions import SWEEP_PROPERTY
from app.sweeps.distributions import Value
from app.sweeps.schemas import SweepCreate
from app.sweeps.template import filled, validated

_LONGEST_TAG = 1000
_MOST_TAGS = 50


def run_of(
    spec: SweepCreate, values: Mapping[str, Value], *, sweep_id: str, number: int, name: str
) -> RunCreate:
    """The run of a trial: with its values, and with what tells that it is one.

    Args:
        spec: the request of the sweep.
        values: of the trial.
        sweep_id: of the sweep.
        number: of the trial.
        name: of the sweep, for people.

    Raises:
        Invalid: with these values it is no run; the field is named as one of the run.
    """
    body = filled(spec.trial, values, space=spec.search_space)
    tags = dict(body.tags)
    text = json.dumps(values, ensure_ascii=False)
    if len(text) <= _LONGEST_TAG and len(tags) < _MOST_TAGS:
        tags["hyperparameters"] = text
    properties = {**body.properties, SWEEP_PROPERTY: sweep_id, "trial_number": str(number)}
    return validated(
        body.model_dump(mode="json", exclude_unset=True)
        | {
            "display_name": body.display_name or f"{name} {number}",
            "tags": tags,
            "properties": properties,
        }
    )
