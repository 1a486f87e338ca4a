"""Conventions of the source that neither ruff nor mypy knows; see CONTRIBUTING.md."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import mlcmr

SOURCE = Path(mlcmr.__file__).parent
MODULES = sorted(SOURCE.rglob("*.py"))
ROOT = Path(__file__).parents[1]
QUESTION = re.compile(r"(how|what|when|where|whether|which|who|whose|why)\b", re.IGNORECASE)
CAMEL = re.compile(r"_?[A-Z][A-Za-z]*[a-z]")
OPTION = re.compile(r"(?<![\w-])--[a-z][\w.-]*")
# Options of other programs.
FOREIGN = {"--abbrev", "--always", "--dirty", "--error-unmatch", "--head", "--prefix"}


def docstrings(path: Path) -> Iterator[tuple[int, str]]:
    """Return the docstrings of a module with their lines."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield getattr(node, "lineno", 1), text


def strings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Return the strings of a module with their lines; values in f-strings as `{}`."""
    inner = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values]
            inner |= {id(part) for part in node.values}
            yield node.lineno, "".join(parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inner:
            yield node.lineno, node.value


def name_of(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


@pytest.mark.parametrize("folder", [SOURCE, *map(ROOT.joinpath, ("tests", "benchmarks", "examples", ".ci"))])
def test_docstrings_are_statements(folder):
    wrong = []
    for path in sorted(folder.rglob("*.py")):
        wrong += [f"{path}:{line}: {text:.50}" for line, text in docstrings(path) if QUESTION.match(text)]
    assert not wrong


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_raises_entries_are_conditions(path):
    wrong = []
    for line, text in docstrings(path):
        section = text.partition("Raises:\n")[2].partition("\n\n")[0]
        entries = re.findall(r"^    (\w[\w., ]*): (.*)", section, re.MULTILINE)
        wrong += [f"{line}: {name}: {when}" for name, when in entries if not when.startswith("If ")]
    assert not wrong


@pytest.mark.parametrize(
    "path", [path for path in MODULES if "cli" not in path.relative_to(SOURCE).parts], ids=name_of
)
def test_only_the_command_line_names_options(path):
    """A message names a parameter in backticks; a hint may show a whole command, `mlcmr …`."""
    wrong = []
    for line, text in strings(ast.parse(path.read_text(encoding="utf-8"))):
        bare = re.sub(r"`mlcmr [^`]*`", "", text)
        wrong += [f"{line}: {option}" for option in sorted(set(OPTION.findall(bare)) - FOREIGN)]
    assert not wrong


def test_no_two_classes_or_types_share_a_name():
    homes: dict[str, list[str]] = {}
    for path in MODULES:
        for name in type_names(ast.parse(path.read_text(encoding="utf-8"))):
            homes.setdefault(name.lstrip("_"), []).append(name_of(path))
    assert {name: places for name, places in homes.items() if len(places) > 1} == {}


def type_names(tree: ast.Module) -> Iterator[str]:
    """Return the names of the classes and of the aliases of types of a module."""
    yield from (node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Subscript | ast.BinOp):
            yield from (
                target.id
                for target in node.targets
                if isinstance(target, ast.Name) and CAMEL.match(target.id)
            )
