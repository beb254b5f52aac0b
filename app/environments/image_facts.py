"""Write down what is in an environment: a script for the build of an image, never imported.

Run by the environment's own Python (3.6 or later) as ``python image_facts.py FOLDER [PACKAGE…]``;
writes ``facts.json`` there. The packages are Debian's that were asked for.
"""

import glob
import json
import os
import platform
import subprocess
import sys


def main(folder: str, packages: "list[str]") -> None:
    """Write the file."""
    conda = []
    for path in sorted(glob.glob(os.path.join(sys.prefix, "conda-meta", "*.json"))):
        with open(path) as file:
            conda.append(json.load(file))
    facts = {
        "python": sys.executable,
        "python_version": platform.python_version(),
        "conda": [{key: one[key] for key in ("name", "version", "build")} for one in conda],
        "system_packages": _versions(packages),
    }
    with open(os.path.join(folder, "facts.json"), "w") as file:
        json.dump(facts, file)


def _versions(packages: "list[str]") -> "dict[str, str]":
    if not packages:
        return {}
    argv = ["dpkg-query", "--show", "--showformat=${Package} ${Version}\\n", *packages]
    said = subprocess.check_output(argv, universal_newlines=True)
    return {line.split(" ")[0]: line.split(" ")[1] for line in said.splitlines()}


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
