"""The public API: names, signatures, and the time that the import takes."""

import ast
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mlcmr

SIGNATURES = Path(__file__).with_name("public_api.txt")
PACKAGES = [
    "data",
    "data.features",
    "evaluation",
    "extraction",
    "losses",
    "metrics",
    "model",
    "search",
    "search.http",
    "search.stores",
    "testing",
    "training",
    "translation",
]


def written_signatures() -> str:
    """Return the public names in the form of `public_api.txt`: those of `mlcmr` with their signatures."""
    described = [_described(name) for name in sorted(set(mlcmr.__all__) - {"__version__"})]
    return "\n".join([*described, *map(_exports, PACKAGES)])


def _exports(package: str) -> str:
    names = importlib.import_module(f"mlcmr.{package}").__all__
    return f"mlcmr.{package}\n" + "".join(f"    {name}\n" for name in sorted(names))


def _described(name: str) -> str:
    value = getattr(mlcmr, name)
    if inspect.ismodule(value):
        return f"{name}: module\n"
    if inspect.isclass(value) and issubclass(value, Exception):
        return f"{name}: {', '.join(base.__name__ for base in value.__bases__)}\n"
    signature = inspect.signature(value)
    lines = []
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in lines:
            lines.append("*")
        # Neither an address nor a private module of a Python version is part of a signature.
        lines.append(re.sub(r" object| at 0x[0-9a-f]+|(?<=pathlib)\._local", "", str(parameter)))
    result = "" if inspect.isclass(value) else f" -> {inspect.formatannotation(signature.return_annotation)}"
    written = "".join(f"    {line}\n" for line in lines)
    return f"{name}(\n{written}){result}\n"


def test_names_and_signatures():
    """A change of the public API is seen in the file, and is a line of the changelog."""
    expected = SIGNATURES.read_text(encoding="utf-8")
    assert written_signatures() == expected, "if it is meant: python -m tests.test_public_api"


def test_lists_of_names_agree():
    """Type checkers see the names that are imported at run time."""
    tree = ast.parse(Path(mlcmr.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    imported = {}
    for statement in block.body:
        for alias in statement.names:
            home = statement.module if alias.asname == alias.name else alias.name
            imported[alias.asname] = alias.asname if home == "mlcmr" else home.removeprefix("mlcmr.")
    assert imported == mlcmr._HOMES
    assert sorted(mlcmr.__all__) == sorted([*imported, "__version__"])
    assert {*mlcmr.__all__} - {"__version__"} <= {*dir(mlcmr)}


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_have_what_they_list(package):
    module = importlib.import_module(f"mlcmr.{package}")
    assert {*module.__all__} <= {*dir(module)}
    for name in module.__all__:
        getattr(module, name)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = module.nonsense


def test_everything_is_documented():
    for name in set(mlcmr.__all__) - {"__version__"}:
        assert inspect.getdoc(getattr(mlcmr, name)), name


def test_star_import():
    names: dict[str, object] = {}
    exec("from mlcmr import *", names)
    assert set(mlcmr.__all__) <= names.keys()


def test_an_unknown_name():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = mlcmr.nonsense


def test_import_is_fast_and_light():
    code = """
import sys, time
start = time.process_time()
import mlcmr
print(time.process_time() - start)
print({"torch", "numpy", "transformers", "pydantic", "rich"} & sys.modules.keys())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, heavy = done.stdout.splitlines()
    assert float(seconds) < 0.1
    assert heavy == "set()"


def test_the_module_runs_as_a_program():
    done = subprocess.run(
        [sys.executable, "-m", "mlcmr", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.split()[-1] == mlcmr.__version__


if __name__ == "__main__":
    SIGNATURES.write_text(written_signatures(), encoding="utf-8")
