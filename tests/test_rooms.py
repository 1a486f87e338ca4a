"""Imports run downward: no room of the package knows one above it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import mlcmr

SOURCE = Path(mlcmr.__file__).parent

# From top to bottom. Each room may import those of the bands below its own, and what is named sideways.
BANDS = (
    {"__main__"},
    {"cli"},
    {"search", "training", "evaluation", "extraction", "translation"},
    {"model"},
    {"data"},
    {"config", "display", "files", "versions"},
    {"errors"},
)
SIDEWAYS = {("training", "evaluation"), ("search", "extraction")}  # to validate; to index raw videos
# The package itself has its version, and the model for those who write `from mlcmr import MLCMR`.
PACKAGE = "__init__"


def room_of(module: str, source: Path) -> str:
    """The room of a dotted name that begins with `mlcmr`."""
    room = [*module.split("."), PACKAGE][1]
    return room if (source / room).is_dir() or (source / f"{room}.py").is_file() else PACKAGE


def imports(path: Path, source: Path) -> Iterator[tuple[int, str]]:
    """Lines of a file, and the rooms that they import: at the top, in functions, for types."""
    package = ["mlcmr", *path.relative_to(source).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            begin = ".".join([*above, *([node.module] if node.module else [])])
            names = [f"{begin}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from ((node.lineno, room_of(name, source)) for name in names if name.split(".")[0] == "mlcmr")


def wrong_imports(source: Path) -> list[str]:
    """What imports a room that it must not know."""
    band_of = {room: number for number, band in enumerate(BANDS) for room in band}
    wrong = []
    for path in sorted(source.rglob("*.py")):
        here = path.relative_to(source).parts[0].removesuffix(".py")
        for line, there in imports(path, source):
            allowed = (
                here == there
                or (here, there) in SIDEWAYS | {(PACKAGE, "model")}
                or (here != PACKAGE and (there == PACKAGE or band_of[here] < band_of[there]))
            )
            if not allowed:
                wrong.append(f"{path.relative_to(source)}:{line}: {here} imports {there}")
    return wrong


def test_every_room_has_its_place():
    rooms = {
        path.stem for path in SOURCE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert rooms == set().union(*BANDS) | {PACKAGE}


def test_nothing_imports_a_room_above_it():
    assert wrong_imports(SOURCE) == []


def test_a_wrong_import_is_found_in_whatever_way_it_is_written(tmp_path):
    for room in set().union(*BANDS):
        (tmp_path / f"{room}.py").touch()
    (tmp_path / "data.py").unlink()
    (tmp_path / "data" / "sample").mkdir(parents=True)
    (tmp_path / "data" / "sample" / "make.py").write_text(
        "import mlcmr\n"
        "from mlcmr import __version__, model\n"
        "from mlcmr.files import write_text\n"
        "import numpy, mlcmr.training.train\n"
        "def late():\n"
        "    from ...search import index\n"
        "    from ..captions import read_captions\n"
    )
    (tmp_path / "training.py").write_text("import mlcmr.evaluation.encode\nimport mlcmr.extraction\n")
    (tmp_path / "evaluation.py").write_text(
        "from mlcmr.training import train\nfrom mlcmr.data import views\n"
    )
    assert wrong_imports(tmp_path) == [
        "data/sample/make.py:2: data imports model",
        "data/sample/make.py:4: data imports training",
        "data/sample/make.py:6: data imports search",
        "evaluation.py:1: evaluation imports training",
        "training.py:2: training imports extraction",
    ]
