"""``make bench``: every figure is one JSON line; ``NAME=warm_start`` runs one benchmark."""

import json
import sys
from collections.abc import Callable

from benchmarks import (
    api,
    api_vs_mlflow,
    digits_sweep,
    docker_start,
    jobs_a_minute,
    list_latency,
    log_latency,
    metrics,
    mpi_throughput,
    planner,
    ps_start,
    serving,
    start_up,
    sweep_overhead,
    warm_start,
)
from benchmarks.figure import Figure

BENCHMARKS: dict[str, Callable[[], list[Figure]]] = {
    "start_up": start_up.measure,
    "warm_start": warm_start.measure,
    "mpi_throughput": mpi_throughput.measure,
    "jobs_a_minute": jobs_a_minute.measure,
    "docker_start": docker_start.measure,
    "log_latency": log_latency.measure,
    "metrics": metrics.measure,
    "api": api.measure,
    "api_vs_mlflow": api_vs_mlflow.measure,
    "list_latency": list_latency.measure,
    "ps_start": ps_start.measure,
    "planner": planner.measure,
    "serving": serving.measure,
    "sweep_overhead": sweep_overhead.measure,
    "digits_sweep": digits_sweep.measure,
}


def main(names: list[str]) -> int:
    """Run the benchmarks named, or all; 2 for a name that there is not."""
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        sys.stderr.write(f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}\n")
        return 2
    for name in names or list(BENCHMARKS):
        for figure in BENCHMARKS[name]():
            print(json.dumps(figure.as_json()), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
