"""The examples of the package's docstring, on the tiny collection: train, evaluate, index, search, encode."""

import numpy as np
import pytest
import torch

import mlcmr
from tests.helpers.tiny import COLLECTION, SIZE, tiny_config, write_collection, write_recipe


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The tiny collection, and a recipe of one epoch."""
    folder = tmp_path_factory.mktemp("api")
    write_collection(folder)
    write_recipe(folder / "recipe.yaml", tiny_config(folder / "elsewhere", folder / "run", epochs=1))
    return folder


@pytest.fixture(scope="module")
def run(place):
    return mlcmr.train(str(place / "recipe.yaml"), rootpath=str(place))


def test_evaluate(run):
    results = mlcmr.evaluate(run, targets=["zh"])
    assert 0 <= results["zh"].t2v["R@1"] <= 100
    assert "R@1" in str(results)
    assert results.to_dict()["evaluations"][0]["target"] == "zh"


def test_index_and_search(run, place):
    summary = mlcmr.index(place / COLLECTION, place / "index", model=run)
    assert "36 added" in str(summary)
    hits = mlcmr.Searcher(place / "index").search("A dog runs.", k=3)
    assert len(hits) == 3


def test_encode(run):
    model = mlcmr.MLCMR.from_pretrained(run.model)
    videos = [np.ones((frames, SIZE), np.float32) for frames in (2, 3)]
    scores = model.similarity(model.encode_texts(["一只狗在跑"]), model.encode_videos(videos))
    assert scores.shape == (1, 2)
    assert torch.isfinite(scores).all()


def test_check(place):
    assert not mlcmr.check(place / COLLECTION).problems
