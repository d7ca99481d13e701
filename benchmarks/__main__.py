"""`script/bench [NAME]`: every module here with a `run()` that yields comparisons, printed as JSON lines.

`--KEY N` after the names goes to `run` as a number: `script/bench faults --seeds 40`.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import sys
from itertools import pairwise

import benchmarks


def main(arguments: list[str]) -> int:
    modules = [m.name for m in pkgutil.iter_modules(benchmarks.__path__) if not m.name.startswith("_")]
    at = next((n for n, text in enumerate(arguments) if text.startswith("--")), len(arguments))
    names, options = arguments[:at], options_of(arguments[at:])
    unknown = set(names) - set(modules)
    if unknown or options is None:
        wrong = f"no benchmark named {', '.join(sorted(unknown))}" if unknown else "options are --KEY NUMBER"
        print(f"{wrong}; there are: {', '.join(sorted(modules))}", file=sys.stderr)
        return 2
    for name in names or sorted(modules):
        module = importlib.import_module(f"benchmarks.{name}")
        if not hasattr(module, "run") or (not names and getattr(module, "BY_NAME_ONLY", False)):
            continue
        for row in module.run(**options):
            print(json.dumps(row), flush=True)
    return 0


def options_of(arguments: list[str]) -> dict[str, int] | None:
    """`--seeds 40` as a keyword and a number; None where that is not what they are."""
    pairs = list(pairwise(arguments))[::2]
    if len(arguments) % 2 or not all(key.startswith("--") and value.isdecimal() for key, value in pairs):
        return None
    return {key.removeprefix("--").replace("-", "_"): int(value) for key, value in pairs}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
