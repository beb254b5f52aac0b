"""What a script's tracking library reads, so that it logs to the script's own run by itself."""

from app.kernel.config import Settings
from app.mlflow.names import experiment_id_of
from app.tables.experiment import Experiment
from app.tables.run import Run
from app.tables.workspace import Workspace

ADDRESS = "MLFLOW_TRACKING_URI"


def variables(
    settings: Settings, token: str, run: Run, workspace: Workspace, experiment: Experiment
) -> dict[str, str]:
    """The variables of MLflow's client.

    Args:
        settings: for the address of the API as nodes reach it.
        token: the script's own.
        run: the script's run.
        workspace: of the run.
        experiment: of the run.
    """
    return {
        ADDRESS: f"{settings.nodes_base_url}/v1/workspaces/{workspace.name}/mlflow",
        "MLFLOW_TRACKING_TOKEN": token,
        "MLFLOW_RUN_ID": run.id,
        "MLFLOW_EXPERIMENT_ID": experiment_id_of(experiment.id, experiment.name),
        "MLFLOW_EXPERIMENT_NAME": experiment.name,
    }


def limits() -> dict[str, str]:
    """Keep a tracking library whose server is away from blocking training for minutes."""
    return {
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
        "WANDB_INIT_TIMEOUT": "30",
    }
