"""A notebook of 2020, cell by cell: tune-and-deploy-with-TensorFlow, with the imports of its time."""

import json
import os
import shutil

import azureml.core
import requests
from azureml.core import Dataset, Experiment, Workspace
from azureml.core.compute import AmlCompute, ComputeTarget
from azureml.core.compute_target import ComputeTargetException
from azureml.core.model import InferenceConfig, Model
from azureml.core.resource_configuration import ResourceConfiguration
from azureml.core.runconfig import MpiConfiguration, TensorflowConfiguration
from azureml.core.webservice import AciWebservice, Webservice
from azureml.telemetry import set_diagnostics_collection
from azureml.train.dnn import ParameterServer, TensorFlow
from azureml.train.estimator import Estimator
from azureml.train.hyperdrive import (
    BanditPolicy,
    HyperDriveConfig,
    PrimaryMetricGoal,
    RandomParameterSampling,
    choice,
    loguniform,
)
from azureml.widgets import RunDetails

print("SDK version:", azureml.core.VERSION)
set_diagnostics_collection(send_diagnostics=True)

ws = Workspace.from_config()
print("Workspace name: " + ws.name, "Azure region: " + ws.location,
      "Subscription id: " + ws.subscription_id, "Resource group: " + ws.resource_group, sep="\n")

# Create an experiment.
script_folder = "./tf-mnist"
os.makedirs(script_folder, exist_ok=True)
exp = Experiment(workspace=ws, name="tf-mnist")

# Register the four archives.
web = os.environ["DIGITS_URL"]
web_paths = [
    f"{web}/train-images-idx3-ubyte.gz",
    f"{web}/train-labels-idx1-ubyte.gz",
    f"{web}/t10k-images-idx3-ubyte.gz",
    f"{web}/t10k-labels-idx1-ubyte.gz",
]
dataset = Dataset.File.from_files(path=web_paths)
dataset = dataset.register(workspace=ws, name="mnist dataset",
                           description="training and test dataset", create_new_version=True)
print(dataset.to_path())

# Create or attach existing AmlCompute.
cluster_name = "gpucluster"
try:
    compute_target = ComputeTarget(workspace=ws, name=cluster_name)
    print("Found existing compute target")
except ComputeTargetException:
    print("Creating a new compute target...")
    compute_config = AmlCompute.provisioning_configuration(vm_size="STANDARD_NC6", max_nodes=2,
                                                           idle_seconds_before_scaledown=120)
    compute_target = ComputeTarget.create(ws, cluster_name, compute_config)
    compute_target.wait_for_completion(show_output=True, min_node_count=None,
                                       timeout_in_minutes=20)
print(compute_target.get_status().serialize())

# Create the TensorFlow estimator and submit it.
shutil.copy(os.environ["TF_MNIST"], os.path.join(script_folder, "tf_mnist.py"))
script_params = {
    "--data-folder": dataset.as_named_input("mnist").as_mount(),
    "--batch-size": 50,
    "--first-layer-neurons": 100,
    "--second-layer-neurons": 50,
    "--learning-rate": 0.001,
}
est = TensorFlow(source_directory=script_folder,
                 script_params=script_params,
                 compute_target=compute_target,
                 entry_script="tf_mnist.py",
                 framework_version="2.15",
                 pip_packages=["azureml-dataprep[pandas,fuse]"])
run = exp.submit(est)
RunDetails(run).show()
run.wait_for_completion(show_output=True)
details = run.get_details()
assert details["status"] == "Completed"
assert details["inputDatasets"][0]["dataset"] == {"name": "mnist dataset", "version": 1}
metrics = run.get_metrics()
print({name: type(value) for name, value in metrics.items()})
assert any("acc" in name for name in metrics), metrics

# Download the model's files.
os.makedirs("./model", exist_ok=True)
for f in run.get_file_names():
    if f.startswith("outputs/model"):
        output_file_path = os.path.join("./model", f.split("/")[-1])
        print("Downloading from {} to {} ...".format(f, output_file_path))
        run.download_file(name=f, output_file_path=output_file_path)
assert os.path.isfile("./model/saved_model.pb")

# Distributed: Horovod's launcher on two nodes, and parameter servers.
with open(os.path.join(script_folder, "rank.py"), "w") as script:
    script.write('import os; print("rank", os.environ["OMPI_COMM_WORLD_RANK"], '
                 '"of", os.environ["OMPI_COMM_WORLD_SIZE"], flush=True)\n')
mpi = Estimator(source_directory=script_folder, compute_target=compute_target,
                entry_script="rank.py", node_count=2, process_count_per_node=1,
                distributed_training=MpiConfiguration())
mpi_run = exp.submit(mpi)
mpi_run.wait_for_completion(show_output=True)
assert mpi_run.get_details()["runDefinition"]["nodeCount"] == 2

with open(os.path.join(script_folder, "role.py"), "w") as script:
    script.write('import json, os\nfrom azureml.core import Run\n'
                 'task = json.loads(os.environ["TF_CONFIG"])["task"]\n'
                 'print("I am", task["type"], task["index"], flush=True)\n'
                 'Run.get_context().log("tasks", 1)\n')
distributed_training = TensorflowConfiguration()
distributed_training.worker_count = 2
ps = TensorFlow(source_directory=script_folder, compute_target=compute_target,
                entry_script="role.py", node_count=2,
                distributed_training=distributed_training, framework_version="2.15")
ps_run = exp.submit(ps)
ps_run.wait_for_completion(show_output=False)
roles = "".join(open(path).read() for path in ps_run.get_all_logs(destination="ps-logs"))
for role in ("I am ps 0", "I am worker 0", "I am worker 1"):
    assert role in roles, roles
assert ParameterServer(worker_count=2).worker_count == 2

# Tuning: a sweep over a script that takes a moment, with early termination.
with open(os.path.join(script_folder, "tune.py"), "w") as script:
    script.write('import argparse\nfrom azureml.core import Run\n'
                 'parser = argparse.ArgumentParser()\n'
                 'parser.add_argument("--batch-size", type=int)\n'
                 'parser.add_argument("--learning-rate", type=float)\n'
                 'args = parser.parse_args()\n'
                 'for step in range(3):\n'
                 '    Run.get_context().log("validation_acc", args.batch_size / 100 - step / 10)\n')
sampling = RandomParameterSampling({
    "--batch-size": choice(25, 50, 100),
    "--learning-rate": loguniform(-6, -1),
})
policy = BanditPolicy(evaluation_interval=2, slack_factor=0.1)
tuned = Estimator(source_directory=script_folder, compute_target=compute_target,
                  entry_script="tune.py", script_params={"--batch-size": 1})
htc = HyperDriveConfig(estimator=tuned, hyperparameter_sampling=sampling, policy=policy,
                       primary_metric_name="validation_acc",
                       primary_metric_goal=PrimaryMetricGoal.MAXIMIZE,
                       max_total_runs=4, max_concurrent_runs=2)
htr = exp.submit(config=htc)
htr.wait_for_completion(show_output=True)
best = htr.get_best_run_by_primary_metric()
ranking = htr.get_children_sorted_by_primary_metric()
assert ranking[0]["run_id"] == best.id and len(ranking) == 4, ranking
print("best hyperparameters", htr.get_hyperparameters()[best.id])

# Register the model and deploy it.
model = run.register_model(model_name="tf-dnn-mnist", model_path="outputs/model",
                           model_framework=Model.Framework.TENSORFLOW,
                           model_framework_version="2.15",
                           resource_configuration=ResourceConfiguration(cpu=1, memory_in_gb=1))
assert ws.models["tf-dnn-mnist"].run_id == run.id

aciconfig = AciWebservice.deploy_configuration(cpu_cores=1, auth_enabled=True, memory_gb=1,
                                               tags={"name": "mnist", "framework": "TensorFlow DNN"},
                                               description="Tensorflow DNN on MNIST")
try:
    Model.deploy(ws, "tf-mnist-svc", [model], InferenceConfig(entry_script="score.py"), aciconfig)
    raise AssertionError("scoring scripts are there: this notebook can use them")
except NotImplementedError as error:
    print(error)
service = Model.deploy(workspace=ws, name="tf-mnist-svc", models=[model],
                       deployment_config=aciconfig)
service.wait_for_deployment(True)
print(service.state, service.scoring_uri, service.get_logs()[-200:], sep="\n")

# Ask it, through the SDK and over plain HTTP.
test_samples = bytes(json.dumps({"data": [[0.0] * 784, [1.0] * 784]}), encoding="utf8")
result = service.run(input_data=test_samples)
print("predictions:", str(result)[:200])
key1, key2 = service.get_keys()
headers = {"Content-Type": "application/json", "Authorization": "Bearer " + key1}
resp = requests.post(service.scoring_uri, test_samples, headers=headers, timeout=60)
assert resp.json() == result
service.regen_key("Primary")
assert requests.post(service.scoring_uri, test_samples, headers=headers, timeout=60).status_code in (401, 403)
assert service.get_keys()[0] != key1
assert [one.name for one in Webservice.list(ws, model_name="tf-dnn-mnist")] == ["tf-mnist-svc"]

# Clean up.
service.delete()
compute_target.delete()
print("ALL CELLS RAN")
