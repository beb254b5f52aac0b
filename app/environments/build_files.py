"""The small files that a Dockerfile's steps read; pure functions."""

import json
import shlex
from collections.abc import Mapping

from packaging.requirements import Requirement

from app.environments.frameworks import TENSORFLOW_NAMES
from app.environments.resolved import ResolvedSpec

TOOLS = "/trainwright/tools"
_CONDA_LOCK = "# conda: "
_DEFAULTS = ("https://repo.anaconda.com/pkgs/main", "https://repo.anaconda.com/pkgs/r")


def build_lists(spec: ResolvedSpec, lock: str | None = None) -> dict[str, str]:
    """The context's requirement files by path.

    Args:
        spec: what to build.
        lock: of an earlier build, to get the same versions again.
    """
    framework = [line for line in spec.requirements if _is_framework(line)]
    others = [line for line in spec.requirements if not _is_framework(line)]
    locked = [line for line in (lock or "").splitlines() if not line.startswith("#")]
    return {
        "lists/constraints.txt": _lines([*spec.constraints, *locked]),
        "lists/framework.txt": _lines(framework),
        "packages.txt": _lines(others),
    }


def conda_order(
    spec: ResolvedSpec, prefix: str, *, channel_alias: str, lock: str | None = None
) -> str:
    """What ``conda_install.py`` reads.

    Args:
        spec: what to build; has conda packages.
        prefix: where the environment will be.
        channel_alias: where channels are that are given by name.
        lock: of an earlier build, to get the same versions again.
    """
    locked = [
        line.removeprefix(_CONDA_LOCK)
        for line in (lock or "").splitlines()
        if line.startswith(_CONDA_LOCK)
    ]
    channels = [
        address
        for name in spec.conda_channels
        # What conda itself means by this name; it is no channel of the alias.
        for address in (_DEFAULTS if name == "defaults" else (name,))
    ]
    return json.dumps(
        {
            "prefix": prefix,
            "channel_alias": f"{channel_alias.rstrip('/')}/",
            "channels": channels,
            "specifications": [f"python={spec.python_version}", *spec.conda_packages, *locked],
        }
    )


def full_lock(frozen: str, conda: list[dict[str, str]]) -> str:
    """The lock of an environment: pip's pins, and conda's as comments that a rebuild reads."""
    pins = [f"{_CONDA_LOCK}{one['name']} {one['version']} {one['build']}" for one in conda]
    # conda says of its own Python packages that they came from a folder of its builders.
    return _lines([*pins, *(line for line in frozen.splitlines() if " @ file:" not in line)])


def build_environment(environ: Mapping[str, str], *, has_ca_bundle: bool) -> str:
    """``tools/environment``: what the steps' shell reads before it installs.

    Args:
        environ: variables of the tools, e.g. index and proxies.
        has_ca_bundle: whether ``tools/ca.crt`` is there.
    """
    variables = dict(environ) | {
        "UV_CACHE_DIR": "/trainwright/cache",
        "RATTLER_CACHE_DIR": "/trainwright/cache/conda",
        "UV_LINK_MODE": "copy",
        # Once here instead of in the first import of every run.
        "UV_COMPILE_BYTECODE": "1",
        "UV_NO_PROGRESS": "1",
        "UV_NO_CONFIG": "1",
        "UV_PYTHON_DOWNLOADS": "never",
    }
    if has_ca_bundle:
        names = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
        variables |= dict.fromkeys(names, f"{TOOLS}/ca.crt")
        variables["APT_CONFIG"] = f"{TOOLS}/apt.conf"
    return _lines([f"export {k}={shlex.quote(v)}" for k, v in sorted(variables.items())])


def apt_configuration() -> str:
    """``tools/apt.conf``: has apt trust ``tools/ca.crt``."""
    return f'Acquire::https::CAInfo "{TOOLS}/ca.crt";\n'


def _is_framework(line: str) -> bool:
    return Requirement(line).name in TENSORFLOW_NAMES


def _lines(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
