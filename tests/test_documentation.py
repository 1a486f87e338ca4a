"""The documentation holds: its Python runs, and the files, headings and tests that it names are there.

`.ci/documented.py` runs its commands.
"""

import ast
import importlib
import re
import shutil
import sys
from pathlib import Path
from pkgutil import walk_packages

import pytest

import mlcmr
from mlcmr.cli import main
from mlcmr.model import hub
from tests.helpers.fake_hub import FakeHub
from tests.helpers.models import write_clip

ROOT = Path(__file__).parents[1]
EXTENDING = sorted((ROOT / "docs/extending").glob("*.md"))
READMES = [ROOT / "README.md", ROOT / "README.zh-CN.md"]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("[!_]*.md"))]
LONGEST = 60


def python_blocks(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


WITH_PYTHON = [page for page in PAGES if python_blocks(page)]


def run_blocks(blocks: list[str]) -> None:
    """Run the blocks of a page in turn. A block that begins with the name of a file is also that file."""
    namespace: dict[str, object] = {"__name__": "documentation"}
    for block in blocks:
        if named := re.match(r"# (\w+\.py)\n", block):
            Path(named[1]).write_text(block, encoding="utf-8")
        exec(compile(block, "<documentation>", "exec"), namespace)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the home of a reader who has made a small sample, trained on it and indexed it."""
    folder = tmp_path_factory.mktemp("reader")
    shutil.copytree(ROOT / "configs", folder / "configs")
    run = folder / "runs/sample-parallel"
    recipe = folder / "configs/sample/parallel.yaml"
    recipe.write_text(
        re.sub(r"epochs: \d+", "epochs: 1", recipe.read_text(encoding="utf-8")), encoding="utf-8"
    )
    for command in (
        ["sample", str(folder / "demo"), "--videos", "40"],
        ["train", str(recipe), "--rootpath", str(folder / "demo"), "--run", str(run)],
        ["index", str(folder / "demo/sample"), "--run", str(run), "--to", str(folder / "index")],
    ):
        assert main(command) == 0
    (folder / "runs/vatex-parallel").symlink_to(run)
    films = sorted((folder / "demo/sample/VideoData").iterdir())
    (folder / "Videos").mkdir()
    for film in films[:2]:
        shutil.copy(film, folder / "Videos")
    shutil.copy(films[0], folder / "clip.mp4")
    write_clip(folder / "openai/clip-vit-base-patch16")
    return folder


@pytest.fixture
def here(reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(reader)
    monkeypatch.setenv("HOME", str(reader))
    monkeypatch.setattr(FakeHub, "store", reader / "hub", raising=False)
    monkeypatch.setattr(hub, "HfApi", FakeHub)
    monkeypatch.syspath_prepend(str(reader))
    known = set(sys.modules)
    yield
    for module in set(sys.modules) - known:
        if not module.partition(".")[0].startswith("mlcmr") and (reader / f"{module}.py").exists():
            del sys.modules[module]


def page_name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", WITH_PYTHON, ids=page_name)
def test_the_python_of_a_page_runs(page, here):
    run_blocks(python_blocks(page))


EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.mark.parametrize("file", [*WITH_PYTHON, *EXAMPLES], ids=page_name)
def test_only_public_names_are_imported(file):
    """The names in examples are exported by a package."""
    sources = python_blocks(file) if file.suffix == ".md" else [file.read_text(encoding="utf-8")]
    for node in ast.walk(ast.parse("\n".join(sources))):
        if isinstance(node, ast.Import):
            private = [alias.name for alias in node.names if alias.name.startswith("mlcmr.")]
            assert not private, f"import {private} from mlcmr"
        elif isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] == "mlcmr":
            home = importlib.import_module(node.module)
            assert hasattr(home, "__path__") or node.module == "mlcmr.metrics", f"{node.module} is private"
            assert {alias.name for alias in node.names} <= {*home.__all__}, node.module


def test_the_reference_names_what_is_public_by_its_public_path():
    """Readers import what they see there."""
    packages = ["mlcmr", *(one.name for one in walk_packages(mlcmr.__path__, "mlcmr.") if one.ispkg)]
    public: dict[int, str] = {}
    for package in map(importlib.import_module, packages):
        for name in getattr(package, "__all__", ()):
            public.setdefault(id(getattr(package, name)), f"{package.__name__}.{name}")
    shown = [
        target
        for page in (ROOT / "docs/api").glob("*.md")
        for target in re.findall(r"auto(?:class|function|exception|data):: (\S+)", page.read_text())
    ]
    assert len(shown) > 50
    for target in shown:
        module, _, name = target.rpartition(".")
        assert public.get(id(getattr(importlib.import_module(module), name)), target) == target


def test_no_page_shows_python_in_another_form():
    """A block in another language does not run, nor does a block that is indented."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        languages = set(re.findall(r"^```(\w+)", text, re.MULTILINE))
        assert languages <= {"console", "json", "python", "text", "yaml"}, page
        assert not re.search(r"^[> ]+(```|>>> )|^>>> ", text, re.MULTILINE), page


@pytest.mark.parametrize("page", EXTENDING, ids=page_name)
def test_pages_about_extending_are_short(page):
    assert len(page.read_text(encoding="utf-8").splitlines()) <= LONGEST


def test_the_readmes_have_the_same_commands():
    def commands(page: Path) -> list[str]:
        blocks = re.findall(r"```(?:console|python)\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
        return [re.sub(r"\s+#.*", "", line) for block in blocks for line in block.splitlines()]

    english, chinese = map(commands, READMES)
    assert english == chinese
    assert all(len(page.read_text(encoding="utf-8").splitlines()) <= 200 for page in READMES)


def anchors(page: Path) -> set[str]:
    """Return the anchors of the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


def test_tests_that_pages_name_are_there():
    sources = {path: path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py")}
    everything = "\n".join(sources.values())
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for name in re.findall(r"`(test_\w+)`", text):
            assert f"def {name}(" in everything, f"{page}: {name}"


def test_paths_that_pages_and_sources_name_are_there():
    folders = ("src", "tests", "docs", "examples", "benchmarks")
    files = [*PAGES, *(path for folder in folders for path in (ROOT / folder).rglob("*.[mp][dy]"))]
    named = re.compile(rf"\b(?:{'|'.join(folders)})/[\w/.-]+\.(?:py|md)\b")
    gone = [
        f"{file.relative_to(ROOT)}: {path}"
        for file in dict.fromkeys(files)
        for path in named.findall(file.read_text(encoding="utf-8"))
        if not (ROOT / path).exists()
    ]
    assert not gone
