"""Dropout: what is dropped, how the rest is scaled, what is repeatable."""

import pytest
import torch
from torch import nn

from mlcmr.model.dropout import QuickDropout, quicken_dropout


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_drops_the_share_and_scales_the_rest(share, dtype):
    torch.manual_seed(0)
    ones = torch.ones(301, 703, dtype=dtype)  # not a multiple of four: draws come in fours
    dropped = QuickDropout(share)(ones)
    assert dropped.dtype == dtype
    values = dropped.unique().float()
    torch.testing.assert_close(values, torch.tensor([0, 1 / (1 - share)]), rtol=5e-3, atol=0)
    for part in (dropped, dropped[:, ::4], dropped[:, 3::4], dropped[:50], dropped[-50:]):
        found = float((part == 0).float().mean())
        assert found == pytest.approx(share, abs=5 * (share * (1 - share) / part.numel()) ** 0.5)


def test_neighbours_are_dropped_independently():
    torch.manual_seed(0)
    kept = (QuickDropout(0.5)(torch.ones(400_000)) != 0).float() - 0.5
    for distance in range(1, 9):
        correlation = 4 * float((kept[distance:] * kept[:-distance]).mean())
        assert abs(correlation) < 5 / len(kept) ** 0.5


def test_gradient_passes_where_numbers_do():
    torch.manual_seed(0)
    numbers = torch.randn(40, 30, requires_grad=True)
    result = QuickDropout(0.3)(numbers)
    result.sum().backward()
    torch.testing.assert_close(numbers.grad * numbers.detach(), result.detach())


def test_seed_decides():
    layer, numbers = QuickDropout(0.2), torch.ones(1000)
    torch.manual_seed(1)
    first, second = layer(numbers), layer(numbers)
    torch.manual_seed(1)
    assert torch.equal(layer(numbers), first)
    assert not torch.equal(first, second)


def test_evaluation_and_the_extremes_are_torchs_own():
    numbers = torch.randn(100)
    assert torch.equal(QuickDropout(0.5).eval()(numbers), numbers)
    assert torch.equal(QuickDropout(0.0)(numbers), numbers)
    assert not QuickDropout(1.0)(numbers).any()
    assert QuickDropout(0.1)(torch.empty(0)).shape == (0,)


def test_replaces_every_dropout_inside():
    shared = nn.Dropout(0.1)
    module = nn.Sequential(shared, nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.2).eval()), shared)
    quicken_dropout(module)
    layers = [layer for layer in module.modules() if isinstance(layer, nn.Dropout)]
    assert [layer.p for layer in (module[0], module[1][1], module[2])] == [0.1, 0.2, 0.1]
    assert all(type(layer) is QuickDropout for layer in layers)
    assert [module[0].training, module[1][1].training] == [True, False]
    assert module(torch.ones(1, 2)).shape == (1, 2)
