"""A run continues only with the inputs that it began with."""

import shutil
from pathlib import Path

import pytest

from mlcmr.data.collection import open_collection
from mlcmr.data.features.frame_features import write_features
from mlcmr.errors import InvalidValueError
from mlcmr.training import run_training, train
from tests.helpers.runs import assert_same, damaged
from tests.helpers.tiny import (
    COLLECTION,
    FEATURE,
    tiny_config,
)


def replace_text(path: Path, old: str, new: str) -> None:
    content = path.read_text(encoding="utf-8")
    assert old in content
    path.write_text(content.replace(old, new, 1), encoding="utf-8")


def one_frame_less(collection: Path) -> None:
    features = open_collection(collection.parent, COLLECTION).open_features(FEATURE)
    blocks = [(video, features[video]) for video in features.videos]
    blocks[0] = (blocks[0][0], blocks[0][1][1:])
    shutil.rmtree(features.folder)
    write_features(
        features.folder,
        [([f"{video}_{frame}" for frame in range(len(block))], block) for video, block in blocks],
    )


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda text: replace_text(text / "tinytrain.caption.txt", " runs", " walks"), "captions"),
        (lambda text: replace_text(text / "tinytrain_zh.caption.txt", "#zh#0", "#zh#7"), "captions"),
        (lambda text: replace_text(text / "tinyval_zh.caption.txt", "马", "牛"), "captions"),
        (lambda text: one_frame_less(text.parent), "frame features"),
    ],
    ids=["words", "examples", "validation", "frames"],
)
def test_other_data_needs_another_run(root, first_half, tmp_path, change, what):
    run = damaged(first_half, tmp_path)
    shutil.copytree(root / COLLECTION, tmp_path / COLLECTION)
    change(tmp_path / COLLECTION / "TextData")
    config = tiny_config(tmp_path, run, epochs=3, missing_captions="skip")
    replace_text(run / "config.yaml", "missing_captions: error", "missing_captions: skip")
    with pytest.raises(
        InvalidValueError, match=rf"{run}: this run was begun with other {what}[;,].* another `run`"
    ):
        train(config)
    for name in ("metrics.jsonl", "checkpoints/last.ckpt", "model/model.safetensors"):
        assert (run / name).read_bytes() == (first_half / name).read_bytes()


def test_another_vocabulary_needs_another_run(root, first_half, tmp_path, monkeypatch):
    """As another version of the library might learn one."""
    run = damaged(first_half, tmp_path)
    new_encoder = run_training.new_encoder
    monkeypatch.setattr(
        run_training,
        "new_encoder",
        lambda config, texts, lowercase: new_encoder(config, [*texts, "xyz " * 99], lowercase=lowercase),
    )
    with pytest.raises(
        InvalidValueError, match=f"{run}: this run was begun with other token ids; choose another"
    ):
        train(tiny_config(root, run, epochs=3))


def test_a_grown_collection_is_no_other(root, first_half, undisturbed, tmp_path):
    """Features of videos that the run does not use may come and go."""
    run = damaged(first_half, tmp_path)
    shutil.copytree(root / COLLECTION, tmp_path / COLLECTION)
    features = open_collection(tmp_path, COLLECTION).open_features(FEATURE)
    used = [(video, features[video]) for video in features.videos[:30]]
    blocks = [("new-1", used[0][1]), *used[::-1]]
    shutil.rmtree(features.folder)
    write_features(
        features.folder,
        [([f"{video}_{frame}" for frame in range(len(block))], block) for video, block in blocks],
    )
    train(tiny_config(tmp_path, run, epochs=4))
    assert_same(run, undisturbed)
