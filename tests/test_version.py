"""The version stands in one file, from which the package has its own."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_version_stands_in_one_file():
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    source = pyproject["tool"]["hatch"]["version"]
    assert pyproject["project"]["dynamic"] == ["version"]
    [found] = re.findall(source["pattern"], (ROOT / source["path"]).read_text(encoding="utf-8"), re.MULTILINE)
    assert f"## {found}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
