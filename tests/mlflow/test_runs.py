"""Runs, as the real client of MLflow keeps them."""

import math
import time

import pytest
from mlflow.entities import Metric, Param, RunTag, ViewType
from mlflow.exceptions import MlflowException, RestException

from tests.mlflow.conftest import Space


def test_a_run_lives_as_its_client_says(space: Space) -> None:
    experiment = space.client.create_experiment("digits", tags={"team": "a"})
    run = space.client.create_run(experiment, run_name="first", tags={"k": "v"})
    assert run.info.status == "RUNNING"
    assert run.info.run_name == "first"
    assert run.info.experiment_id == experiment
    assert run.data.tags["mlflow.runName"] == "first"
    shown = space.http.get(f"runs/{run.info.run_id}").json()
    assert (shown["kind"], shown["status"], shown["display_name"]) == (
        "tracked", "Running", "first",
    )  # fmt: skip
    space.client.set_terminated(run.info.run_id, "FINISHED", end_time=1_900_000_000_123)
    ended = space.client.get_run(run.info.run_id)
    assert (ended.info.status, ended.info.end_time) == ("FINISHED", 1_900_000_000_123)
    # Its client takes it up again, and ends it otherwise.
    space.client.update_run(run.info.run_id, status="RUNNING", name="again")
    assert space.client.get_run(run.info.run_id).info.end_time is None
    space.client.set_terminated(run.info.run_id, "KILLED")
    events = space.http.get(f"runs/{run.info.run_id}/events").json()["items"]
    said = [event["data"]["to"] for event in events if event["type"] == "state_changed"]
    assert said == ["Running", "Completed", "Running", "Canceled"]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))


def test_a_run_is_the_same_in_whichever_way_it_was_made(space: Space) -> None:
    own = space.client.create_experiment("own")
    tags = [{"key": "mlflow.runName", "value": "ü"}, {"key": "k", "value": "v"}]
    made = []
    for experiment in (own, "0"):  # the second is made on the way
        body = {"experiment_id": experiment, "user_id": "me", "start_time": 5, "tags": tags}
        answer = space.call("POST", "runs/create", json=body).json()["run"]
        run_id = answer["info"]["run_id"]
        read = space.call("GET", "runs/get", params={"run_id": run_id}).json()["run"]
        assert answer == read
        shown = space.http.get(f"runs/{run_id}").json()
        events = space.http.get(f"runs/{run_id}/events").json()["items"]
        for one in (shown, *events):
            for key in ("id", "experiment_name", "created_at", "updated_at"):
                one.pop(key, None)
        made.append((shown, events))
    assert made[0] == made[1]
    assert made[0][0]["started_at"] == "1970-01-01T00:00:00.005000Z"


def test_a_run_has_a_name_as_long_as_a_tag(space: Space) -> None:
    name = "lr=0.1," * 100
    tags = {"mlflow.runName": name * 20}  # what is too long is cut
    # The fluent functions send the name and the tag.
    run = space.client.create_run("0", run_name=name * 20, tags=tags)
    assert (run.info.run_name, run.data.tags["mlflow.runName"]) == ((name * 20)[:8000],) * 2
    space.client.update_run(run.info.run_id, name=name)
    (found,) = space.client.search_runs(["0"], f"run_name = '{name}'")
    assert found.info.run_id == run.info.run_id
    assert space.http.get(f"runs/{run.info.run_id}").json()["display_name"] == name


def test_what_is_logged_comes_back_and_our_api_shows_it(space: Space) -> None:
    run_id = space.client.create_run("0").info.run_id
    now = int(time.time() * 1000)
    metrics = [Metric("loss", 1 / (step + 1), now + step, step) for step in range(50)]
    metrics += [Metric("odd", math.nan, now, 0), Metric("far", math.inf, now, 0)]
    space.client.log_batch(
        run_id, metrics, [Param("lr", "0.1"), Param("units", "10")], [RunTag("a", "b")]
    )
    space.client.log_metric(run_id, "acc", 0.5, timestamp=now, step=3)
    data = space.client.get_run(run_id).data
    assert data.metrics["loss"] == 1 / 50
    assert data.metrics["acc"] == 0.5
    assert math.isnan(data.metrics["odd"])
    assert data.metrics["far"] == math.inf
    assert data.params == {"lr": "0.1", "units": "10"}
    history = space.client.get_metric_history(run_id, "loss")
    assert [(m.step, m.timestamp) for m in history] == [(s, now + s) for s in range(50)]
    shown = space.http.get(f"runs/{run_id}").json()
    assert shown["params"] == {"lr": "0.1", "units": "10"}
    (loss,) = space.http.get(f"runs/{run_id}/metrics", params={"name": "loss"}).json()["items"]
    assert (loss["last"], loss["count"]) == (1 / 50, 50)


def test_the_same_value_delivered_again_counts_once(space: Space) -> None:
    run_id = space.client.create_run("0").info.run_id
    for _ in range(3):
        space.client.log_metric(run_id, "acc", 0.5, timestamp=1000, step=1)
    assert len(space.client.get_metric_history(run_id, "acc")) == 1
    # The last value is that of the highest step, however late another comes.
    space.client.log_metric(run_id, "acc", 0.1, timestamp=2000, step=0)
    assert space.client.get_run(run_id).data.metrics["acc"] == 0.5


def test_a_parameter_is_written_once(space: Space) -> None:
    run_id = space.client.create_run("0").info.run_id
    space.client.log_param(run_id, "lr", 0.1)
    space.client.log_param(run_id, "lr", 0.1)
    with pytest.raises(MlflowException, match="Changing param values is not allowed") as refused:
        space.client.log_batch(run_id, [Metric("m", 1, 1, 1)], [Param("lr", "0.2")])
    assert refused.value.error_code == "INVALID_PARAMETER_VALUE"
    run = space.client.get_run(run_id)
    assert (run.data.params, run.data.metrics) == ({"lr": "0.1"}, {})


def test_tags_are_set_over_and_removed(space: Space) -> None:
    run_id = space.client.create_run("0").info.run_id
    space.client.set_tag(run_id, "stage", "draft")
    space.client.set_tag(run_id, "stage", "final")
    space.client.set_tag(run_id, "mlflow.runName", "renamed")
    found = space.client.get_run(run_id)
    assert (found.data.tags["stage"], found.info.run_name) == ("final", "renamed")
    space.client.delete_tag(run_id, "stage")
    assert "stage" not in space.client.get_run(run_id).data.tags
    with pytest.raises(RestException) as refused:
        space.client.delete_tag(run_id, "stage")
    assert refused.value.error_code == "RESOURCE_DOES_NOT_EXIST"


def test_the_tag_for_the_name_may_be_deleted_and_the_name_stays(space: Space) -> None:
    run_id = space.client.create_run("0", run_name="first").info.run_id
    space.client.delete_tag(run_id, "mlflow.runName")
    assert space.client.get_run(run_id).info.run_name == "first"
    space.client.set_tag(run_id, "mlflow.runName", "second")
    assert space.client.get_run(run_id).info.run_name == "second"
    with pytest.raises(RestException):
        space.client.delete_tag("none", "mlflow.runName")


@pytest.mark.parametrize("is_first", [True, False])
def test_who_made_a_run_is_a_tag_only_where_it_was_sent_as_one(
    space: Space, is_first: bool
) -> None:
    experiment = "0" if is_first else space.client.create_experiment("own")
    sent = {"key": "mlflow.user", "value": "ann"}
    made = {}
    for user_id, tags in (("me", []), ("", [sent]), ("me", [sent]), ("", [])):
        body = {"experiment_id": experiment, "user_id": user_id, "tags": tags}
        answer = space.call("POST", "runs/create", json=body).json()["run"]
        run = space.client.get_run(answer["info"]["run_id"])
        assert answer["info"]["user_id"] == run.info.user_id
        made[run.info.run_id] = (run.info.user_id, run.data.tags.get("mlflow.user"))
    (token,) = {user for user, tag in made.values() if user not in ("me", "ann")}
    assert list(made.values()) == [("me", None), ("ann", "ann"), ("me", "ann"), (token, None)]
    for text, count in (
        ("tags.`mlflow.user` = 'ann'", 2),
        ("tags.`mlflow.user` IS NULL", 2),
        ("attributes.user_id = 'me'", 2),
        ("attributes.user_id = 'ann'", 1),
    ):
        assert len(space.client.search_runs([experiment], text)) == count, text


def test_runs_are_deleted_and_restored(space: Space) -> None:
    run_id = space.client.create_run("0").info.run_id
    space.client.delete_run(run_id)
    assert space.client.get_run(run_id).info.lifecycle_stage == "deleted"
    assert space.client.search_runs(["0"]) == []
    assert len(space.client.search_runs(["0"], run_view_type=ViewType.DELETED_ONLY)) == 1
    assert space.http.get("runs").json()["items"] == []
    with pytest.raises(RestException, match="must be in the 'active' state"):
        space.client.log_metric(run_id, "m", 1)
    space.client.restore_run(run_id)
    space.client.log_metric(run_id, "m", 1)
    assert len(space.client.search_runs(["0"])) == 1


def test_limits_of_a_batch(space: Space) -> None:
    run_id = space.client.create_run("0").info.run_id
    metric = {"key": "m", "value": 1, "timestamp": 1, "step": 0}
    too_many = {"run_id": run_id, "metrics": [{**metric, "step": n} for n in range(1001)]}
    refused = space.call("POST", "runs/log-batch", json=too_many)
    assert (refused.status_code, refused.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    params = [{"key": f"p{n}", "value": "v"} for n in range(60)]
    mixed = {"run_id": run_id, "metrics": too_many["metrics"][:980], "params": params}
    refused = space.call("POST", "runs/log-batch", json=mixed)
    assert "at most 1000 metrics, params, and tags" in refused.json()["message"]
    assert space.client.get_run(run_id).data.metrics == {}
    twice = {"run_id": run_id, "params": [params[0], params[0]]}
    refused = space.call("POST", "runs/log-batch", json=twice)
    assert "Duplicate parameter keys" in refused.json()["message"]
    space.client.log_batch(run_id, [], [Param("p", "v" * 6001)], [RunTag("t", "v" * 8001)])
    data = space.client.get_run(run_id).data
    assert (len(data.params["p"]), len(data.tags["t"])) == (6000, 8000)


def test_numbers_may_come_as_texts_as_other_clients_send_them(space: Space) -> None:
    run_id = space.client.create_run("0").info.run_id
    body = {"run_uuid": run_id, "key": "m", "value": "NaN", "timestamp": "17", "step": "3"}
    assert space.call("POST", "runs/log-metric", json=body).status_code == 200
    (metric,) = space.call("GET", f"runs/get?run_uuid={run_id}").json()["run"]["data"]["metrics"]
    assert metric == {"key": "m", "value": "NaN", "timestamp": 17, "step": 3}


def test_a_value_of_null_is_one_that_was_left_out(space: Space) -> None:
    run_id = space.client.create_run("0").info.run_id
    for path in ("runs/log-parameter", "runs/set-tag"):
        body = {"run_id": run_id, "key": "k", "value": None}
        assert space.call("POST", path, json=body).status_code == 200
    data = space.client.get_run(run_id).data
    assert (data.params["k"], data.tags["k"]) == ("", "")


METRIC = {"key": "m", "value": 1, "timestamp": 1}


@pytest.mark.parametrize(
    ("path", "given", "said"),
    [
        ("runs/log-metric", {**METRIC, "run_id": 31}, "Invalid value 31 for parameter 'run_id'"),
        ("runs/log-metric", {**METRIC, "run_id": None}, "Missing value for required parameter 'r"),
        ("runs/log-metric", {**METRIC, "key": 31}, "Invalid value 31 for parameter 'key' supplied"),
        ("runs/log-metric", {**METRIC, "key": None}, "Missing value for required parameter 'key'"),
        ("runs/log-metric", {**METRIC, "step": "x"}, "Invalid value \"x\" for parameter 'step' s"),
        ("runs/log-metric", {**METRIC, "key": "../m"}, "must not resolve to other names"),
        ("runs/log-metric", {**METRIC, "key": "a&b"}, "Names may only contain alphanumerics"),
        ("runs/log-metric", {**METRIC, "key": "k" * 251}, "exceeds the maximum length"),
        ("runs/log-parameter", {"run_id": 31, "key": "p", "value": 1}, "for parameter 'run_id'"),
        ("runs/set-tag", {"key": "t", "value": 41}, "Invalid value 41 for parameter 'value' suppl"),
        ("runs/set-tag", {"value": "v"}, "Missing value for required parameter 'key'"),
        ("runs/log-batch", {"metrics": "foo"}, "Invalid value \"foo\" for parameter 'metrics' sup"),
        ("runs/log-batch", {"metrics": [{"key": "m", "value": 1}]}, "'metrics[0].timestamp'"),
        ("runs/outputs", {}, "Missing value for required parameter 'models'"),
        ("runs/search", {"max_results": 50_001}, "Invalid value 50001 for parameter 'max_results'"),
        ("runs/search", {"max_results": 0}, "It must be a positive integer"),
        ("experiments/create", {}, "Missing value for required parameter 'name'"),
        ("experiments/create", {"name": 123}, "Invalid value 123 for parameter 'name'"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_in_mlflows_words(
    space: Space, path: str, given: dict[str, object], said: str
) -> None:
    run_id = space.client.create_run("0").info.run_id
    refused = space.call("POST", path, json={"run_id": run_id, **given})
    assert (refused.status_code, refused.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert said in refused.json()["message"]


def test_a_body_must_be_json(space: Space) -> None:
    headers = {"Content-Type": "text/plain"}
    refused = space.call("POST", "experiments/create", content=b"name=a", headers=headers)
    assert (refused.status_code, refused.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert "Content-Type must be one of" in refused.json()["message"]


def test_words_may_come_as_their_numbers(space: Space) -> None:
    run_id = space.client.create_run("0").info.run_id
    update = {"run_id": run_id, "status": 3}
    assert space.call("POST", "runs/update", json=update).json()["run_info"]["status"] == "FINISHED"
    space.client.delete_run(run_id)
    search = {"experiment_ids": ["0"], "run_view_type": 2}
    (found,) = space.call("POST", "runs/search", json=search).json()["runs"]
    assert found["info"]["run_id"] == run_id


def test_a_run_is_named_once_and_its_user_is_whom_the_client_says(space: Space) -> None:
    tags = [{"key": "mlflow.runName", "value": "b"}]
    body = {"experiment_id": "0", "run_name": "a", "tags": tags}
    refused = space.call("POST", "runs/create", json=body)
    assert "Both 'run_name' argument and 'mlflow.runName' tag" in refused.json()["message"]
    assert space.client.create_run("0").info.user_id == "unknown"
    made = space.call("POST", "runs/create", json={"experiment_id": "0"}).json()["run"]
    assert made["info"]["user_id"] == "admin"


def test_values_of_one_step_and_time_come_by_value(space: Space) -> None:
    run_id = space.client.create_run("0").info.run_id
    for value in (3, 1, 2):
        space.client.log_metric(run_id, "m", value, timestamp=5, step=1)
    history = space.client.get_metric_history(run_id, "m")
    assert [metric.value for metric in history] == [1, 2, 3]
    params = {"run_ids": [run_id], "metric_key": "m", "max_results": 3}
    found = space.call("GET", "metrics/get-history-bulk-interval", params=params).json()
    assert [metric["value"] for metric in found["metrics"]] == [1, 2, 3]


def test_histories_of_several_runs_at_chosen_steps(space: Space) -> None:
    ids = [space.client.create_run("0").info.run_id for _ in range(2)]
    for run_id in ids:
        space.client.log_batch(run_id, [Metric("m", step, step, step) for step in range(1000)])
    params = {"run_ids": ids, "metric_key": "m", "max_results": 100}
    path = "metrics/get-history-bulk-interval"
    found = space.call("GET", path, params=params).json()["metrics"]
    for run_id in ids:
        steps = [metric["step"] for metric in found if metric["run_id"] == run_id]
        assert steps == sorted(steps)
        assert (steps[0], steps[-1]) == (0, 999)
        assert len(steps) == 100
    params |= {"start_step": 10, "end_step": 19}
    found = space.call("GET", path, params=params).json()["metrics"]
    assert len(found) == 20
    bulk = "metrics/get-history-bulk"
    for at, wrong, said in (
        (path, {"start_step": 30}, "end_step must be greater than start_step"),
        (path, {"end_step": None}, "If either start step or end step are specified"),
        (path, {"max_results": 2501}, "max_results must be between 1 and 2500"),
        (path, {"run_ids": ["r"] * 101}, "at most 100 run_ids"),
        (path, {"metric_key": ""}, "Missing value for required parameter 'metric_key'"),
        (bulk, {}, "at least one run_id"),
        (bulk, {"run_id": ids, "metric_key": ""}, "must specify a metric_key"),
        (bulk, {"run_id": ["r"] * 101}, "more than 100 run_ids"),
    ):
        query = {key: value for key, value in (params | wrong).items() if value is not None}
        refused = space.call("GET", at, params=query)
        assert refused.json()["error_code"] == "INVALID_PARAMETER_VALUE"
        assert said in refused.json()["message"]


def test_cancel_of_a_tracked_run_through_our_api(space: Space) -> None:
    run_id = space.client.create_run("0").info.run_id
    answer = space.http.post(f"runs/{run_id}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (202, "Canceled")
    assert space.client.get_run(run_id).info.status == "KILLED"


def test_nobody_waits_for_the_log_of_a_tracked_run(space: Space) -> None:
    run_id = space.client.create_run("0").info.run_id
    for accept in ("text/plain", "text/event-stream"):
        answer = space.http.get(
            f"runs/{run_id}/logs", params={"follow": "true"}, headers={"Accept": accept}
        )
        assert answer.status_code == 200
