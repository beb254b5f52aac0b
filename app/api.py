"""The one list of routers."""

from fastapi import APIRouter

from app.auth import router as auth
from app.azureml import artifacts_router as azureml_artifacts
from app.azureml import metrics_router as azureml_metrics
from app.azureml import models_router as azureml_models
from app.azureml import rest_router as azureml_rest
from app.azureml import router as azureml
from app.batch_scorings import router as batch_scorings
from app.blobs import router as blobs
from app.clusters import router as clusters
from app.costs import router as costs
from app.datasets import router as datasets
from app.datasets import versions_router as dataset_versions
from app.datastores import router as datastores
from app.deployments import capture_router as captures
from app.deployments import router as deployments
from app.deployments import scoring_router as scoring
from app.environments import images_router as images
from app.environments import router as environments
from app.experiments import router as experiments
from app.garbage import router as garbage
from app.health import router as health
from app.hosts import router as hosts
from app.identity import audit_router as audit
from app.identity import groups_router as groups
from app.identity import roles_router as roles
from app.identity import sign_in_router as sign_in
from app.identity import users_router as users
from app.imports import router as imports
from app.leaks import router as leaks
from app.lineage import router as lineage
from app.metrics import router as metrics
from app.mlflow import router as mlflow
from app.models import aliases_router as model_aliases
from app.models import checks_router as model_checks
from app.models import files_router as model_files
from app.models import router as models
from app.models import sample_router as model_sample
from app.models import versions_router as model_versions
from app.nodes import router as nodes
from app.pictures import router as pictures
from app.planning import router as planning
from app.runs import events_router as run_events
from app.runs import files_router as run_files
from app.runs import logs_router as run_logs
from app.runs import processes_router as run_processes
from app.runs import router as runs
from app.secrets import router as secrets
from app.snapshots import router as snapshots
from app.sweeps import plots_router as sweep_plots
from app.sweeps import router as sweeps
from app.uploads import router as uploads
from app.workspaces import router as workspaces

ROUTERS: tuple[APIRouter, ...] = (
    health.router,
    leaks.router,
    hosts.router,
    planning.router,
    costs.router,
    costs.prices_router,
    costs.workspace_router,
    auth.router,
    sign_in.router,
    users.router,
    groups.router,
    roles.router,
    audit.router,
    audit.workspace_router,
    workspaces.router,
    experiments.router,
    clusters.router,
    clusters.sizes_router,
    imports.router,
    runs.router,
    run_processes.router,
    run_events.router,
    run_logs.router,
    sweeps.router,
    sweep_plots.router,
    metrics.router,
    metrics.compare_router,
    pictures.router,
    run_files.router,
    nodes.router,
    azureml.router,
    azureml_metrics.router,
    azureml_artifacts.router,
    azureml_models.router,
    azureml_rest.router,
    mlflow.router,
    environments.router,
    images.router,
    blobs.router,
    uploads.router,
    garbage.router,
    secrets.router,
    snapshots.router,
    datastores.router,
    datasets.router,
    dataset_versions.router,
    models.router,
    model_versions.router,
    model_files.router,
    model_aliases.router,
    model_checks.router,
    model_sample.router,
    lineage.router,
    deployments.router,
    captures.router,
    scoring.router,
    batch_scorings.router,
)

FROM_SCRIPTS: tuple[APIRouter, ...] = (nodes.router, azureml_metrics.router)
"""Where programs of ours, and the azureml-core package, send what a script said."""
