"""The one description of a node's container: whatever is not named here is not possible."""

from typing import Any

from docker.types import DeviceRequest, Mount

from app.providers.base import NodeSpec
from app.providers.docker.payload import FOLDER, GID, PROGRAM, UID, VOLUME

OWNER_LABEL = "trainwright.owner"
NODE_LABEL = "trainwright.node"
NETWORK_LABEL = "trainwright.network"
INPUT_LABEL = "trainwright.input"
_NANO = 10**9
_TMP_BYTES = 256 * 1024**2
_SECRETS_FOLDER = "/run/trainwright-secrets"
_SECRETS_BYTES = 8 * 1024**2
_SMALLEST_MEMORY_BYTES = 6 * 1024**2


def labels(owner: str, spec: NodeSpec) -> dict[str, str]:
    """By which everything of a node is found again."""
    found = {OWNER_LABEL: owner, NODE_LABEL: spec.name}
    if spec.network is not None:
        found[NETWORK_LABEL] = spec.network
    return found


def container_options(
    client: Any,
    owner: str,
    spec: NodeSpec,
    *,
    cores: float,
    network: str,
    peers_via: str | None = None,
) -> dict[str, Any]:
    """Arguments of the engine's `create_container` for a node.

    Args:
        client: makes the host's part.
        owner: the installation.
        spec: the node.
        cores: how many there are; an engine refuses to limit to more.
        network: that the container is in.
        peers_via: an address of the network that the node shares with its peers.
    """
    # A container may have several addresses: its peers reach it at the one that lies there.
    facing = {} if peers_via is None else {"TRAINWRIGHT_PEERS_VIA": peers_via}
    return {
        "image": spec.image,
        "name": spec.name,
        "entrypoint": ["python3", "-I", PROGRAM],
        "user": f"{UID}:{GID}",
        "working_dir": FOLDER,
        "labels": labels(owner, spec),
        "environment": {
            "TRAINWRIGHT_NODE": spec.name,
            "TRAINWRIGHT_ENDPOINT": spec.endpoint,
            "TRAINWRIGHT_OWN_CGROUP": "1",
            "TRAINWRIGHT_SECRETS_DIR": _SECRETS_FOLDER,
            "HOME": FOLDER,
            "TMPDIR": f"{FOLDER}/tmp",  # noqa: S108 - the container's own
            # Nobody has to be in the image's list of users for these to be asked for.
            "USER": "trainwright",
            "LOGNAME": "trainwright",
        }
        | facing,
        "host_config": _host_config(client, spec, cores=cores, network=network),
    }


def _host_config(client: Any, spec: NodeSpec, *, cores: float, network: str) -> Any:
    memory_bytes = max(spec.memory_bytes, _SMALLEST_MEMORY_BYTES) if spec.memory_bytes else None
    return client.create_host_config(
        init=True,
        read_only=True,
        tmpfs={
            "/tmp": f"size={_TMP_BYTES},mode=1777",  # noqa: S108 - the container's own
            _SECRETS_FOLDER: f"size={_SECRETS_BYTES},mode=0700,uid={UID},gid={GID}",
        },
        mounts=[
            Mount(target=VOLUME, source=spec.name, type="volume", no_copy=True),
            *(
                Mount(
                    target=each.folder,
                    source=each.volume,
                    type="volume",
                    read_only=True,
                    no_copy=True,
                )
                for each in spec.inputs
            ),
        ],
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        nano_cpus=int(min(spec.cores, cores) * _NANO),
        mem_limit=memory_bytes,
        memswap_limit=memory_bytes,
        shm_size=spec.shared_memory_bytes or None,
        pids_limit=spec.pids_limit,
        device_requests=_gpus(spec),
        network_mode=network,
        log_config={"Type": "json-file", "Config": {"max-size": "1m", "max-file": "2"}},
        restart_policy={"Name": "no"},
    )


def _gpus(spec: NodeSpec) -> list[DeviceRequest] | None:
    if not spec.gpus:
        return None
    if spec.gpu_ids:
        # By a count alone the engine gives the first ones to every container.
        return [DeviceRequest(device_ids=list(spec.gpu_ids), capabilities=[["gpu"]])]
    return [DeviceRequest(count=spec.gpus, capabilities=[["gpu"]])]
