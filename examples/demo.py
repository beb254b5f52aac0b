"""``make demo``: the whole walk, from a workspace to a predicted digit, through the public API.

Settings, from the environment:
    DIGITS: a folder with the four original archives, to be used in place of scikit-learn's digits.
    DATA_DIR: where the demo's stack keeps its data (``.trainwright/demo`` in the checkout).
    TENSORFLOW: the TensorFlow version to train with.
    EPOCHS: how often the training data is gone through.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from examples.digits import ARCHIVES, serve_folder, write_digits
from examples.walk import model_steps, prepare_steps, run_steps, show
from examples.walk.plan import Job, Walk
from examples.walk.stack import Stack, StackError
from examples.walk.talk import StepError, Talk, require

_ROOT = Path(__file__).resolve().parents[1]
TENSORFLOW = "2.21.0"
_PORT_FILE = "digits-port"

STEPS: tuple[tuple[str, str, Callable[[Walk], None]], ...] = (
    ("1", "a workspace and its config.json", prepare_steps.create_workspace),
    ("2", "an experiment", prepare_steps.create_experiment),
    ("3", "a dataset from four web addresses", prepare_steps.register_dataset),
    ("4", "a cluster", prepare_steps.create_cluster),
    ("5", "the source folder", run_steps.upload_source),
    ("5", "a run", run_steps.submit_run),
    ("6–8", "build log, queue and live log", run_steps.follow_run),
    ("8", "sealed logs", run_steps.show_streams),
    ("13", "metrics", run_steps.show_metrics),
    ("9", "outputs", run_steps.list_outputs),
    ("2", "the experiment's runs, newest first", run_steps.list_runs),
    ("10", "a model version", model_steps.register_model),
    ("10", "its signature and lineage", model_steps.show_signature),
    ("11", "a web service without code", model_steps.deploy),
    ("11", "a digit, and a batch of them", model_steps.predict),
    ("11", "the service's contract", model_steps.check_service),
    ("", "the service taken down", model_steps.remove_service),
)


def tensorflow_job(*, version: str, epochs: int) -> Job:
    """The training of ``examples/train/tf_mnist.py`` on the dataset ``digits``."""
    return Job(
        source=_ROOT / "examples" / "train",
        launch={
            "entry_script": "tf_mnist.py",
            "script_params": {
                "--data-folder": {
                    "dataset": "digits",
                    "version": "latest",
                    "name": "mnist",
                    "mode": "mount",
                },
                "--batch-size": 50,
                "--first-layer-neurons": 300,
                "--second-layer-neurons": 100,
                "--learning-rate": 0.001,
                "--epochs": epochs,
            },
        },
        environment={
            "framework": "tensorflow",
            "framework_version": version,
            "use_gpu": False,
            "pip_packages": ["pandas"],
            "environment_variables": {"TF_CPP_MIN_LOG_LEVEL": "2"},
        },
    )


def take(walk: Walk) -> None:
    """Take every step of the walk, telling each.

    Raises:
        StepError: a step was not answered as it should be.
    """
    for number, title, step in STEPS:
        show.heading(number, title)
        step(walk)


@contextmanager
def digits_server(data_dir: Path) -> Iterator[tuple[Path, str]]:
    """The folder of the archives and the address that serves it.

    The port of an earlier demo on the same data folder is taken again where it is free, so that
    the same web addresses give the same dataset version.
    """
    given = os.environ.get("DIGITS")
    folder = Path(given).resolve() if given else data_dir / "digits"
    if not given and not all((folder / name).exists() for name in ARCHIVES):
        write_digits(folder)
    missing = [name for name in ARCHIVES if not (folder / name).exists()]
    require(not missing, f"DIGITS names a folder without {', '.join(missing)}")
    remembered = data_dir / _PORT_FILE
    port = int(remembered.read_text()) if remembered.exists() else 0
    with serve_folder(folder, port=port) as address:
        remembered.write_text(address.rsplit(":", 1)[1])
        yield folder, address


def demo() -> None:
    """Start a stack, take the walk on it, stop it.

    Raises:
        StackError: the stack did not start or stop.
        StepError: a step was not answered as it should be.
    """
    data_dir = Path(os.environ.get("DATA_DIR") or _ROOT / ".trainwright" / "demo").resolve()
    data_dir.mkdir(parents=True, exist_ok=True)
    files = data_dir.with_name(data_dir.name + "-files")
    files.mkdir(exist_ok=True)
    job = tensorflow_job(
        version=os.environ.get("TENSORFLOW") or TENSORFLOW,
        epochs=int(os.environ.get("EPOCHS") or 5),
    )
    stack = Stack(data_dir, settings={"TRAINWRIGHT_FETCH_ALLOW": '["127.0.0.1"]'})
    with digits_server(files) as (digits, address):
        began = time.monotonic()
        show.say(f"starting the embedded stack on {data_dir}")
        stack.start()
        try:
            show.say(f"it answers after {time.monotonic() - began:.1f} s; to paste what follows:")
            show.say(f"TRAINWRIGHT={stack.address}")
            show.say(f"TOKEN=$(cat {data_dir / 'first-token'})")
            talk = Talk(stack.address, stack.token)
            take(Walk(talk=talk, job=job, folder=files, digits=digits, digits_address=address))
            talk.close()
        finally:
            left = stack.stop()
        require(not left, f"the stack left processes behind: {left}")
    show.say()
    show.say("every step answered as it should, and the stack has stopped")


def main() -> int:
    """Run the demo; 0 only where every step answered as it should."""
    try:
        demo()
    except (StepError, StackError) as error:
        show.say()
        show.say(f"the demo failed: {error}")
        return 1
    except KeyboardInterrupt:
        show.say("interrupted")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
