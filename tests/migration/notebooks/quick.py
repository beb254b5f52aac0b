"""A notebook of 2020, cell by cell, without TensorFlow: what every notebook does."""

import os

import azureml.core
from azureml.core import (
    Dataset,
    Datastore,
    Environment,
    Experiment,
    Run,
    ScriptRunConfig,
    Workspace,
)
from azureml.core.compute import AmlCompute, ComputeTarget
from azureml.core.compute_target import ComputeTargetException
from azureml.core.conda_dependencies import CondaDependencies
from azureml.core.model import Model
from azureml.core.runconfig import MpiConfiguration, RunConfiguration
from azureml.train.estimator import Estimator
from azureml.widgets import RunDetails

print("SDK version:", azureml.core.VERSION)

# The workspace.
ws = Workspace.from_config()
print(ws.name, ws.resource_group, ws.location, ws.subscription_id, sep="\t")

# Data, by its web addresses.
web = os.environ["DIGITS_URL"]
web_paths = [f"{web}/train-labels-idx1-ubyte.gz", f"{web}/t10k-labels-idx1-ubyte.gz"]
dataset = Dataset.File.from_files(path=web_paths)
dataset = dataset.register(
    workspace=ws, name="labels only", description="labels", create_new_version=True
)
print(dataset.name, dataset.version, dataset.to_path())
assert Dataset.get_by_name(ws, "labels only").version == dataset.version
assert "labels only" in ws.datasets

# A cluster: found, or made.
cluster_name = "cpu-cluster"
try:
    compute_target = ComputeTarget(workspace=ws, name=cluster_name)
    print("Found existing compute target")
except ComputeTargetException:
    print("Creating a new compute target...")
    compute_config = AmlCompute.provisioning_configuration(
        vm_size="STANDARD_D2_V2", min_nodes=0, max_nodes=2, idle_seconds_before_scaledown=300
    )
    compute_target = ComputeTarget.create(ws, cluster_name, compute_config)
    compute_target.wait_for_completion(show_output=True, min_node_count=None, timeout_in_minutes=20)
print(compute_target.get_status().serialize())
for name, target in ws.compute_targets.items():
    print(name, target.type, target.provisioning_state)

# The script, as a cell would write it.
script_folder = os.path.join(os.getcwd(), "hello")
os.makedirs(script_folder, exist_ok=True)
with open(os.path.join(script_folder, "train.py"), "w") as script:
    script.write(
        """
import argparse, glob, os
from azureml.core import Run

parser = argparse.ArgumentParser()
parser.add_argument("--data-folder", dest="data")
parser.add_argument("--rate", type=float, default=0.0)
parser.add_argument("--shout", action="store_true")
args = parser.parse_args()

run = Run.get_context()
files = glob.glob(os.path.join(args.data, "**", "*.gz"), recursive=True) if args.data else []
print("files:", len(files), "shout:", args.shout, flush=True)
run.log("files", len(files))
for step in range(3):
    run.log("accuracy", 0.5 + step * args.rate)
run.log_row("table", x=1, y=2)
run.tag("finished", "yes")
os.makedirs("outputs/model", exist_ok=True)
with open("outputs/model/weights.txt", "w") as out:
    out.write("1 2 3")
"""
    )

# An estimator.
exp = Experiment(workspace=ws, name="hello")
est = Estimator(
    source_directory=script_folder,
    script_params={
        "--data-folder": dataset.as_named_input("labels").as_mount(),
        "--rate": 0.1,
        "--shout": "",
    },
    compute_target=compute_target,
    entry_script="train.py",
    pip_packages=["azureml-dataprep[pandas,fuse]"],
)
run = exp.submit(est, tags={"made by": "notebook"})
RunDetails(run).show()
details = run.wait_for_completion(show_output=True)
assert details["status"] == "Completed", details
assert run.get_status() == "Completed"
metrics = run.get_metrics()
assert metrics["accuracy"] == [0.5, 0.6, 0.7], metrics
assert metrics["files"] == 2, metrics
assert metrics["table"] == {"x": 1, "y": 2}, metrics
assert run.get_tags() == {"made by": "notebook", "finished": "yes"}, run.get_tags()
print(run.get_file_names())

# Its files.
os.makedirs("./model", exist_ok=True)
for name in run.get_file_names():
    if name.startswith("outputs/model"):
        run.download_file(name=name, output_file_path=os.path.join("./model", name.split("/")[-1]))
assert open("./model/weights.txt").read() == "1 2 3"
run.download_files(prefix="outputs", output_directory="all")
assert os.path.isfile("all/outputs/model/weights.txt")
assert any("std_log" in path for path in run.get_all_logs(destination="logs-of-run"))

# The same with a ScriptRunConfig, an environment and a command line of its own.
env = Environment(name="project-env")
env.python.conda_dependencies = CondaDependencies.create(
    pip_packages=["azureml-defaults", "idna==3.10"]
)
env.environment_variables = {"COLOUR": "blue"}
env.register(workspace=ws)
env = Environment.get(workspace=ws, name="project-env")
src = ScriptRunConfig(
    source_directory=script_folder,
    script="train.py",
    arguments=["--data-folder", dataset.as_named_input("labels").as_download(), "--rate", 0.2],
    compute_target=compute_target,
    environment=env,
)
second = exp.submit(src)
second.wait_for_completion()
assert second.get_metrics(name="accuracy") == {"accuracy": [0.5, 0.7, 0.9]}
assert next(exp.get_runs()).id == second.id
assert {one.id for one in exp.get_runs(tags={"made by": "notebook"})} >= {run.id}
assert Run.get(ws, run.id).experiment.name == "hello"

# Data of one's own, by way of a datastore.
os.makedirs("mine/deep", exist_ok=True)
for name in ("one.gz", "deep/two.gz", "three.txt"):
    with open(os.path.join("mine", name), "w") as file:
        file.write(name)
ds = ws.get_default_datastore()
print(ds.name, ds.datastore_type, sorted(ws.datastores), sep="\t")
ds.upload(src_dir="./mine", target_path="mine", overwrite=True, show_progress=True)
ds.upload_files(["./mine/one.gz"], target_path="mine", show_progress=False)
assert Datastore.get(ws, ds.name).download("back", prefix="mine", show_progress=False) == 3
assert open("back/mine/deep/two.gz").read() == "deep/two.gz"
stored = Dataset.File.from_files(path=(ds, "mine/**/*.gz"))
stored = stored.register(workspace=ws, name="mine", create_new_version=True)
assert sorted(stored.to_path()) == ["/deep/two.gz", "/one.gz"], stored.to_path()
third = exp.submit(
    Estimator(
        source_directory=script_folder,
        script_params={"--data-folder": ds.path("mine").as_mount()},
        compute_target=compute_target,
        entry_script="train.py",
    )
)
third.wait_for_completion()
assert third.get_metrics(name="files") == {"files": 2}, third.get_metrics()

# A run of the notebook itself.
interactive = exp.start_logging(snapshot_directory=None)
interactive.log("alpha", 0.03)
interactive.log("mse", 3.5)
interactive.log("loss", float("inf"))
interactive.log_row("wave", angle=0.0, cos=1.0)
interactive.log_row("wave", angle=1.0, cos=0.5)
interactive.upload_file(name="outputs/notes.txt", path_or_stream="./model/weights.txt")
interactive.complete()
assert interactive.get_status() == "Completed", interactive.get_status()
logged = interactive.get_metrics()
assert (logged["alpha"], logged["mse"], logged["loss"]) == (0.03, 3.5, float("inf")), logged
assert logged["wave"] == {"angle": [0.0, 1.0], "cos": [1.0, 0.5]}, logged

# Models.
model = run.register_model(
    model_name="weights", model_path="outputs/model", model_framework=Model.Framework.CUSTOM,
    tags={"quality": "good"},
)  # fmt: skip
print(model.name, model.id, model.version, sep="\t")
open("./model/more.txt", "w").close()
again = Model.register(
    workspace=ws, model_path="./model", model_name="weights",
    model_framework=Model.Framework.CUSTOM,
)  # fmt: skip
assert again.version == model.version + 1
assert Model(ws, "weights").version == again.version
assert [one.version for one in Model.list(ws, name="weights", tags=[["quality", "good"]])][0] == (
    model.version
)
where = again.download(target_dir="downloaded", exist_ok=True)
assert os.path.isfile(os.path.join(where, "weights.txt"))
for name, one in ws.models.items():
    print(name, one.version)

# Names that later notebooks use, made but not submitted.
config = RunConfiguration()
config.target = compute_target
config.environment = env
print(MpiConfiguration(process_count_per_node=2))
compute_target.delete()
compute_target.wait_for_completion(show_output=True, is_delete_operation=True)
print("ALL CELLS RAN")
