"""Two versions of a model side by side. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from app.models.schemas import (
    Difference,
    FileChanges,
    MetricDifference,
    ModelVersionRead,
    SignatureRead,
    TensorDifference,
    TensorRead,
    VersionComparison,
)

_FILES_SHOWN = 100
_LINEAGE = ("run_id", "experiment_name", "path", "snapshot_id", "image_hash", "parent")


def compare(
    left: ModelVersionRead,
    right: ModelVersionRead,
    *,
    files: tuple[Mapping[str, str], Mapping[str, str]],
    metrics: tuple[Mapping[str, float], Mapping[str, float]],
) -> VersionComparison:
    """What differs between two versions, and their runs' metrics.

    Args:
        left, right: the versions.
        files: SHA-256 by path, of the left and the right one.
        metrics: last values by name, of the left one's and the right one's run.
    """
    return VersionComparison(
        left=left,
        right=right,
        is_same_files=dict(files[0]) == dict(files[1]),
        is_same_signature=_tensors(left.signature) == _tensors(right.signature),
        signature=_signature(left.signature, right.signature),
        metrics=[
            _metric(name, metrics[0].get(name), metrics[1].get(name))
            for name in sorted({*metrics[0], *metrics[1]})
        ],
        size_difference_bytes=right.size_bytes - left.size_bytes,
        files=_files(*files),
        tags=_differences(left.tags, right.tags),
        properties=_differences(left.properties, right.properties),
        lineage=_lineage(left, right),
        about=_differences(_about(left), _about(right)),
    )


def _tensors(signature: SignatureRead | None) -> dict[tuple[str, str], TensorRead]:
    if signature is None:
        return {}
    return {
        (side, tensor.name): tensor
        for side, tensors in (("input", signature.inputs), ("output", signature.outputs))
        for tensor in tensors
    }


def _signature(left: SignatureRead | None, right: SignatureRead | None) -> list[TensorDifference]:
    before, after = _tensors(left), _tensors(right)
    return [
        TensorDifference(
            side=side, name=name, left=before.get((side, name)), right=after.get((side, name))
        )
        for side, name in sorted({*before, *after})
        if before.get((side, name)) != after.get((side, name))
    ]


def _metric(name: str, left: float | None, right: float | None) -> MetricDifference:
    change = None if left is None or right is None else right - left
    return MetricDifference(name=name, left=left, right=right, change=change)


def _files(left: Mapping[str, str], right: Mapping[str, str]) -> FileChanges:
    changed = [path for path in left if path in right and left[path] != right[path]]
    return FileChanges(
        added=sorted(set(right) - set(left))[:_FILES_SHOWN],
        removed=sorted(set(left) - set(right))[:_FILES_SHOWN],
        changed=sorted(changed)[:_FILES_SHOWN],
        same_count=sum(1 for path in left if right.get(path) == left[path]),
        is_cut=max(len(set(right) - set(left)), len(set(left) - set(right)), len(changed))
        > _FILES_SHOWN,
    )


def _differences(left: Mapping[str, Any], right: Mapping[str, Any]) -> list[Difference]:
    return [
        Difference(name=name, left=left.get(name), right=right.get(name))
        for name in sorted({*left, *right})
        if left.get(name) != right.get(name)
    ]


def _lineage(left: ModelVersionRead, right: ModelVersionRead) -> list[Difference]:
    before, after = left.lineage.model_dump(), right.lineage.model_dump()
    chosen = [{name: each[name] for name in _LINEAGE} for each in (before, after)]
    inputs = [_inputs(each["dataset_versions"]) for each in (before, after)]
    return _differences(chosen[0] | inputs[0], chosen[1] | inputs[1])


def _inputs(datasets: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        f"inputs.{each['name']}": {"dataset": each["dataset"], "version": each["version"]}
        for each in datasets
    }


def _about(version: ModelVersionRead) -> dict[str, Any]:
    names = ("kind", "framework", "framework_version", "is_deployable", "stage")
    return {name: getattr(version, name) for name in names}
