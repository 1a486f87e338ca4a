"""Feed odd files to the readers, for a long time: `python -m tests.fuzz --minutes 30 [target …]`.

Each target has a process of its own. Inputs at fault are made small and written to
`tests/fuzz/corpus/<target>/`, from where the short form, `tests/security/test_fuzz.py`, takes them from then
on.
The exit status is 1 if there were any.
"""

import argparse
import sys
from collections.abc import Sequence

from .targets import TARGETS
from .watch import CORPUS, fuzz


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the long form; return the exit status."""
    names = list(TARGETS)
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("targets", nargs="*", metavar="target", help=f"one of {', '.join(names)}")
    parser.add_argument("--minutes", type=float, default=30, help="for all targets together (default: 30)")
    parser.add_argument("--seed", type=int, default=0, help="another seed makes other inputs")
    options = parser.parse_args(arguments)
    if unknown := set(options.targets) - set(names):
        parser.error(f"no target {', '.join(sorted(unknown))}; there is {', '.join(names)}")
    chosen = options.targets or names
    faults = 0
    for name in chosen:
        result = fuzz([name], seed=options.seed, seconds=60 * options.minutes / len(chosen))
        print(f"{name}: {result.fed:,} inputs", flush=True)
        for fault in result.faults:
            faults += 1
            path = CORPUS / name / fault.digest
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(fault.content)
            print(f"  {path}: {fault.what}")
    print(f"{faults} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
