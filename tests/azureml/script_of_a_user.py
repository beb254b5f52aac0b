"""What scripts of the v1 service do with their run; prints at the end what it read back."""

import json
from pathlib import Path

from azureml.core import Run
from azureml.core.resource_configuration import ResourceConfiguration


class Plot:
    """Has of matplotlib what the package uses."""

    def savefig(self, target, format):
        target.write(Path("picture.png").read_bytes())


run = Run.get_context()
confusion = {
    "schema_type": "confusion_matrix",
    "schema_version": "1.0.0",
    "data": {"class_labels": ["a", "b"], "matrix": [[3, 1], [0, 4]]},
}
accuracy = {
    "schema_type": "accuracy_table",
    "schema_version": "1.0.1",
    "data": {
        "probability_tables": [[[1, 1, 0, 0], [0, 0, 1, 1]]],
        "percentile_tables": [[[1, 1, 0, 0], [0, 0, 1, 1]]],
        "probability_thresholds": [0.0, 1.0],
        "percentile_thresholds": [0.0, 1.0],
        "class_labels": ["a"],
    },
}
predictions = {
    "schema_type": "predictions",
    "schema_version": "1.0.0",
    "data": {"bin_averages": [0.5], "bin_errors": [0.0], "bin_counts": [1], "bin_edges": [0, 1]},
}
residuals = {
    "schema_type": "residuals",
    "schema_version": "1.0.0",
    "data": {"bin_edges": [0, 1], "bin_counts": [2]},
}

run.log("loss", 0.5)
run.log("loss", 0.25)
run.log("once", 1)
run.log("note", "warm")
run.log_list("list", [1, 2, 3])
run.log_row("row", x=1, y=2.5)
run.log_table("table", {"a": [1, 2], "b": [3, 4]})
run.log_image("figure", plot=Plot())
run.log_image("picture", path="picture.png")
run.log_confusion_matrix("confusion", confusion)
run.log_accuracy_table("accuracy", accuracy)
run.log_predictions("predicted", predictions)
run.log_residuals("left", residuals)

Path("outputs/model").mkdir(parents=True)
Path("outputs/model/saved_model.pb").write_bytes(b"graph" * 1000)
Path("outputs/model/variables").mkdir()
Path("outputs/model/variables/variables.index").write_bytes(b"")
Path("one.txt").write_text("one")
run.upload_file("notes/one.txt", "one.txt")
run.upload_files(["notes/a.txt", "notes/b.txt"], ["one.txt", "picture.png"])
run.upload_folder("outputs/model", "outputs/model")
run.download_file("notes/one.txt", "back.txt")
run.download_files("outputs/model", "downloaded")
run.tag("kept", "yes")
run.set_tags({"removed": "1"})
run.remove_tags(["removed"])
run.add_properties({"seed": "7"})

child = run.child_run("part")
child.log("loss", 9)
child.complete()
children = run.create_children(count=2)
for one in children:
    one.log("inner", 1)
    one.complete()
with run.child_run("failing") as failing:
    failing.fail("it went wrong")

run.flush()
model = run.register_model(
    "digits",
    model_path="outputs/model",
    tags={"kind": "test"},
    model_framework="TensorFlow",
    model_framework_version="2.15.1",
    resource_configuration=ResourceConfiguration(cpu=2, memory_in_gb=3),
)
details = run.get_details()
try:
    run.download_file("notes/none.txt", "none.txt")
    refused = ""
except Exception as error:
    refused = type(error).__name__
print(
    json.dumps(
        {
            "files": sorted(run.get_file_names()),
            "metrics": run.get_metrics(),
            "child metrics": child.get_metrics(),
            "one metric": run.get_metrics("loss"),
            "matrix": json.loads(run.get_metrics("confusion", populate=True)["confusion"].data),
            "all": sorted(run.get_metrics(recursive=True)),
            "back": Path("back.txt").read_text(),
            "downloaded": sorted(
                path.name for path in Path("downloaded").rglob("*") if path.is_file()
            ),
            "details": {
                key: details[key] for key in ("runId", "status", "submittedBy", "properties")
            },
            "tags": run.get_tags(),
            "children": [[one.id, one.get_status(), one.parent.id] for one in run.get_children()],
            "created": [one.id for one in [child, *children, failing]],
            "model": [model.name, model.version, model.id, model.run_id],
            "refused": refused,
        }
    )
)
