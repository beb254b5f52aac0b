"""Steps 10 and 11: a model version, a web service from it, and a prediction."""

import json
from typing import Any

import numpy as np

from examples.digits import read_archive
from examples.walk import show
from examples.walk.follow import poll
from examples.walk.plan import Walk
from examples.walk.talk import Talk, require

_SIGNATURE_SECONDS = 180.0
_DEPLOY_SECONDS = 600.0
_REMOVE_SECONDS = 60.0
_BATCH = 200
_RIGHT_AT_LEAST = 0.9


def register_model(walk: Walk) -> None:
    """10: a model version from the run's outputs, with where it came from."""
    body = {
        "run_id": walk.run["id"],
        "path": "outputs/model",
        "framework": walk.job.environment.get("framework") or "custom",
        "framework_version": walk.job.environment.get("framework_version"),
        "resource_configuration": {"cpu": 1, "memory_gb": 1, "gpu": 0},
    }
    body = {name: value for name, value in body.items() if value is not None}
    address = f"{walk.base}/models/{walk.model}/versions"
    version = walk.talk.ask("POST", address, body=body, expect=(201,)).json()
    walk.model_version = version["version"]


def show_signature(walk: Walk) -> None:
    """10: the signature, read from the SavedModel in a process of its own, the sample that a node
    of its own captured, and the lineage."""
    address = f"{walk.base}/models/{walk.model}/versions/{walk.model_version}"
    poll(
        walk.talk,
        address,
        until=lambda version: version["signature_state"] != "Pending",
        deadline_seconds=_SIGNATURE_SECONDS,
        words="the signature was read",
    )
    poll(
        walk.talk,
        address,
        until=lambda version: (
            version["capture"] is None or version["capture"]["state"] in ("Captured", "Failed")
        ),
        deadline_seconds=_DEPLOY_SECONDS,
        words="a sample was captured",
    )
    version = walk.talk.get(address)
    require(bool(version.get("signature")), f"the model has no signature: {version}")
    capture = version["capture"]
    require(capture is None or capture["state"] == "Captured", f"no sample: {capture}")
    require(
        version["lineage"]["run_id"] == walk.run["id"], "the model does not say which run made it"
    )


def deploy(walk: Walk) -> None:
    """11a: a web service without code; healthy only after a real inference."""
    address = f"{walk.base}/deployments/{walk.deployment}"
    body = {"model_name": walk.model, "model_version": walk.model_version, "replicas": 1}
    walk.talk.ask("PUT", address, body=body, expect=(200, 201, 202))
    told: list[str] = []

    def is_settled(service: dict[str, Any]) -> bool:
        state = str(service["state"])
        if told[-1:] != [state]:
            told.append(state)
            if not walk.talk.is_silent:
                show.say(f"  ● {state}")
        return state in ("Healthy", "Failed")

    poll(
        walk.talk,
        address,
        until=is_settled,
        deadline_seconds=_DEPLOY_SECONDS,
        words="the service was healthy",
    )
    service = walk.talk.get(address)
    if service["state"] != "Healthy":
        log = walk.talk.ask("GET", f"{address}/logs", quiet=True).text
        require(False, f"the service failed: {service}\n{log}")


def predict(walk: Walk) -> None:
    """11b: one digit with the service's own key, then a batch of the test digits."""
    address = f"{walk.base}/deployments/{walk.deployment}"
    images = read_archive(walk.digits / "t10k-images-idx3-ubyte.gz")[:_BATCH]
    labels = read_archive(walk.digits / "t10k-labels-idx1-ubyte.gz")[:_BATCH]
    rows = np.round(images.reshape(len(images), -1) / 255.0, 3).tolist()
    keys = walk.talk.get(f"{address}/keys", quiet=True)
    require(keys["primary"] != keys["secondary"], "the two keys are the same")
    caller = Talk(walk.talk.base, keys["primary"], is_silent=True)
    try:
        (walk.folder / "digits.json").write_text(json.dumps({"instances": rows}))
        (walk.folder / "digit.json").write_text(json.dumps({"instances": rows[:1]}))
        guesses = _scored(walk, caller, address, rows)
    finally:
        caller.close()
    walk.accuracy = float(
        np.mean([guess == label for guess, label in zip(guesses, labels, strict=True)])
    )
    if not walk.talk.is_silent:
        for line in show.picture(images[0].tolist()):
            if line.strip():
                show.say(f"  {line}")
        show.say(f"  predicted {guesses[0]}, written {labels[0]}")
        show.say(f"  {walk.accuracy:.1%} of {len(labels)} test digits are right")
    require(walk.accuracy >= _RIGHT_AT_LEAST, f"only {walk.accuracy:.1%} of the digits are right")


def check_service(walk: Walk) -> None:
    """11c: the OpenAPI document of the service, Azure's body, and a refusal in words."""
    address = f"{walk.base}/deployments/{walk.deployment}"
    document = walk.talk.get(f"{address}/openapi.json")
    require("paths" in document, "the service's OpenAPI document has no paths")
    image = read_archive(walk.digits / "t10k-images-idx3-ubyte.gz")[0]
    row = (image.reshape(-1) / 255.0).tolist()
    walk.talk.ask("POST", f"{address}/score", body={"data": [row]}, quiet=True)
    walk.talk.ask("POST", f"{address}/score", body={"instances": [[1, 2, 3]]}, expect=(400, 422))


def remove_service(walk: Walk) -> None:
    """The end: the service is taken down."""
    address = f"{walk.base}/deployments/{walk.deployment}"
    walk.talk.ask("DELETE", address, expect=(200, 202, 204))
    poll(
        walk.talk,
        f"{walk.base}/deployments",
        until=lambda page: all(each["name"] != walk.deployment for each in page["items"]),
        deadline_seconds=_REMOVE_SECONDS,
        words="the service is gone",
    )


def _scored(walk: Walk, caller: Talk, address: str, rows: list[list[float]]) -> list[int]:
    """The most likely digit of each row, asked for as the service's clients do."""
    if not walk.talk.is_silent:
        show.say(f"KEY=$({show.curl('GET', f'{address}/keys')} | jq -r .primary)")
        show.say(
            show.curl(
                "POST",
                f"{address}/score",
                headers={"Content-Type": "application/json"},
                variable="KEY",
            )
            + f" \\\n    -d @{walk.folder.name}/digit.json"
        )
    one = caller.ask("POST", f"{address}/score", body={"instances": rows[:1]})
    if not walk.talk.is_silent:
        show.answer(one.status_code, one.text)
    everything = caller.ask("POST", f"{address}/score", body={"instances": rows})
    answers = everything.json()["predictions"]
    require(
        len(answers) == len(rows), f"{len(rows)} digits sent, {len(answers)} predictions came back"
    )
    return [int(np.argmax(_numbers(answer))) for answer in answers]


def _numbers(answer: Any) -> list[float]:
    """One prediction's probabilities: with one output its bare list, else the first output's."""
    return list(next(iter(answer.values()))) if isinstance(answer, dict) else list(answer)
