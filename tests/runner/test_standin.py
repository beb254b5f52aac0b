"""`azureml.core` as a script inside a real run finds it."""

import json
import re
from typing import Any
from urllib.parse import unquote

import pytest

from app.kernel.names import NAME_PATTERN
from tests.pages import examples_of
from tests.runner.conftest import Bench
from tests.runner.node_api import Refusal

START = (
    "import json, pathlib\n"
    "from azureml.core import Run\n"
    "from azureml.core.run import Run as SameRun\n"
    "run = Run.get_context()\n"
)


@pytest.fixture
def run(bench: Bench) -> Bench:
    bench.api.order["standin"] = True
    bench.api.order["environment"] = {
        "AZUREML_RUN_ID": "run_1",
        "AZUREML_RUN_TOKEN": "run-token",
        "AZUREML_ARM_PROJECT_NAME": "digits",
        "AZUREML_ARM_WORKSPACE_NAME": "lab",
        "AZUREML_ARM_SUBSCRIPTION": "sub",
        "AZUREML_ARM_RESOURCEGROUP": "trainwright",
        "TRAINWRIGHT_API": bench.api.url + "/v1/workspaces/lab",
    }
    return bench


def play(bench: Bench, text: str) -> str:
    """Run the script, which must succeed, and return what it printed."""
    bench.script(START + text)
    assert bench.run() == 0
    assert bench.exited()["exit_code"] == 0, bench.api.text()
    return bench.api.text()


def metrics(bench: Bench) -> list[tuple[str, str, Any]]:
    return [
        (record["name"], record["type"], record["value"])
        for record in bench.api.records
        if record["kind"] == "metric"
    ]


def test_the_script_of_the_page(run: Bench) -> None:
    (script,) = examples_of("docs/scripts.md", "python")
    run.script(script)

    assert run.run() == 0
    assert run.exited()["exit_code"] == 0, run.api.text()
    assert metrics(run) == [("accuracy", "scalar", 0.97)]


def test_who_the_run_is(run: Bench) -> None:
    run.api.run_document["display_name"] = "first try"
    printed = play(
        run,
        "assert SameRun is Run and isinstance(run, Run)\n"
        "print(run.id, run.name, run.experiment.name, run.experiment.workspace.name,\n"
        "      run.experiment.workspace.subscription_id, run.parent, run.get_status())\n",
    )
    assert printed == "run_1 first try digits lab sub None Running\n"


def test_scalars_texts_and_steps(run: Bench) -> None:
    play(
        run,
        "run.log('accuracy', 0.5)\nrun.log('accuracy', 0.75, step=3)\n"
        "run.log('batch', 50)\nrun.log('flag', True)\nrun.log('note', 'fine')\n"
        "run.log('loss', float('nan'))\nrun.log('odd', object)\n",
    )
    assert metrics(run)[:5] == [
        ("accuracy", "scalar", 0.5),
        ("accuracy", "scalar", 0.75),
        ("batch", "scalar", 50),
        ("flag", "scalar", 1),
        ("note", "string", "fine"),
    ]
    assert run.api.records[1]["step"] == 3
    assert run.api.records[5]["value"] != run.api.records[5]["value"]
    assert metrics(run)[6][1:] == ("string", "<class 'object'>")


def test_twenty_points_without_step_are_twenty_points(run: Bench) -> None:
    printed = play(
        run,
        "for i in range(20): run.log('loss', i / 10)\nprint(len(run.get_metrics()['loss']))",
    )
    assert printed == "20\n"
    assert [value for _, _, value in metrics(run)] == [i / 10 for i in range(20)]


def test_lists_rows_and_tables(run: Bench) -> None:
    printed = play(
        run,
        "run.log_list('list', [1, 2])\nrun.log_list('range', range(3))\n"
        "run.log_row('row', x=1, y=2.5)\nrun.log_row('row', x=2, y=3.5)\n"
        "run.log_table('table', {'a': [1, 2], 'b': (3, 4)})\n"
        "print(json.dumps(run.get_metrics(), sort_keys=True))\n",
    )
    assert metrics(run) == [
        ("list", "list", [1, 2]),
        ("range", "list", [0, 1, 2]),
        ("row", "row", {"x": 1, "y": 2.5}),
        ("row", "row", {"x": 2, "y": 3.5}),
        ("table", "table", {"a": [1, 2], "b": [3, 4]}),
    ]
    assert json.loads(printed) == {
        "list": [1, 2],
        "range": [0, 1, 2],
        "row": {"x": [1, 2], "y": [2.5, 3.5]},
        "table": {"a": [1, 2], "b": [3, 4]},
    }


def test_numpy_values_become_plain_ones(run: Bench) -> None:
    play(
        run,
        "import numpy as np\n"
        "run.log('f32', np.float32(0.5))\nrun.log('i64', np.int64(7))\n"
        "run.log('zero-dimensional', np.array(2.0))\nrun.log('one', np.array([3.0]))\n"
        "run.log_list('array', np.arange(3))\n"
        "run.log_row('row', a=np.float64(1), b=np.bool_(True))\n"
        "run.log_table('t', {'m': np.ones((2, 2))})\n",
    )
    assert metrics(run) == [
        ("f32", "scalar", 0.5),
        ("i64", "scalar", 7),
        ("zero-dimensional", "scalar", 2.0),
        ("one", "scalar", 3.0),
        ("array", "list", [0, 1, 2]),
        ("row", "row", {"a": 1.0, "b": True}),
        ("t", "table", {"m": [[1.0, 1.0], [1.0, 1.0]]}),
    ]


def test_images_from_a_file_and_from_a_plot(run: Bench) -> None:
    play(
        run,
        "pathlib.Path('chart.jpg').write_bytes(b'jpeg')\n"
        "class Plot:\n"
        "    def savefig(self, target, format): target.write(b'png')\n"
        "run.log_image('file', path='chart.jpg')\nrun.log_image('plot', plot=Plot())\n"
        "try: run.log_image('none')\n"
        "except ValueError: pass\n"
        "else: raise SystemExit('no error')\n",
    )
    (_, kind, first), (_, _, second) = metrics(run)
    assert kind == "image"
    assert run.api.run_files == {first: b"jpeg", second: b"png"}
    assert first.endswith(".jpg")


@pytest.mark.parametrize("what", ["confusion_matrix", "accuracy_table", "residuals", "predictions"])
def test_charts_in_json_form(run: Bench, what: str) -> None:
    play(
        run,
        "value = {'schema_type': 'x', 'schema_version': 'v1', 'data': {'matrix': [[1, 0]]}}\n"
        f"run.log_{what}('chart', value)\nrun.log_{what}('chart', json.dumps(value))\n"
        f"try: run.log_{what}('chart', {{}})\n"
        "except ValueError: pass\n"
        "else: raise SystemExit('no error')\n",
    )
    value = {"schema_type": "x", "schema_version": "v1", "data": {"matrix": [[1, 0]]}}
    assert metrics(run) == [("chart", "json", value)] * 2


def test_tags(run: Bench) -> None:
    run.api.run_document["tags"] = {"given": "before", "old": "1"}
    printed = play(
        run,
        "run.tag('quality', 'good')\nrun.tag('bare')\nrun.set_tags({'n': 1})\n"
        "run.remove_tags(['old'])\nprint(json.dumps(run.get_tags(), sort_keys=True))\n",
    )
    assert json.loads(printed) == {"bare": None, "given": "before", "n": "1", "quality": "good"}
    assert run.api.records == [
        {"kind": "tag", "key": "quality", "value": "good"},
        {"kind": "tag", "key": "bare", "value": None},
        {"kind": "tag", "key": "n", "value": "1"},
        {"kind": "remove_tags", "keys": ["old"]},
    ]


def test_properties_never_change(run: Bench) -> None:
    printed = play(
        run,
        "run.add_properties({'author': 'me', 'n': 1})\nrun.add_properties({'n': 1, 'm': 2})\n"
        "try: run.add_properties({'author': 'you'})\n"
        "except Exception as error: print(error)\n"
        "print(run.get_properties())\n",
    )
    assert printed == "property_immutable\n{'author': 'me', 'n': '1', 'm': '2'}\n"


def test_properties_wait_when_the_service_is_away(run: Bench) -> None:
    run.api.refuse = lambda method, path: Refusal(503, "unavailable") if method == "PATCH" else None
    play(
        run,
        "import azureml.core.run as module\nmodule.PROPERTIES_RETRY_SECONDS = 0.1\n"
        "run.add_properties({'author': 'me'})\n",
    )
    assert run.api.records == [{"kind": "property", "key": "author", "value": "me"}]


def test_files_go_up_and_come_back(run: Bench) -> None:
    printed = play(
        run,
        "import io\n"
        "folder = pathlib.Path('made'); (folder / 'sub').mkdir(parents=True)\n"
        "(folder / '-1.index').write_text('one'); (folder / 'sub' / 'empty').touch()\n"
        "run.upload_file('outputs/a b?.txt', 'made/-1.index')\n"
        "run.upload_file('from-stream', io.BytesIO(b'stream'))\n"
        "run.upload_files(['x', 'y'], ['made/-1.index', 'made/sub/empty'])\n"
        "run.upload_folder('tree', 'made')\n"
        "try: run.upload_file('x', 'made/sub/empty')\n"
        "except Exception as error: print(error.status_code)\n"
        "print(sorted(run.get_file_names()))\n"
        "run.download_file('tree/-1.index', 'back/here.txt')\n"
        "print(pathlib.Path('back/here.txt').read_text())\n"
        "run.download_files('tree/', 'all')\n"
        "print(pathlib.Path('all/tree/-1.index').read_text())\n",
    )
    names = ["from-stream", "outputs/a%20b%3F.txt", "tree/-1.index", "tree/sub/empty", "x", "y"]
    assert printed == f"409\n{names}\none\none\n"
    assert run.api.run_files["y"] == b""


def test_registering_a_model_uploads_what_the_history_lacks(run: Bench) -> None:
    printed = play(
        run,
        "from azureml.core.model import Model\n"
        "from azureml.core.resource_configuration import ResourceConfiguration\n"
        "pathlib.Path('outputs/model').mkdir()\n"
        "pathlib.Path('outputs/model/saved_model.pb').write_text('pb')\n"
        "model = run.register_model('digits', 'outputs/model', tags={'n': 1},\n"
        "    model_framework=Model.Framework.TENSORFLOW, model_framework_version='2.15',\n"
        "    resource_configuration=ResourceConfiguration(1, 0.5))\n"
        "print(model.name, model.version, model.id)\n"
        "print(run.register_model('digits', 'outputs/model/').version)\n",
    )
    assert printed == "digits 1 digits:1\n2\n"
    assert run.api.run_files == {"outputs/model/saved_model.pb": b"pb"}
    assert run.api.models[0] == (
        "digits",
        {
            "run_id": "run_1",
            "path": "outputs/model",
            "framework": "TensorFlow",
            "framework_version": "2.15",
            "tags": {"n": "1"},
            "resource_configuration": {"cpu": 1, "memory_gb": 0.5},
        },
    )


def test_a_name_that_no_model_has_is_refused_at_once(run: Bench) -> None:
    said = f"path/model: String should match pattern '{NAME_PATTERN}'"

    def refuse(method: str, path: str) -> Refusal | None:
        """As the service: what has no route is not found, other names match the pattern or not."""
        _, is_of_models, tail = unquote(path).partition("/models/")
        name = tail.removesuffix("/versions")
        if not is_of_models or re.match(NAME_PATTERN, name):
            return None
        if not name or "/" in name:
            return Refusal(404, "not_found")
        return Refusal(422, "invalid", detail=said)

    run.api.refuse = refuse
    names = ["my model", "ü", "a#b", "a?validate_only=true", "a%20b", "a/b", "", "..", "\udc80"]
    printed = play(
        run,
        "open('m.bin', 'w').write('m')\n"
        "from azureml.exceptions import ServiceException\n"
        f"for name in {names!r}:\n"
        "    try: run.register_model(name, 'm.bin')\n"
        "    except ServiceException as error: print(error.status_code, error.code, error)\n",
    )
    assert printed.splitlines() == [f"422 invalid {said}"] * len(names)
    assert run.api.models == []


def test_a_lost_answer_makes_no_second_version(run: Bench) -> None:
    run.api.lose_answers, run.api.lose_answers_of = 1, "/models/"
    printed = play(
        run,
        "pathlib.Path('outputs/m.bin').write_text('m')\n"
        "print(run.register_model('digits', 'outputs/m.bin').version)\n",
    )
    assert printed == "1\n"
    assert len(run.api.models) == 1


def test_details(run: Bench) -> None:
    run.api.run_document.update(
        cluster_name="gpucluster",
        started_at="2026-01-01T00:00:00Z",
        request={"entry_script": "train.py", "arguments": ["--x", "1"]},
        input_datasets=[{"name": "mnist"}],
    )
    printed = play(run, "print(json.dumps(run.get_details()))")
    details = json.loads(printed)
    assert details["runId"] == "run_1"
    assert details["target"] == "gpucluster"
    assert details["runDefinition"] == {"script": "train.py", "arguments": ["--x", "1"]}
    assert details["inputDatasets"] == [{"name": "mnist"}]


def test_inputs_by_name(run: Bench) -> None:
    digest = run.api.add_blob(b"data")
    run.api.order["inputs"] = [
        {
            "name": "mnist",
            "mode": "download",
            "path_on_compute": None,
            "files": [{"path": "a.gz", "sha256": digest, "size_bytes": 4}],
        }
    ]
    printed = play(run, "print(pathlib.Path(run.input_datasets['mnist'], 'a.gz').read_text())")
    assert printed == "data\n"


def test_saying_that_it_is_over_does_not_end_it(run: Bench) -> None:
    run.script(
        START + "import warnings; warnings.simplefilter('ignore')\n"
        "run.start(); run.complete(); run.fail('why', 'code'); run.cancel(); run.flush()\n"
        "run.wait_for_completion(show_output=True)\n"
        "run.log('after', 1)\nprint('still here')\nraise SystemExit(4)\n"
    )
    assert run.run() == 0
    assert run.api.text() == "still here\n"
    assert run.exited()["exit_code"] == 4
    assert metrics(run) == [("after", "scalar", 1)]


@pytest.mark.parametrize(
    "call",
    [
        "run.child_run('x')",
        "run.create_children(2)",
        "run.submit_child(None)",
        "run.experiment.submit(None)",
        "run.get_secret('x')",
        "azureml.core.Dataset.get_by_name(run.experiment.workspace, 'mnist')",
        "azureml.core.Workspace.create('x')",
        "azureml.core.Model.register(None, 'path', 'name')",
    ],
)
def test_what_is_not_offered_says_so(run: Bench, call: str) -> None:
    printed = play(
        run,
        f"import azureml.core\ntry: {call}\nexcept NotImplementedError as error: print(error)\n",
    )
    assert "is not offered inside a Trainwright run" in printed


def test_logging_goes_on_while_the_api_is_away(run: Bench) -> None:
    run.script(
        START + "import time\nrun.log('n', 0)\n"
        "while not pathlib.Path('go').exists(): time.sleep(0.01)\n"
        "began = time.time()\n"
        "for i in range(1, 1000): run.log('n', i)\n"
        "assert time.time() - began < 20\n"
        "pathlib.Path('logged').touch()\n"
    )
    run.start()
    run.api.wait_for(lambda: run.api.records)
    run.api.is_away = True
    (run.work / "go").touch()
    asked = run.api.requests
    run.api.wait_for(lambda: run.api.requests > asked + 3 and (run.work / "logged").exists())
    run.api.is_away = False

    assert run.wait() == 0
    assert run.exited()["exit_code"] == 0
    assert [value for _, _, value in metrics(run)] == list(range(1000))


def test_a_record_that_cannot_be_written_is_a_warning(run: Bench) -> None:
    printed = play(
        run,
        "import os\nos.environ['TRAINWRIGHT_RECORDS'] = '/dev/full'\n"
        "run = Run.get_context()\nrun.log('n', 1)\nrun.log('n', 2)\nprint('went on')\n",
    )
    assert printed.count("UserWarning") == 1
    assert printed.endswith("went on\n")
