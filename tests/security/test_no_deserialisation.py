"""The control plane reads data; it never builds objects that the data names."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
# Running what a file says is how these read it, or they read models, which is the same.
NEVER = {"pickle", "_pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "joblib",
         "keras", "tensorflow", "torch", "h5py", "mlflow", "sklearn", "onnx"}  # fmt: skip
# Fits a curve to numbers of rows, and opens no file; loaded by the worker that needs it.
COMPUTES = {("app/sweeps/gaussian.py", "sklearn")}
# In the model's own environment, in the node: the one place where models are loaded.
SERVING = REPOSITORY / "workers" / "serving"
PROGRAM = """
import sys
import app.main, app.admin, workers.celery_app
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield (node.module or "").partition(".")[0]


def test_nothing_of_ours_imports_what_runs_what_it_reads() -> None:
    sources = [*(REPOSITORY / "app").rglob("*.py"), *(REPOSITORY / "workers").rglob("*.py")]
    found = {
        (str(path.relative_to(REPOSITORY)), name)
        for path in sources
        if not path.is_relative_to(SERVING)
        for name in imports(path)
        if name in NEVER
    }
    assert found == COMPUTES
    assert len(sources) > 300


def test_no_library_brings_it_along() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, cwd=REPOSITORY
    )
    loaded = set(done.stdout.split())
    # The standard library's own: kombu and SQLAlchemy name it for what we do not use.
    assert loaded & NEVER <= {"pickle", "_pickle", "marshal", "shelve"}
    assert "celery" in loaded


def test_workers_take_json_from_the_broker_and_nothing_else() -> None:
    program = "from workers.celery_app import celery_app as c; print(c.conf.accept_content)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=REPOSITORY
    )
    assert done.stdout.strip() == "['json']"
