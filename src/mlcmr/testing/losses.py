"""The contract of a loss."""

from collections.abc import Mapping
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlcmr.losses.selection import Loss
from mlcmr.model.outputs import ViewEmbeddings


def check_loss(loss: Loss, *, size: int = 16) -> None:
    """Check that a loss can train a model.

    A loss returns scalars by name, each finite and with finite gradients, also for one example and where
    examples lack captions. It has no weights, does not change its input, and does not depend on the order of
    the examples.

    Args:
        loss: The loss: a function or an `nn.Module`.
        size: The size of the embeddings that the loss takes.

    Raises:
        AssertionError: If a property does not hold; the message states the property.
    """
    if isinstance(loss, nn.Module):
        assert not list(loss.parameters()), "a loss has no weights: training neither trains nor saves them"
    for examples, languages in ((6, ["en"]), (6, ["en", "zh"]), (2, ["de", "en", "zh"]), (1, ["en"])):
        views = _views(examples, languages, size)
        where = f"for {examples} examples in {', '.join(languages)}"
        terms = _terms(loss, views)
        assert terms, f"there is at least one term ({where})"
        for name, term in terms.items():
            assert term.ndim == 0, f"term {name!r} is a scalar ({where})"
            assert torch.isfinite(term), f"term {name!r} is a finite number ({where})"
        _check_gradients(torch.stack(list(terms.values())).sum(), views, where)
    _check_missing_captions(loss, size)
    _check_function_of_the_batch(loss, size)


def _check_missing_captions(loss: Loss, size: int) -> None:
    rows = torch.tensor([True, False, True, True, False, True])
    whole = _views(6, ["en", "zh"], size)
    captions, masked = (
        {**texts, "zh": texts["zh"].detach()[rows].requires_grad_()}
        for texts in (whole.captions, whole.masked)
    )
    views = replace(whole, captions=captions, masked=masked, has_caption={"zh": rows})
    where = "where examples lack captions, see `ViewEmbeddings.having`"
    try:
        terms = _terms(loss, views)
    except (RuntimeError, IndexError) as error:
        raise AssertionError(f"a loss does not fail {where}: {error}") from error
    for name, term in terms.items():
        assert torch.isfinite(term), f"term {name!r} is a finite number {where}"
    _check_gradients(torch.stack(list(terms.values())).sum(), views, where)


def _check_gradients(total: Tensor, views: ViewEmbeddings, where: str) -> None:
    assert total.requires_grad, f"the sum of the terms has gradients ({where})"
    tensors = [views.video, views.dropped, *views.captions.values(), *views.masked.values()]
    gradients = torch.autograd.grad(total, tensors, allow_unused=True)
    for gradient in gradients:
        assert gradient is None or torch.isfinite(gradient).all(), f"gradients are finite ({where})"


def _check_function_of_the_batch(loss: Loss, size: int) -> None:
    views = _views(6, ["en", "zh"], size)
    before = _reordered(views, torch.arange(6))
    terms = _values(loss, views)
    assert all(torch.equal(now, then) for now, then in zip(_tensors(views), _tensors(before), strict=True)), (
        "a loss does not change its input"
    )
    assert _values(loss, views) == terms, "the same embeddings give the same terms"
    # Several processes hold the examples of a batch in another order than a single process.
    other = _values(loss, _reordered(views, torch.tensor([3, 0, 5, 1, 4, 2])))
    assert terms.keys() == other.keys(), "the names of the terms do not depend on the order of the examples"
    for name, value in terms.items():
        assert abs(value - other[name]) <= 1e-9 * (1 + abs(value)), (
            f"term {name!r} does not depend on the order of the examples"
        )


def _terms(loss: Loss, views: ViewEmbeddings) -> Mapping[str, Tensor]:
    terms = loss(views)
    assert isinstance(terms, Mapping), f"a loss returns its terms by name, not {type(terms).__name__}"
    for name, term in terms.items():
        assert isinstance(name, str), f"the name {name!r} is a text"
        assert isinstance(term, Tensor), f"term {name!r} is a tensor, not {type(term).__name__}"
    return terms


def _values(loss: Loss, views: ViewEmbeddings) -> dict[str, float]:
    return {name: term.item() for name, term in _terms(loss, views).items()}


def _tensors(views: ViewEmbeddings) -> list[Tensor]:
    return [views.video, views.dropped, *views.captions.values(), *views.masked.values()]


def _reordered(views: ViewEmbeddings, order: Tensor) -> ViewEmbeddings:
    return ViewEmbeddings(
        views.video.detach()[order],
        views.dropped.detach()[order],
        {language: texts.detach()[order] for language, texts in views.captions.items()},
        {language: texts.detach()[order] for language, texts in views.masked.items()},
        None if views.video_ids is None else views.video_ids[order],
    )


def _views(examples: int, languages: list[str], size: int) -> ViewEmbeddings:
    """Return normalised embeddings in float64, in which the second view of an item lies near the first.

    Examples 0 and 1 belong to the same video, and so do 2 and 3, and so on.
    """
    generator = torch.Generator().manual_seed(0)

    def near(rows: Tensor) -> Tensor:
        noise = torch.randn(rows.shape, generator=generator, dtype=torch.float64)
        return F.normalize(rows.detach() + 0.3 * noise, dim=1).requires_grad_()

    video = near(torch.zeros(examples, size, dtype=torch.float64))
    captions = {language: near(video) for language in languages}
    masked = {language: near(texts) for language, texts in captions.items()}
    return ViewEmbeddings(video, near(video), captions, masked, torch.arange(examples) // 2)
