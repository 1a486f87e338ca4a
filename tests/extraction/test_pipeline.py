"""Decoding and encoding at the same time."""

import gc
import shutil
import threading
import weakref

import numpy as np
import pytest
import torch

from mlcmr.cli import main
from mlcmr.data.features.frame_features import open_features
from mlcmr.extraction import sample_file
from mlcmr.extraction.encoders.histogram import HistogramEncoder
from mlcmr.extraction.encoders.huggingface import HuggingFaceEncoder
from mlcmr.extraction.media.decode import open_media
from mlcmr.extraction.media.sampling import Sampling
from mlcmr.extraction.pipeline import PipelineSettings, default_workers, extract_files
from tests.helpers.extraction import LIGHT, make_model, run
from tests.helpers.folders import contents
from tests.helpers.progress import RecordedProgress
from tests.helpers.videos import make_video


def test_the_light_encoder_joins_chunks_without_a_seam(tmp_path):
    make_video(tmp_path / "a.mp4", frames=50)
    _, features = sample_file(tmp_path / "a.mp4", LIGHT, Sampling(fps=10))
    with open_media(tmp_path / "a.mp4") as media:
        whole = LIGHT.encode([frame.picture for frame in media.sample(Sampling(fps=10))])
    np.testing.assert_array_equal(features, whole)


def test_several_decoders_and_one_write_the_same(videos, tmp_path):
    for workers in (1, 4):
        run(videos, tmp_path / str(workers), workers=workers)
    assert contents(tmp_path / "1") == contents(tmp_path / "4")
    assert default_workers() >= 1


def test_small_batches_hold_features_of_one_file(tmp_path):
    class Placed(HistogramEncoder):  # like a matrix product, which rounds by the place in the batch
        batch_size, needs_previous_frame, dimension = 8, False, 1

        def encode_prepared(self, prepared):
            return np.arange(len(prepared), dtype=np.float32)[:, None] + len(prepared) / 100

    (tmp_path / "in").mkdir()
    for number, frames in enumerate((3, 20, 1, 9)):
        make_video(tmp_path / f"in/{number}.mkv", frames=frames)
    for workers in (1, 3):
        run(tmp_path / "in", tmp_path / str(workers), encoder=Placed(), workers=workers, rate=10)
    run(tmp_path / "in/0.mkv", tmp_path / "later", encoder=Placed(), rate=10)
    run(tmp_path / "in", tmp_path / "later", encoder=Placed(), rate=10)
    for name in ("1", "3", "later"):
        features = open_features(tmp_path / name / "FeatureData/hues228")
        for video in features.videos:
            _, alone = sample_file(tmp_path / f"in/{video[0]}.mkv", Placed(), Sampling(fps=10))
            np.testing.assert_array_equal(features[video], alone)


def test_rows_of_a_file_that_fails_midway_go_nowhere(tmp_path):
    class Batching(HistogramEncoder):
        batch_size, needs_previous_frame = 64, False

    whole, jumping = tmp_path / "whole.mkv", tmp_path / "jumping.mkv"
    make_video(whole, frames=20)
    make_video(jumping, frames=40, stamps=[10 * number for number in range(39)] + [100 * 7 * 3600])
    paths = []
    for number in range(120):
        paths.append(tmp_path / f"{number}.mkv")
        shutil.copy(whole if number % 3 else jumping, paths[-1])
    settings = PipelineSettings(Batching(), Sampling(fps=10), None)
    files, failed, kept = [], [], 0
    for file in extract_files(paths, settings, 2):
        files.append((file.path, file.error is None, len(file.features), len(file.times)))
        if file.error is not None:
            failed.append(weakref.ref(file))
        del file  # so that its address is taken again
        if len(files) == 100:
            gc.collect()
            kept = sum(one() is not None for one in failed)
    assert len(files) == 120
    assert kept < 10 < len(failed)  # only those whose rows still wait
    for path, read, rows, times in files:
        assert read == (int(path.stem) % 3 != 0)
        assert rows == (times if read else 0)


def test_the_bar_moves_within_a_file(tmp_path):
    (tmp_path / "in").mkdir()
    make_video(tmp_path / "in/a.mkv", frames=600)
    progress = RecordedProgress()
    run(tmp_path / "in", tmp_path / "mine", progress=progress)
    done = [one for _, one, _ in progress.changes]
    assert done == sorted(done)
    assert len([one for one in set(done) if 0 < one < 1]) > 5
    assert done[-1] == 1
    assert progress.notes[0] != "0 frames/s"


def test_an_error_in_the_encoder_ends_the_job(videos, tmp_path):
    class Broken(HistogramEncoder):
        def prepare(self, picture):
            raise RuntimeError("defect")

    threads = threading.active_count()
    with pytest.raises(RuntimeError, match="defect"):
        run(videos, tmp_path / "mine", encoder=Broken())
    assert threading.active_count() == threads


def test_memory_that_ends_is_one_line_and_less_at_a_time_goes_on(videos, tmp_path, monkeypatch, capfd):
    model = make_model("vit", tmp_path)
    command = ["extract", str(videos), "--encoder", str(model), "--workers", "1", "--collection"]
    assert main([*command, str(tmp_path / "whole"), "--batch-size", "2"]) == 0
    capfd.readouterr()
    sizes = []

    def short(encoder, pixels, features=HuggingFaceEncoder._features):
        sizes.append(len(pixels))
        if len(pixels) > 2 and any((tmp_path / "mine").rglob("*.npz")):  # some videos are finished
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return features(encoder, pixels)

    with monkeypatch.context() as patch:
        patch.setattr(HuggingFaceEncoder, "_features", short)
        assert main([*command, str(tmp_path / "mine"), "--batch-size", "3"]) == 2
        (line,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith("mlcmr: ")]
        assert line == "mlcmr: not enough memory on cpu: choose a smaller --batch-size"
        assert max(sizes) == 3
        assert not (tmp_path / "mine/FeatureData/vit").exists()
        assert not (tmp_path / "mine/videos.jsonl").exists()
        assert main([*command, str(tmp_path / "mine"), "--batch-size", "2"]) == 0
        assert "5 videos, 5 extracted now" not in capfd.readouterr().out
    whole, mine = (open_features(tmp_path / name / "FeatureData/vit") for name in ("whole", "mine"))
    assert mine.videos == whole.videos
    np.testing.assert_allclose(mine.matrix, whole.matrix, atol=1e-5)


@pytest.mark.parametrize("size", [1, 5, 100])
def test_the_light_encoder_takes_any_number_at_a_time(videos, tmp_path, size):
    run(videos, tmp_path / "usual")
    run(videos, tmp_path / "mine", batch_size=size)
    assert contents(tmp_path / "mine") == contents(tmp_path / "usual")
