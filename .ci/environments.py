"""Make the environments of a reader: `core` holds the wheel, each other one a single extra besides.

    environments.py FOLDER

The versions are those that are tested together, or those of the variable `CONSTRAINTS`.
"""

import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = ("video", "search", "translate")


def main(folder: Path) -> None:
    """Make `core`, build the wheel with its pip, and make an environment for each extra on top of `core`."""
    core = folder / "core"
    venv.create(core, with_pip=True)
    pip(core, "wheel", "--no-deps", "--wheel-dir", str(folder), str(ROOT))
    (wheel,) = folder.glob("*.whl")
    install(core, str(wheel))
    (packages,) = core.glob("lib/python*/site-packages")
    for extra in EXTRAS:
        venv.create(folder / extra, with_pip=False)
        (own,) = (folder / extra).glob("lib/python*/site-packages")
        (own / "core.pth").write_text(f"{packages}\n")
        install(folder / extra, f"{wheel}[{extra}]")


def install(environment: Path, what: str) -> None:
    """Install a wheel."""
    constraints = os.environ.get("CONSTRAINTS", "-c constraints.txt").split()
    pip(environment, "install", *constraints, what)


def pip(environment: Path, *words: str) -> None:
    """Run the pip of an environment."""
    command = [environment / "bin/python", "-m", "pip", "--disable-pip-version-check", *words, "-q"]
    subprocess.run(command, check=True, cwd=ROOT)


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
