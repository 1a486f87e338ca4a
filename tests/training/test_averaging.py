"""The moving average of the weights: its formula, and that a stopped run continues it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mlcmr.errors import InvalidValueError
from mlcmr.model.mlcmr import MLCMR
from mlcmr.training import train
from mlcmr.training.averaging import WeightAverage
from mlcmr.training.checkpoint import read_state
from mlcmr.training.run_folder import Run
from tests.helpers.runs import assert_same
from tests.helpers.small_models import make_model
from tests.helpers.tiny import tiny_config


@pytest.mark.parametrize("decay", [0.2, 0.9])
def test_it_is_the_recurrence(decay):
    model = make_model()
    average = WeightAverage(model, decay)
    head = model.text_mapping
    weights = [head.linear.weight, next(b for b in head.buffers() if b.is_floating_point() and b.ndim)]
    copies = [average.module.text_mapping.linear.weight]
    copies.append(next(b for b in average.module.text_mapping.buffers() if b.is_floating_point() and b.ndim))
    expected = [np.zeros(0)] * 2
    for update in range(30):
        with torch.no_grad():
            for weight in weights:
                weight.add_(torch.randn_like(weight))
        average.update_parameters(model)
        stays = 0 if update == 0 else min(decay, (1 + update) / (10 + update))
        for n, weight in enumerate(weights):
            now = weight.detach().double().numpy()
            expected[n] = now if update == 0 else stays * expected[n] + (1 - stays) * now
    for copy, value in zip(copies, expected, strict=True):
        np.testing.assert_allclose(copy.detach().numpy(), value, rtol=1e-4, atol=1e-5)


def averaging(root, run, epochs, **changes):
    config = tiny_config(root, run, epochs=epochs, **changes)
    return replace(config, optimizer=replace(config.optimizer, average=0.9))


def test_the_average_is_validated_and_saved_and_a_stopped_run_continues_it(root, tmp_path):
    whole, parts = Run(tmp_path / "whole"), Run(tmp_path / "parts")
    train(averaging(root, whole.folder, 2))
    for last in (1, 2):
        train(averaging(root, parts.folder, last, checkpoint_minutes=0))
    assert_same(parts.folder, whole.folder)
    state = read_state(whole.state)
    saved = MLCMR.from_pretrained(whole.model).state_dict()
    for name, tensor in read_state(parts.state).average.items():
        assert torch.equal(tensor, state.average[name])
    name = "video_mapping.linear.weight"
    assert torch.equal(saved[name], state.average[name]) or state.loop.schedule.without_best
    assert not torch.allclose(state.model[name], state.average[name], atol=1e-6)


def test_it_needs_precision(root):
    with pytest.raises(InvalidValueError, match="needs more digits"):
        averaging(root, "run", 1, precision="bf16-true").__post_init__()
