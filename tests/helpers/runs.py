"""Runs of the tiny collection: what they measured, and whether two are the same."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch

STEPS = 6  # of an epoch


def records(run: Path) -> list[dict[str, Any]]:
    """Return the lines of `metrics.jsonl`, without the times of day."""
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [{key: value for key, value in json.loads(line).items() if key != "time"} for line in lines]


def tensors(content: Any, name: str = "") -> dict[str, torch.Tensor]:
    """Return all tensors in nested containers, by their path."""
    if isinstance(content, torch.Tensor):
        return {name: content}
    items = content.items() if isinstance(content, dict) else []
    return {path: one for key, inner in items for path, one in tensors(inner, f"{name}/{key}").items()}


def assert_same(run: Path, other: Path) -> None:
    """Check that two runs ended with the same weights, optimizer, state and metrics, to the last bit."""
    for name in ("model/model.safetensors", "model/text_encoder/tokenizer.json"):
        assert (run / name).read_bytes() == (other / name).read_bytes(), name
    assert records(run) == records(other)
    state, expected = (torch.load(one / "checkpoints/last.ckpt", weights_only=True) for one in (run, other))
    assert state["progress"] == expected["progress"]
    assert state["metrics_bytes"] == expected["metrics_bytes"]
    ours, theirs = tensors(state), tensors(expected)
    assert ours.keys() == theirs.keys()
    assert len(ours) > 20
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name]), name


def leftovers(run: Path) -> list[Path]:
    return [path for path in run.rglob("*") if path.name.endswith(".tmp")]


def damaged(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "run"))


def files(folder: Path) -> dict[str, bytes]:
    """Return the content of all files except the lock."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }
