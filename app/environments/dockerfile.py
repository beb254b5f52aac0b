"""The Dockerfile of an environment, and the files it is built from; pure functions.

The steps go from what changes least to what changes most: base image, Debian packages,
interpreter, framework, the user's packages. A changed package repeats the last step only.

What the build alone needs (uv, certificates, the package index and its credentials, proxies) lies
in ``tools/`` of the context. BuildKit mounts it for the steps that use it. The old builder cannot
mount: there it is copied into a stage that is thrown away, of which only the finished environment
is taken over. Either way nothing of it is in the image, its history or its configuration.
"""

import hashlib
import shlex
from collections.abc import Mapping
from typing import Protocol

from packaging.requirements import Requirement

from app.environments.frameworks import TENSORFLOW_NAMES
from app.environments.resolved import ResolvedSpec

ENVIRONMENT_PATH = "/opt/environment"
PYTHON_PATH = f"{ENVIRONMENT_PATH}/bin/python"
FACTS_PATH = f"{ENVIRONMENT_PATH}/.trainwright"
LABEL = "trainwright.environment"
STAGE_LABEL = "trainwright.environment.stage"
"""On what is left of the thrown-away stage: a cache for the next build, removed with its image."""
_TOOLS = "/trainwright/tools"
_LISTS = "/trainwright/lists"
# The engine would colour what comes on standard error, in pieces.
_SHELL = f"exec 2>&1 && . {_TOOLS}/environment"
_NO_APT = "The base image has no apt-get, so apt_packages cannot be installed in it."
_CACHE_MOUNT = "--mount=type=cache,target=/trainwright/cache"
_TOOLS_MOUNT = f"--mount=type=bind,source=tools,target={_TOOLS}"


def dockerfile(spec: ResolvedSpec, *, with_mounts: bool) -> str:
    """The Dockerfile text.

    Args:
        spec: what to build; has a base.
        with_mounts: BuildKit: mounts, a cache and one layer a step; else the old builder.
    """
    assert spec.base is not None
    lines = [f"FROM {spec.base} AS system", "USER root"]
    lines += _system_steps(spec, with_mounts=with_mounts)
    if with_mounts:
        lines += ["FROM system", *_install_steps(spec, _mounted)]
    else:
        lines += ["FROM system AS build", f"COPY tools {_TOOLS}", *_install_steps(spec, _copied)]
        lines.append(f"LABEL {STAGE_LABEL}={spec.spec_hash}")
        lines += ["FROM system", f"COPY --from=build {ENVIRONMENT_PATH} {ENVIRONMENT_PATH}"]
    lines += [
        f"ENV PATH={ENVIRONMENT_PATH}/bin:$PATH VIRTUAL_ENV={ENVIRONMENT_PATH}",
        f"LABEL {LABEL}={spec.spec_hash}",
    ]
    return "".join(f"{line}\n" for line in lines)


def _system_steps(spec: ResolvedSpec, *, with_mounts: bool) -> list[str]:
    """Debian packages, before anything that may need them; in the image, and where it is built.

    The old builder cannot lend a step certificates without leaving them in the image; proxies it
    gets as predefined build arguments, which are in no history.
    """
    if not spec.apt_packages:
        return []
    names = " ".join(shlex.quote(name) for name in spec.apt_packages)
    install = (
        f"{{ command -v apt-get || {{ echo '{_NO_APT}'; exit 1; }}; }} && apt-get update && "
        f"DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends {names}"
    )
    if not with_mounts:
        return [f"RUN exec 2>&1 && {install} && rm -rf /var/lib/apt/lists/*"]
    # Of one base, so that no other distribution's lists are met.
    name = hashlib.sha256(str(spec.base).encode()).hexdigest()[:12]
    mounts = [
        f"--mount=type=cache,sharing=locked,id=trainwright-{kind}-{name},target={path}"
        for kind, path in (("lists", "/var/lib/apt/lists"), ("archives", "/var/cache/apt"))
    ]
    return [f"RUN {' '.join([*mounts, _TOOLS_MOUNT])} {_SHELL} && {install}"]


def apt_configuration() -> str:
    """``tools/apt.conf``: has apt trust ``tools/ca.crt``."""
    return f'Acquire::https::CAInfo "{_TOOLS}/ca.crt";\n'


def build_lists(spec: ResolvedSpec, lock: str | None = None) -> dict[str, str]:
    """The context's requirement files by path.

    Args:
        spec: what to build.
        lock: of an earlier build, to get the same versions again.
    """
    framework = [line for line in spec.requirements if _is_framework(line)]
    others = [line for line in spec.requirements if not _is_framework(line)]
    constraints = [*spec.constraints, *(lock or "").splitlines()]
    return {
        "lists/constraints.txt": _lines(constraints),
        "lists/framework.txt": _lines(framework),
        "packages.txt": _lines(others),
    }


def build_environment(environ: Mapping[str, str], *, has_ca_bundle: bool) -> str:
    """``tools/environment``: what the steps' shell reads before it installs.

    Args:
        environ: variables of the tools, e.g. index and proxies.
        has_ca_bundle: whether ``tools/ca.crt`` is there.
    """
    variables = dict(environ) | {
        "UV_CACHE_DIR": "/trainwright/cache",
        "UV_LINK_MODE": "copy",
        # Once here instead of in the first import of every run.
        "UV_COMPILE_BYTECODE": "1",
        "UV_NO_PROGRESS": "1",
        "UV_NO_CONFIG": "1",
        "UV_PYTHON_DOWNLOADS": "never",
    }
    if has_ca_bundle:
        names = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
        variables |= dict.fromkeys(names, f"{_TOOLS}/ca.crt")
        variables["APT_CONFIG"] = f"{_TOOLS}/apt.conf"
    return _lines([f"export {k}={shlex.quote(v)}" for k, v in sorted(variables.items())])


def _mounted(command: str, *, sources: Mapping[str, str]) -> list[str]:
    mounts = [_CACHE_MOUNT, _TOOLS_MOUNT]
    mounts += [f"--mount=type=bind,source={one},target={to}" for one, to in sources.items()]
    return [f"RUN {' '.join(mounts)} {_SHELL} && {command}"]


def _copied(command: str, *, sources: Mapping[str, str]) -> list[str]:
    copies = [f"COPY {one} {to}" for one, to in sources.items()]
    return [*copies, f"RUN {_SHELL} && {command}"]


class _Step(Protocol):
    def __call__(self, command: str, *, sources: Mapping[str, str]) -> list[str]: ...


def _install_steps(spec: ResolvedSpec, step: _Step) -> list[str]:
    uv = f"{_TOOLS}/uv"
    install = f"{uv} pip install --python {PYTHON_PATH} --constraints {_LISTS}/constraints.txt"
    framework = f"--requirements {_LISTS}/framework.txt"
    # With the framework named again the user's packages cannot break it unnoticed.
    everything = f"{framework} --requirements /trainwright/packages.txt"
    lists = {"lists": _LISTS}
    packages = lists | {"packages.txt": "/trainwright/packages.txt"}
    facts = (
        f"mkdir {FACTS_PATH} && "
        f"{uv} pip freeze --python {PYTHON_PATH} > {FACTS_PATH}/lock.txt && "
        f"{uv} pip list --format json --python {PYTHON_PATH} > {FACTS_PATH}/packages.json && "
        f"{PYTHON_PATH} -I -c 'import platform; print(platform.python_version())' "
        f"> {FACTS_PATH}/python.txt"
    )
    steps = step(f"{uv} venv --python {spec.python_version} {ENVIRONMENT_PATH}", sources={})
    names = build_lists(spec)
    if names["lists/framework.txt"]:
        steps += step(f"{install} {framework}", sources=lists)
    if names["packages.txt"]:
        steps += step(f"{install} {everything}", sources=packages)
    return steps + step(facts, sources={})


def _is_framework(line: str) -> bool:
    return Requirement(line).name in TENSORFLOW_NAMES


def _lines(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
