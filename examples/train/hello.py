"""A job without TensorFlow: looks at its data, logs a metric, leaves a file."""

import sys
from pathlib import Path

from azureml.core import Run

run = Run.get_context()
archives = sorted(path.name for path in Path(sys.argv[1]).rglob("*.gz"))
print("archives", len(archives), flush=True)
for step in range(3):
    run.log("accuracy", 0.5 + step / 10)
Path("logs/notes.txt").write_text("seen while it runs\n")
target = Path("outputs/model")
target.mkdir(parents=True)
(target / "weights.txt").write_text("\n".join(archives))
print("done", flush=True)
