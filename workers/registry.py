"""The one list of reconcilers."""

from workers.context import WorkerContext
from workers.reconcile_dataset import DatasetReconciler
from workers.reconciler import Reconciler


def make_reconcilers(context: WorkerContext) -> list[Reconciler]:
    """All reconcilers of a worker process."""
    return [
        DatasetReconciler(context.database, context.objects, context.settings),
    ]
