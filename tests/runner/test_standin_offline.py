"""`azureml.core` outside of any run."""

import os
import subprocess
import sys
from pathlib import Path

STANDIN = Path(__file__).parents[2] / "workers" / "runner" / "standin"
SCRIPT = """
from azureml.core.run import Run, _OfflineRun
from azureml.exceptions import RunEnvironmentException

run = Run.get_context()
assert isinstance(run, _OfflineRun) and run.id.startswith('OfflineRun_')
run.log('accuracy', 0.5)
run.log_list('l', [1]); run.log_row('r', a=1); run.log_table('t', {'a': [1]})
run.log_image('i', path='x.png'); run.log('text', 'words')
run.log_confusion_matrix('c', {'schema_type': 'x', 'schema_version': '1', 'data': {}})
run.tag('a', 1); run.set_tags({'b': None}); assert run.get_tags() == {'a': '1', 'b': None}
run.remove_tags('a'); assert run.tags == {'b': None}
run.add_properties({'p': 1}); assert run.get_properties() == {'p': '1'}
run.upload_file('f', 'nowhere'); run.upload_files(['f'], ['nowhere'])
run.upload_folder('f', 'nowhere'); run.register_model('m', 'nowhere')
assert run.get_metrics() == {} and run.get_file_names() == [] and run.input_datasets == {}
assert run.get_details()['runId'] == run.id and run.get_status() == 'Running'
run.start(); run.flush(); run.complete(); run.fail('x'); run.cancel(); run.wait_for_completion()
try:
    run.experiment
except AttributeError as error:
    assert 'outside of a run' in str(error)
else:
    raise SystemExit('run.experiment was there')
with Run.get_context() as other:
    other.log('inside', 1)
try:
    Run.get_context(allow_offline=False)
except RunEnvironmentException:
    print('refused')
"""


def play_offline(python: str, cwd: Path) -> str:
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AZUREML_", "TRAINWRIGHT_"))
    }
    done = subprocess.run(
        [python, "-c", SCRIPT],
        env={**environment, "PYTHONPATH": str(STANDIN), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_prints_what_it_would_log_and_never_fails(tmp_path: Path) -> None:
    printed = play_offline(sys.executable, tmp_path)
    assert printed.startswith("Attempted to log scalar metric accuracy:\n0.5\n")
    assert "Attempted to log row metric r:\n{'a': 1}\n" in printed
    assert printed.endswith("refused\n")
