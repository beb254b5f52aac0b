"""The command line `trainwright`.

Exit codes: 0 done; 1 the run, or the deployment, failed; 2 the command makes no sense as given;
3 the server refused; 4 the server cannot be reached; 130 interrupted.
"""

import os
import select
import sys
from importlib.metadata import version
from typing import Annotated, NoReturn

import typer

from trainwright.commands import (
    account,
    batch_scorings,
    captures,
    clusters,
    datasets,
    deployments,
    histories,
    models,
    registry,
    requests,
    runs,
    secrets,
    submitting,
    sweeps,
    workspaces,
)
from trainwright.commands.output import say
from trainwright.commands.session import RetrySeconds, Url, Workspace, given
from trainwright.connection import RETRY_SECONDS
from trainwright.errors import ApiProblem, TrainwrightError, TransferFailed, Unreachable
from trainwright.installed import add_installed

WRONG_USE, REFUSED, UNREACHABLE = 2, 3, 4

app = typer.Typer(name="trainwright", no_args_is_help=True, pretty_exceptions_enable=False)


def _version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"trainwright {version('trainwright')}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    url: Url = None,
    workspace: Workspace = None,
    retry_seconds: RetrySeconds = RETRY_SECONDS,
    _: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and end.", callback=_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Train, register and serve models on your own machines."""
    given.url, given.workspace, given.retry_seconds = url, workspace, retry_seconds


_MODELS = "Models"
_PLACES = "Workspaces, data and clusters"
_RUNS = "Runs"
app.command()(account.login)
app.command()(account.logout)
app.command()(account.whoami)
app.command()(requests.request)
app.add_typer(workspaces.app, name="workspace", rich_help_panel=_PLACES)
app.add_typer(datasets.app, name="dataset", rich_help_panel=_PLACES)
app.add_typer(clusters.app, name="cluster", rich_help_panel=_PLACES)
app.add_typer(secrets.app, name="secrets", rich_help_panel=_PLACES)
app.command("vm-sizes", rich_help_panel=_PLACES)(clusters.vm_sizes)
app.command(rich_help_panel=_RUNS)(submitting.submit)
app.command("runs", rich_help_panel=_RUNS)(runs.list_runs)
app.add_typer(runs.app, name="run", rich_help_panel=_RUNS)
app.command(rich_help_panel=_RUNS)(runs.why)
app.add_typer(sweeps.app, name="sweep", rich_help_panel=_RUNS)
app.command(rich_help_panel=_RUNS)(histories.logs)
app.command(rich_help_panel=_RUNS)(histories.events)
app.command(rich_help_panel=_RUNS)(histories.metrics)
app.command(rich_help_panel=_RUNS)(histories.download)
registry.add_to(models.app)
app.add_typer(models.app, name="models", rich_help_panel=_MODELS)
app.command(rich_help_panel=_MODELS)(deployments.deploy)
app.command(rich_help_panel=_MODELS)(deployments.score)
app.add_typer(deployments.app, name="deployment", rich_help_panel=_MODELS)
deployments.app.add_typer(captures.app, name="capture")
app.add_typer(batch_scorings.app, name="batch", rich_help_panel=_MODELS)
add_installed(app, {"secrets": secrets.app}, panel="The server that is installed here")


def main() -> None:
    """Run the command line."""
    output = _kept_output()
    try:
        app()
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError) and _is_unread(output):
            # Whoever read this has seen enough, as `head` does; Typer and Rich make a 1 of it.
            _leave(0)
        _leave(end.code if isinstance(end.code, int) else int(end.code is not None))
    except TrainwrightError as error:
        _tell(error)
        _leave(_code_of(error))
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        say(f"error: {error.strerror or error}{where}", style="red")
        _leave(WRONG_USE)
    _leave(0)


def _kept_output() -> int | None:
    """Standard output under another number: Rich puts a null device in its place."""
    try:
        return os.dup(1)
    except OSError:
        return None


def _is_unread(output: int | None) -> bool:
    if output is None:
        return False
    if not hasattr(select, "poll"):
        return True  # on Windows, where nothing says whose pipe it was
    poll = select.poll()
    poll.register(output, 0)
    # A pipe without a reader is an error; a socket without one has hung up.
    gone = select.POLLERR | select.POLLHUP
    return any(events & gone for _, events in poll.poll(0))


def _tell(error: TrainwrightError) -> None:
    say(f"error: {error.message}", style="red")
    if isinstance(error, ApiProblem):
        fields = error.errors
        for field in fields if len(fields) > 1 else []:
            say(f"  {field.get('pointer')}: {field.get('message')}")
        if error.status >= 500 and error.problem.get("request_id"):
            say(f"  request {error.problem['request_id']}")
    if error.hint:
        say(error.hint)


def _code_of(error: TrainwrightError) -> int:
    if isinstance(error, Unreachable):
        return UNREACHABLE
    if isinstance(error, ApiProblem | TransferFailed | datasets.RegistrationFailed):
        return REFUSED
    return WRONG_USE


def _leave(code: int) -> NoReturn:
    """End without waiting for transfers that are tried again in threads of their own."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            continue
        except OSError:
            code = code or UNREACHABLE
    os._exit(code)


if __name__ == "__main__":
    main()
