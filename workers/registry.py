"""The one list of reconcilers."""

from workers.context import WorkerContext
from workers.reconcile_batch_scoring import BatchScoringReconciler
from workers.reconcile_dataset import DatasetReconciler
from workers.reconcile_deployment import DeploymentReconciler
from workers.reconcile_image import ImageReconciler
from workers.reconcile_input_volume import InputVolumeReconciler
from workers.reconcile_model import ModelReconciler
from workers.reconcile_model_capture import ModelCaptureReconciler
from workers.reconcile_planning import PlanningReconciler
from workers.reconcile_run import RunReconciler
from workers.reconcile_sweep import SweepReconciler
from workers.reconciler import Reconciler


def make_reconcilers(context: WorkerContext) -> list[Reconciler]:
    """All reconcilers of a worker process."""
    return [
        ImageReconciler(context.database, context.objects, context.settings),
        DatasetReconciler(context.database, context.objects, context.settings),
        PlanningReconciler(context),
        InputVolumeReconciler(context),
        RunReconciler(context),
        ModelReconciler(context),
        ModelCaptureReconciler(context),
        DeploymentReconciler(context),
        SweepReconciler(context.database, context.settings),
        BatchScoringReconciler(context.database, context.objects),
    ]
