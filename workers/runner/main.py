"""Start of the runner: `python -I …/workers/runner/main.py`, in the folder of one node.

With an argument, one of the small programs that the runner has others start.

The package is loaded straight from this folder, wherever that lies, so that neither the module
search path nor a package of the same name elsewhere plays a part.
"""

import importlib
import os
import sys
import types

PARENT = "workers"
PACKAGE = "workers.runner"


def main() -> int:
    """Load the package that surrounds this file, do its work, return the exit status."""
    folder = os.path.dirname(os.path.abspath(__file__))
    for name, path in ((PARENT, []), (PACKAGE, [folder])):
        package = types.ModuleType(name)
        package.__path__ = path
        sys.modules[name] = package
    if len(sys.argv) > 1:
        return int(importlib.import_module(PACKAGE + ".programs").main(sys.argv[1:]))
    return int(importlib.import_module(PACKAGE + ".node").main())


if __name__ == "__main__":
    sys.exit(main())
