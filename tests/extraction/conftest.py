"""Folders of videos, and a tiny model."""

import os
from pathlib import Path

import pytest
from PIL import Image

from mlcmr.sample import make_sample
from tests.helpers.extraction import make_model
from tests.helpers.videos import make_video


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_sample(tmp_path_factory.mktemp("root"), videos=20).folder


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """Four videos, a photograph, and files that are neither."""
    folder = tmp_path / "videos"
    (folder / "deep er").mkdir(parents=True)
    make_video(folder / "a.mp4")
    make_video(folder / "b.mkv", frames=45)
    make_video(folder / "b.avi", frames=5)
    make_video(folder / "deep er" / "狗.webm", frames=8)
    Image.new("RGB", (50, 40), "red").save(folder / "photo.jpg")
    (folder / "notes.txt").write_text("no video")
    (folder / ".hidden.mp4").write_text("no video")
    return folder


@pytest.fixture
def refused(monkeypatch) -> set[str]:
    """Names of folders that the system will not list; to root, permissions are nothing."""
    names: set[str] = set()
    scandir = os.scandir

    def refuses(path):
        if Path(str(path)).name in names:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuses)
    return names


@pytest.fixture(scope="module")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model("clip", tmp_path_factory.mktemp("models"))
