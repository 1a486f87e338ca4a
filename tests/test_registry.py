"""A name stands for a built-in part or for code that the user named; a file alone brings no code in."""

import sys

import pytest

from mlcmr import registry
from mlcmr.errors import InvalidValueError, MissingDependencyError
from mlcmr.registry import name_of, resolve

BUILT_IN = {"mean": "the mean", "max": "the maximum"}


@pytest.fixture
def code(tmp_path, monkeypatch) -> str:
    """A module of somebody else's, which leaves a trace when it is imported."""
    trace = tmp_path / "imported"
    (tmp_path / "somebodys.py").write_text(
        f"open({str(trace)!r}, 'w').close()\nclass Parts:\n    one = 'a part'\n", encoding="utf-8"
    )
    (tmp_path / "broken.py").write_text("1 / 0\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "_named", set())
    yield trace
    for name in ("somebodys", "broken"):
        sys.modules.pop(name, None)


def find(name: str, source=None):
    return resolve(name, BUILT_IN, parameter="model.part", source=source)


def test_built_in_names(code, tmp_path):
    assert find("mean") == "the mean"
    assert find("max", tmp_path / "config.json") == "the maximum"


def test_code_that_the_user_named(code):
    assert find("somebodys:Parts.one") == "a part"
    assert find("somebodys:Parts").one == "a part"
    assert code.exists()


def test_a_file_alone_brings_no_code_in(code, tmp_path):
    source = tmp_path / "config.json"
    with pytest.raises(InvalidValueError, match="MLCMR_ALLOW_CODE=somebodys:Parts") as refused:
        find("somebodys:Parts", source)
    assert not code.exists()
    assert "somebodys" not in sys.modules
    assert refused.value.path == str(source)
    assert str(source) in str(refused.value)


def test_a_file_may_repeat_what_the_user_named(code, tmp_path, monkeypatch):
    find("somebodys:Parts")
    assert find("somebodys:Parts", tmp_path).one == "a part"
    with pytest.raises(InvalidValueError, match="names code of another package"):
        find("somebodys:Parts.one", tmp_path)
    monkeypatch.setenv("MLCMR_ALLOW_CODE", "other:Name, somebodys:Parts.one")
    assert find("somebodys:Parts.one", tmp_path) == "a part"


@pytest.mark.parametrize(
    "name", ["men", "", "a.b", "os:", ":Name", "os.:x", "os:.x", "os:system('x')", "os:a b", "../x:y", "1:2"]
)
def test_names_that_are_no_names(code, name):
    with pytest.raises(InvalidValueError, match=r"must be mean, max or package\.module:Name") as refused:
        find(name)
    assert refused.value.parameter == "model.part"
    assert ("did you mean mean?" in str(refused.value)) == (name == "men")


@pytest.mark.parametrize(
    ("name", "kind", "why"),
    [
        (
            "nowhere:Name",
            MissingDependencyError,
            "No module named 'nowhere'; install the package, or put .* on PYTHONPATH$",
        ),
        ("somebodys:Nothing", InvalidValueError, "has no attribute 'Nothing'$"),
        ("somebodys.inner:Name", MissingDependencyError, "is not a package"),
        ("broken:Name", InvalidValueError, "division by zero$"),
    ],
)
def test_code_that_cannot_be_imported(code, name, kind, why):
    with pytest.raises(kind, match=f"`model.part` is '{name}', which cannot be imported: .*{why}") as refused:
        find(name)
    assert refused.value.parameter == "model.part"


def test_names_of_objects():
    assert name_of(InvalidValueError) == name_of(InvalidValueError("x")) == "mlcmr.errors:InvalidValueError"
    assert find(name_of(resolve)) is resolve
