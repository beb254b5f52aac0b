"""The Dockerfile of an environment: order of its steps, and what must not be in it."""

from pathlib import Path

from app.environments.base_images import BaseImages
from app.environments.build_files import build_environment, build_lists
from app.environments.dockerfile import dockerfile
from app.environments.interpreters import Interpreter
from app.environments.machine import this_machine
from app.environments.resolve import resolve
from app.environments.resolved import Machine, ResolvedSpec
from app.environments.spec import EnvironmentSpec
from app.kernel.config import Settings

TENSORFLOW = ResolvedSpec(
    python_version="3.11",
    requirements=("pillow>=9", "tensorflow-cpu==2.15.*"),
    constraints=("numpy<2",),
    framework="tensorflow",
    framework_version="2.15",
    kind="docker",
    base="python:3.11-slim-bookworm",
    apt_packages=("libgl1",),
)


def test_the_framework_is_installed_before_and_apart_from_the_users_packages() -> None:
    for with_mounts in (True, False):
        text = dockerfile(TENSORFLOW, with_mounts=with_mounts)
        places = [
            text.index("FROM python:3.11-slim-bookworm"),
            text.index("apt-get install --yes --no-install-recommends libgl1"),
            text.index("uv venv --python 3.11 /opt/environment"),
            text.index("framework.txt\n"),
            text.index("packages.txt"),
            text.index("pip freeze"),
        ]
        assert places == sorted(places)
    lists = build_lists(TENSORFLOW)
    assert lists == {
        "lists/constraints.txt": "numpy<2\n",
        "lists/framework.txt": "tensorflow-cpu==2.15.*\n",
        "packages.txt": "pillow>=9\n",
    }


def test_another_package_changes_nothing_before_the_users_packages() -> None:
    other = ResolvedSpec.from_canonical(
        TENSORFLOW.canonical() | {"requirements": ["six", "tensorflow-cpu==2.15.*"]}
    )
    for with_mounts in (True, False):
        before, after = (
            dockerfile(one, with_mounts=with_mounts).replace(one.spec_hash, "HASH")
            for one in (TENSORFLOW, other)
        )
        assert before == after, "only a file that a late step takes differs"
    changed = build_lists(other)
    assert changed.pop("packages.txt") == "six\n"
    assert changed.items() <= build_lists(TENSORFLOW).items()


def test_the_old_builder_keeps_tools_and_secrets_in_a_stage_that_is_thrown_away() -> None:
    kept = dockerfile(TENSORFLOW, with_mounts=False).rpartition("FROM system\n")[2]
    assert "tools" not in kept
    assert kept.startswith("COPY --from=build /opt/environment /opt/environment\n")
    for with_mounts in (True, False):
        assert "ARG" not in dockerfile(TENSORFLOW, with_mounts=with_mounts)
    mounted = dockerfile(TENSORFLOW, with_mounts=True)
    assert "COPY" not in mounted
    assert "--mount=type=cache" in mounted


def test_the_same_versions_again_from_a_lock() -> None:
    lists = build_lists(TENSORFLOW, lock="pillow==9.5.0\n")
    assert lists["lists/constraints.txt"] == "numpy<2\npillow==9.5.0\n"


def test_the_shell_gets_index_and_certificates_quoted() -> None:
    text = build_environment({"UV_DEFAULT_INDEX": "https://a:b$c@host/x"}, has_ca_bundle=True)
    assert "export UV_DEFAULT_INDEX='https://a:b$c@host/x'\n" in text
    assert "export SSL_CERT_FILE=/trainwright/tools/ca.crt\n" in text


def test_the_base_is_the_most_particular_one_of_the_table() -> None:
    table = BaseImages(
        {
            "default": "python:{python_version}-slim",
            "3.10": "company/python310",
            "tensorflow": "company/tf:{framework_version}",
            "tensorflow-gpu": "company/cuda:{python_version}",
        }
    )

    def base(python: str, framework: str | None = None, *, use_gpu: bool = False) -> str:
        return table.base_of(
            python_version=python,
            framework=framework,
            framework_version="2.15.1" if framework else None,
            use_gpu=use_gpu,
        )

    assert base("3.11") == "python:3.11-slim"
    assert base("3.10") == "company/python310"
    assert base("3.11", "tensorflow") == "company/tf:2.15.1"
    assert base("3.11", "tensorflow", use_gpu=True) == "company/cuda:3.11"
    assert BaseImages({"3.11": "one", "3.9": "two"}).python_versions() == ["3.11", "3.9"]


def test_kind_and_base_are_part_of_the_hash() -> None:
    here = Machine(interpreters=[Interpreter(path=Path("python3.11"), version="3.11.0")])
    spec = EnvironmentSpec(pip_packages=["six"])
    as_venv = resolve(spec, here)
    settings = Settings(provider="docker", base_images={"3.11": "base:1"})
    as_image = resolve(spec, this_machine(settings))
    other = resolve(
        spec, this_machine(settings.model_copy(update={"base_images": {"3.11": "base:2"}}))
    )
    assert (as_image.kind, as_image.base) == ("docker", "base:1")
    assert len({as_venv.spec_hash, as_image.spec_hash, other.spec_hash}) == 3
    assert "base" not in as_venv.canonical(), "virtual environments keep their hashes"
    assert ResolvedSpec.from_canonical(as_image.canonical()) == as_image
