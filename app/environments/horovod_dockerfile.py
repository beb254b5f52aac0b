"""The Dockerfile by which an engine compiles Horovod; pure functions."""

import shlex
from dataclasses import replace

from app.environments.build_files import TOOLS
from app.environments.dockerfile import (
    BUILD_LABEL,
    LISTS,
    WHEELS,
    copied_step,
    mounted_step,
    system_steps,
)
from app.environments.horovod import (
    BUILD_REQUIREMENTS,
    BUILD_VARIABLES,
    NAME,
    SOURCE_SHA256,
    VERSION,
    framework_requirement,
)
from app.environments.resolved import ResolvedSpec

COMPILER_PACKAGES = ("g++", "libopenmpi-dev", "make", "python3-dev")


def wheel_dockerfile(spec: ResolvedSpec, *, image: str, with_mounts: bool) -> str:
    """The Dockerfile of an image that holds nothing but the environment's Horovod, compiled.

    Args:
        spec: an environment with Horovod.
        image: a name of its base in the engine.
        with_mounts: BuildKit; else the old builder.
    """
    packages = tuple(sorted({*spec.apt_packages, *COMPILER_PACKAGES}))
    step = mounted_step if with_mounts else copied_step
    lines = [f"FROM {image} AS system", "USER root"]
    lines += system_steps(replace(spec, apt_packages=packages), with_mounts=with_mounts)
    lines += ["FROM system AS build"]
    if not with_mounts:
        lines += [f"LABEL {BUILD_LABEL}=1", f"COPY tools {TOOLS}"]
    uv, python = f"{TOOLS}/uv", "/compile/bin/python"
    names = shlex.join([framework_requirement(spec), *BUILD_REQUIREMENTS])
    variables = " ".join(f"{name}={value}" for name, value in BUILD_VARIABLES.items())
    # Not from pip's own cache: it tells wheels of different TensorFlows apart by nothing.
    compile_it = (
        f"PATH=/compile/bin:$PATH MAKEFLAGS=-j$(nproc) {variables} {python} -m pip wheel "
        "--no-cache-dir --verbose --no-build-isolation --no-deps --require-hashes "
        f"--requirement {LISTS}/horovod.txt --wheel-dir {WHEELS}"
    )
    lines += step(f"{uv} venv --python {spec.python_version} /compile", sources={})
    lines += step(f"{uv} pip install --python {python} {names}", sources={})
    lines += step(compile_it, sources={"lists": LISTS})
    lines += ["FROM scratch", f"COPY --from=build {WHEELS} {WHEELS}"]
    return "".join(f"{line}\n" for line in lines)


def wheel_lists() -> dict[str, str]:
    """The context's requirement files by path."""
    return {"lists/horovod.txt": f"{NAME}=={VERSION} --hash=sha256:{SOURCE_SHA256}\n"}
