"""A damaged state is one clear error."""

import random
from contextlib import suppress

import pytest
import torch

from mlcmr.errors import CorruptFileError, MlcmrError
from mlcmr.training import train
from mlcmr.training.checkpoint import read_state
from tests.helpers.permissions import forbid
from tests.helpers.runs import damaged
from tests.helpers.strangers import compress
from tests.helpers.tiny import (
    tiny_config,
)


@pytest.mark.parametrize("content", [b"", b"not a state", "half"])
def test_damaged_state(root, first_half, tmp_path, content):
    run = damaged(first_half, tmp_path)
    state = run / "checkpoints/last.ckpt"
    whole = state.read_bytes()
    state.write_bytes(whole[: len(whole) // 2] if content == "half" else content)
    with pytest.raises(CorruptFileError, match=r"last\.ckpt: damaged .*; remove it to begin the run again"):
        train(tiny_config(root, run, epochs=3))


def test_a_state_without_permission_is_not_called_damaged(first_half, tmp_path, monkeypatch):
    state = damaged(first_half, tmp_path) / "checkpoints/last.ckpt"
    forbid(state, monkeypatch)
    with pytest.raises(MlcmrError, match=r"last\.ckpt: cannot be read: Permission denied$"):
        read_state(state)


def test_state_of_another_kind(root, first_half, tmp_path):
    run = damaged(first_half, tmp_path)
    for content in ({"weights": torch.zeros(2)}, torch.zeros(2), [1, 2], "text"):
        torch.save(content, run / "checkpoints/last.ckpt")
        with pytest.raises(CorruptFileError, match=r"last\.ckpt: damaged"):
            train(tiny_config(root, run, epochs=3))


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"progress": "{}"},
        {"progress": "[" * 100_000},
        {"progress": 5},
        {"model": []},
        {"model": {"weight": 5}},
        {"optimizer": None},
        {"metrics_bytes": -1},
        {"metrics_bytes": "many"},
        {"metrics_bytes": 2**70},
        {"data": {"captions": 5}},
    ],
    ids=str,
)
def test_a_state_of_wrong_types(first_half, tmp_path, change):
    state = damaged(first_half, tmp_path) / "checkpoints/last.ckpt"
    content = torch.load(state, weights_only=True)
    torch.save(content | change, state)
    with pytest.raises(CorruptFileError, match=r"last\.ckpt: damaged .*; remove it to begin the run again"):
        read_state(state)


def test_a_state_whose_members_would_grow(first_half, tmp_path):
    state = damaged(first_half, tmp_path) / "checkpoints/last.ckpt"
    compress(state)
    with pytest.raises(CorruptFileError, match=r"last\.ckpt: damaged \(its members are compressed"):
        read_state(state)


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state.clear(),
        lambda state: state.update(param_groups=[]),
        lambda state: state.update(param_groups=5),
        lambda state: state["param_groups"][0].pop("params"),
        lambda state: state["state"][0].update(exp_avg=torch.zeros(2, 2)),
        lambda state: state.update(state={0: 5}),
    ],
)
def test_a_state_whose_optimizer_does_not_fit(root, first_half, tmp_path, change):
    run = damaged(first_half, tmp_path)
    state = run / "checkpoints/last.ckpt"
    content = torch.load(state, weights_only=True)
    change(content["optimizer"])
    torch.save(content, state)
    with pytest.raises(CorruptFileError, match="state of the optimizer does not fit"):
        train(tiny_config(root, run, epochs=3))


def test_random_bytes_in_a_state(first_half, tmp_path):
    """Whatever is wrong with the bytes, it is one clear error, or no harm."""
    state = damaged(first_half, tmp_path) / "checkpoints/last.ckpt"
    whole = bytearray(state.read_bytes())
    draw = random.Random(1)
    for _ in range(40):
        changed = bytearray(whole)
        for _ in range(20):
            changed[draw.randrange(len(changed))] = draw.randrange(256)
        state.write_bytes(changed)
        with suppress(MlcmrError):
            read_state(state)
