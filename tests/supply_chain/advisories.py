"""Known vulnerabilities of what the lock pins, as pip-audit finds them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

NO_ADVISORIES = "no service of known vulnerabilities answers"
"""pip-audit itself says that nothing was found when nothing could be looked up."""
_REPOSITORY = Path(__file__).parents[2]
_UV = _REPOSITORY / ".uv" / "bin" / "uv"
_SERVICES = ("pypi", "osv")


class NotLookedUp(Exception):
    """Nobody could be asked."""


def exported(*options: str) -> str:
    """What `uv export` writes of the lock, without our own packages."""
    command = [str(_UV), "export", "--frozen", "--quiet", "--no-dev", "--no-emit-workspace"]
    done = subprocess.run(
        [*command, *options], cwd=_REPOSITORY, capture_output=True, text=True, check=True
    )
    return done.stdout


def vulnerabilities(requirements: Path) -> dict[str, list[str]]:
    """Ids of vulnerabilities by package and version.

    Args:
        requirements: a file of pinned requirements with hashes.

    Raises:
        NotLookedUp: of one package or more, no service knows anything.
    """
    refusals = []
    for service in _SERVICES:
        found = _audit(requirements, service)
        if found is None:
            refusals.append(f"{service} does not answer")
            continue
        skipped = [each["name"] for each in found if "skip_reason" in each]
        if not skipped:
            return {
                f"{each['name']} {each['version']}": [known["id"] for known in each["vulns"]]
                for each in found
                if each["vulns"]
            }
        refusals.append(f"{service} knows nothing of {len(skipped)} of {len(found)}")
    raise NotLookedUp("; ".join(refusals))


def _audit(requirements: Path, service: str) -> list[dict[str, Any]] | None:
    command = [sys.executable, "-m", "pip_audit", "-r", str(requirements), "--disable-pip"]
    command += ["--require-hashes", "--progress-spinner", "off", "--timeout", "10"]
    done = subprocess.run(
        [*command, "--vulnerability-service", service, "--format", "json"],
        capture_output=True,
        text=True,
        timeout=110,
    )
    try:
        document = json.loads(done.stdout)
    except ValueError:
        return None
    found: list[dict[str, Any]] = document["dependencies"]
    return found
