"""`cluster create | list | show | resize | delete`."""

from typing import Annotated, Any

import typer

from trainwright.commands import names
from trainwright.commands.output import AsJson, print_facts, print_json, print_table, say
from trainwright.commands.session import connect

app = typer.Typer(no_args_is_help=True, help="Make, list, resize and delete clusters.")

Cluster = Annotated[str, typer.Argument(help="Its name.", autocompletion=names.clusters)]
MinNodes = Annotated[int | None, typer.Option(help="So many nodes are always there.", min=0)]
MaxNodes = Annotated[int | None, typer.Option(help="So many nodes at most.", min=1)]
IdleSeconds = Annotated[int | None, typer.Option(help="An idle node goes after so long.", min=0)]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Of the cluster.")],
    *,
    vm_size: Annotated[str, typer.Option(help="Size of its nodes, one of `vm-sizes`.")],
    min_nodes: MinNodes = None,
    max_nodes: MaxNodes = None,
    idle_seconds: IdleSeconds = None,
    as_json: AsJson = False,
) -> None:
    """Get or make a cluster: an existing one gets these settings."""
    body = {"vm_size": vm_size, **_scale(min_nodes, max_nodes, idle_seconds)}
    with connect() as server:
        _print(server.put(server.path("clusters", name), body), as_json=as_json)


@app.command("list")
def list_clusters(*, as_json: AsJson = False) -> None:
    """List clusters."""
    with connect() as server:
        items = list(server.pages(server.path("clusters")))
    if as_json:
        print_json(items)
        return
    print_table(
        ["NAME", "SIZE", "NODES", "MOST", "STATE", "ALLOCATION"],
        (
            [
                item["name"],
                item["vm_size"],
                item["current_node_count"],
                item["scale_settings"]["max_nodes"],
                item["provisioning_state"],
                item["allocation_state"],
            ]
            for item in items
        ),
    )


@app.command()
def show(name: Cluster, *, as_json: AsJson = False) -> None:
    """Show a cluster's state."""
    with connect() as server:
        _print(server.get(server.path("clusters", name)), as_json=as_json)


@app.command()
def resize(
    name: Cluster,
    *,
    min_nodes: MinNodes = None,
    max_nodes: MaxNodes = None,
    idle_seconds: IdleSeconds = None,
    as_json: AsJson = False,
) -> None:
    """Change how far a cluster grows and shrinks."""
    body = _scale(min_nodes, max_nodes, idle_seconds)
    if not body:
        raise typer.BadParameter("give --min-nodes, --max-nodes or --idle-seconds")
    with connect() as server:
        _print(server.patch(server.path("clusters", name), body), as_json=as_json)


@app.command()
def delete(name: Cluster) -> None:
    """Delete a cluster that no run uses."""
    with connect() as server:
        server.delete(server.path("clusters", name))
    say(f"Cluster {name} goes.")


def vm_sizes(*, as_json: AsJson = False) -> None:
    """List the sizes that nodes may have."""
    with connect() as server:
        items = list(server.pages(server.server_path("vm-sizes")))
    if as_json:
        print_json(items)
        return
    print_table(
        ["NAME", "CORES", "MEMORY", "GPUS"],
        ([i["name"], i["cores"], f"{i['memory_gb']:g} GB", i["gpus"]] for i in items),
    )


def _scale(
    min_nodes: int | None, max_nodes: int | None, idle_seconds: int | None
) -> dict[str, int]:
    given = {
        "min_nodes": min_nodes,
        "max_nodes": max_nodes,
        "idle_seconds_before_scaledown": idle_seconds,
    }
    return {name: value for name, value in given.items() if value is not None}


def _print(cluster: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(cluster)
        return
    scale, counts = cluster["scale_settings"], cluster["node_state_counts"]
    print_facts(
        [
            ("name", cluster["name"]),
            ("size", cluster["vm_size"]),
            ("state", cluster["provisioning_state"]),
            ("allocation", cluster["allocation_state"]),
            ("nodes", f"{cluster['current_node_count']} of {cluster['target_node_count']} wanted"),
            ("by state", ", ".join(f"{count} {name}" for name, count in counts.items() if count)),
            ("scale", f"{scale['min_nodes']} to {scale['max_nodes']}"),
            ("idle seconds", scale["idle_seconds_before_scaledown"]),
            ("errors", "; ".join(str(error.get("message", error)) for error in cluster["errors"])),
        ]
    )
