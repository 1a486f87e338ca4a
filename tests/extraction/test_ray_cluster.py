"""Extraction on a Ray cluster of two machines, both of which are this one."""

import os
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from time import sleep

import pytest
from PIL import Image

pytest.importorskip("ray")

from ray.cluster_utils import Cluster

from mlcmr.cli import main
from mlcmr.errors import NotFoundError
from mlcmr.extraction import extract
from mlcmr.extraction.encoders.registry import load_encoder
from mlcmr.extraction.records import read_videos
from tests.helpers.folders import contents
from tests.helpers.models import write_clip
from tests.helpers.videos import make_video


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    machines = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    machines.add_node(num_cpus=1)
    yield machines.address
    machines.shutdown()


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for number in range(10):
        make_video(folder / f"{number}.mp4", frames=20 + number)
    Image.new("RGB", (50, 40), "red").save(folder / "photo.jpg")
    (folder / "broken.mp4").write_text("no video")
    return folder


def test_a_cluster_writes_the_same_as_one_machine(cluster, videos, tmp_path, capsys):
    alone = extract(videos, tmp_path / "alone", segment=1.0)
    words = ["extract", videos, "--collection", tmp_path / "there", "--segment", "1", "--ray", cluster]
    assert main(list(map(str, words))) == 0
    assert contents(tmp_path / "there") == contents(tmp_path / "alone")
    shown = capsys.readouterr()
    assert f"11 videos, 11 extracted now ({alone.frames} frames" in shown.out
    assert "skipped: " in shown.err
    assert "broken.mp4: not a video" in shown.err
    assert main(list(map(str, words))) == 0  # again: nothing is left to do, but to look at what is broken
    assert "11 videos, 0 extracted now" in capsys.readouterr().out
    assert contents(tmp_path / "there") == contents(tmp_path / "alone")


def test_work_goes_on_when_a_process_ends_early(cluster, videos, tmp_path):
    killed = threading.Event()

    def kill() -> None:
        while not killed.is_set():
            for process in workers():
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
                    killed.set()
            sleep(0.01)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        extract(videos, tmp_path / "mine", segment=1.0, ray=cluster)
    finally:
        was_killed = killed.is_set()
        killed.set()
        killer.join()
    assert was_killed
    assert [record.video for record in read_videos(tmp_path / "mine")] == [*map(str, range(10)), "photo"]
    extract(videos, tmp_path / "alone", segment=1.0)
    assert contents(tmp_path / "mine") == contents(tmp_path / "alone")


def workers() -> list[int]:
    """The processes that extract on the cluster."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if path.read_bytes().startswith(b"ray::MapWorker(MapBatches(_Extractor)).submit"):
                found.append(int(path.parent.name))
    return found


@pytest.mark.parametrize(
    ("address", "words"), [("127.0.0.1:1", "Connection refused"), ("nonsense", "Invalid")]
)
def test_no_cluster_is_one_line(address, words, videos, tmp_path, capsys):
    assert main(["extract", str(videos), "--collection", str(tmp_path / "mine"), "--ray", address]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"mlcmr: --ray {address}: no Ray cluster there: ")
    assert words in last


def test_an_encoder_that_is_not_there_on_the_machines_is_one_line(cluster, videos, tmp_path, capsys):
    encoder = load_encoder(write_clip(tmp_path / "clip"))
    shutil.rmtree(tmp_path / "clip")
    with pytest.raises(NotFoundError, match=r"^encoder '.*clip': "):
        extract(videos, tmp_path / "mine", encoder=encoder, ray=cluster)
