"""The Dockerfile of an environment; pure functions.

The steps go from what changes least to what changes most: base image, Debian packages,
interpreter (of conda, its packages too), framework, the user's packages. A changed package repeats
the last step only, and there the others come from a cache.

What the build alone needs (uv, certificates, the package index and its credentials, proxies) lies
in ``tools/`` of the context. BuildKit mounts it for the steps that use it. The old builder cannot
mount: there it is copied into a stage that is thrown away, of which only the finished environment
is taken over. Either way nothing of it is in the image, its history or its configuration.
"""

import hashlib
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from app.environments.build_files import TOOLS, build_lists
from app.environments.resolved import ResolvedSpec

ENVIRONMENT_PATH = "/opt/environment"
PYTHON_PATH = f"{ENVIRONMENT_PATH}/bin/python"
FACTS_PATH = f"{ENVIRONMENT_PATH}/.trainwright"
LABEL = "trainwright.environment"
STAGE_LABEL = "trainwright.environment.stage"
"""On what is left of the thrown-away stage: a cache for the next build, removed with its image."""
CACHE_KEY_LABEL = "trainwright.environment.cache"
"""On the same: whose packages this stage's downloads may serve."""
BUILD_LABEL = "trainwright.build"
"""On the containers of steps, which an engine that is killed leaves behind."""
CONDA_SOLVER = "py-rattler==0.28.0"
LISTS = "/trainwright/lists"
WHEELS = "/trainwright/wheels"
_PACKAGES_CACHE = "/trainwright/packages-cache"
# The engine would colour what comes on standard error, in pieces.
_SHELL = f"exec 2>&1 && . {TOOLS}/environment"
_NO_APT = "The base image has no apt-get, so apt_packages cannot be installed in it."
_CACHE_MOUNT = "--mount=type=cache,target=/trainwright/cache"
_TOOLS_MOUNT = f"--mount=type=bind,source=tools,target={TOOLS}"
# What the provider runs nodes as; a program that starts the image by hand gets the same.
_USER = "1000:1000"


@dataclass(frozen=True)
class Start:
    """What a build starts from.

    Attributes:
        image: a name of the base image in the engine.
        seed: for the old builder: a stage of an earlier build, whose downloads are used.
        wheel: a file in ``wheels/`` of the context, to be installed as it is.
    """

    image: str
    seed: str | None = None
    wheel: str | None = None


def dockerfile(spec: ResolvedSpec, *, with_mounts: bool, start: Start | None = None) -> str:
    """The Dockerfile text.

    Args:
        spec: what to build.
        with_mounts: BuildKit: mounts, a cache and one layer a step; else the old builder.
        start: what it starts from; by default the base by its name.
    """
    start = start or Start(str(spec.base))
    lines = [f"FROM {start.image} AS system", "USER root"]
    lines += system_steps(spec, with_mounts=with_mounts)
    if with_mounts:
        lines += ["FROM system", *_install_steps(spec, mounted_step, start)]
    else:
        lines += ["FROM system AS build", f"LABEL {BUILD_LABEL}=1", f"COPY tools {TOOLS}"]
        lines += _install_steps(spec, copied_step, start)
        lines.append(f"LABEL {STAGE_LABEL}={spec.spec_hash}")
        if build_lists(spec)["packages.txt"]:
            lines.append(f"LABEL {CACHE_KEY_LABEL}={cache_key(spec)}")
        lines += ["FROM system", f"COPY --from=build {ENVIRONMENT_PATH} {ENVIRONMENT_PATH}"]
    if not spec.user_managed:
        kind = "CONDA_PREFIX" if spec.conda_packages else "VIRTUAL_ENV"
        lines.append(f"ENV PATH={ENVIRONMENT_PATH}/bin:$PATH {kind}={ENVIRONMENT_PATH}")
    return "".join(f"{line}\n" for line in [*lines, *_labels(spec), f"USER {_USER}"])


def cache_key(spec: ResolvedSpec) -> str:
    """By which the old builder finds earlier stages with downloads of use for this one."""
    parts = (spec.base, spec.dockerfile, spec.python_version, spec.framework_version)
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _labels(spec: ResolvedSpec) -> list[str]:
    labels = {LABEL: spec.spec_hash}
    if spec.base is not None:
        labels["org.opencontainers.image.base.name"] = spec.base
    if spec.base_digest is not None:
        labels["org.opencontainers.image.base.digest"] = spec.base_digest
    lines = [f"LABEL {' '.join(f'{name}={value}' for name, value in labels.items())}"]
    # Of the base: a node has its own ways to say that it is well.
    return [*lines, "HEALTHCHECK NONE"]


def system_steps(spec: ResolvedSpec, *, with_mounts: bool) -> list[str]:
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
    name = hashlib.sha256(f"{spec.base}{spec.dockerfile}".encode()).hexdigest()[:12]
    mounts = [
        f"--mount=type=cache,sharing=locked,id=trainwright-{kind}-{name},target={path}"
        for kind, path in (("lists", "/var/lib/apt/lists"), ("archives", "/var/cache/apt"))
    ]
    return [f"RUN {' '.join([*mounts, _TOOLS_MOUNT])} {_SHELL} && {install}"]


def mounted_step(command: str, *, sources: Mapping[str, str]) -> list[str]:
    """A step under BuildKit, with files of the context mounted: from → to."""
    mounts = [_CACHE_MOUNT, _TOOLS_MOUNT]
    mounts += [f"--mount=type=bind,source={one},target={to}" for one, to in sources.items()]
    return [f"RUN {' '.join(mounts)} {_SHELL} && {command}"]


def copied_step(command: str, *, sources: Mapping[str, str]) -> list[str]:
    """The same for the old builder, with files of the context copied."""
    copies = [f"COPY {one} {to}" for one, to in sources.items()]
    return [*copies, f"RUN {_SHELL} && {command}"]


class _Step(Protocol):
    def __call__(self, command: str, *, sources: Mapping[str, str]) -> list[str]: ...


def _install_steps(spec: ResolvedSpec, step: _Step, start: Start) -> list[str]:
    if spec.user_managed:
        python = '"$(command -v python || command -v python3)"'
        return step(_facts_command(spec, python), sources={})
    uv = f"{TOOLS}/uv"
    install = f"{uv} pip install --python {PYTHON_PATH} --constraints {LISTS}/constraints.txt"
    framework = f"--requirements {LISTS}/framework.txt"
    # With the framework named again the user's packages cannot break it unnoticed.
    everything = f"{framework} --requirements /trainwright/packages.txt"
    lists = {"lists": LISTS}
    packages = lists | {"packages.txt": "/trainwright/packages.txt"}
    steps = _python_steps(spec, step)
    names = build_lists(spec)
    if names["lists/framework.txt"]:
        steps += step(f"{install} {framework}", sources=lists)
    if names["packages.txt"]:
        if step is copied_step:
            # A cache of its own: what the framework's step has left in the other is far larger.
            install = f"export UV_CACHE_DIR={_PACKAGES_CACHE} && {install}"
            if start.seed is not None:
                steps.append(f"COPY --from={start.seed} {_PACKAGES_CACHE} {_PACKAGES_CACHE}")
        steps += step(f"{install} {everything}", sources=packages)
    if start.wheel is not None:
        alone = f"{uv} pip install --python {PYTHON_PATH} --no-deps {WHEELS}/{start.wheel}"
        steps += step(alone, sources={"wheels": WHEELS})
    return steps + step(_facts_command(spec, PYTHON_PATH), sources={})


def _python_steps(spec: ResolvedSpec, step: _Step) -> list[str]:
    """The interpreter: the base's in a virtual environment, or conda's with its packages."""
    uv = f"{TOOLS}/uv"
    if not spec.conda_packages:
        python = spec.python_version or '"$(command -v python3)"'
        return step(f"{uv} venv --python {python} {ENVIRONMENT_PATH}", sources={})
    solver = f"{uv} run --no-project --python python3 --with {CONDA_SOLVER}"
    # Packages are linked from where they are unpacked, which has to be on the same layer.
    return step(
        f"{solver} {TOOLS}/conda_install.py /trainwright/conda.json",
        sources={"conda.json": "/trainwright/conda.json"},
    )


def _facts_command(spec: ResolvedSpec, python: str) -> str:
    uv = f"{TOOLS}/uv"
    names = "".join(f" {shlex.quote(name.partition('=')[0])}" for name in spec.apt_packages)
    return (
        f"mkdir -p {FACTS_PATH} && "
        f"{uv} pip freeze --python {python} > {FACTS_PATH}/lock.txt && "
        f"{uv} pip list --format json --python {python} > {FACTS_PATH}/packages.json && "
        f"{python} -I {TOOLS}/image_facts.py {FACTS_PATH}{names}"
    )
