"""Two processes with half a batch each are one process with the whole: losses, gradients, weights."""

import json
import subprocess
import sys
import tempfile
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

import processes
from golden_model import golden, golden_batch, golden_model
from mlcmr.data.batches import EpochSampler, PairBatch, TokenBatch, VideoBatch
from mlcmr.model.losses import MLCMRLoss
from mlcmr.training.config import OptimizerConfig
from mlcmr.training.gather import gather
from mlcmr.training.optimizer import make_optimizer
from mlcmr.training.run import Run, is_first_process
from mlcmr.training.state import read_state
from mlcmr.training.train import train
from tiny import tiny_config, tiny_model, write_collection, write_recipe

STEPS = 2


def part(batch: PairBatch, rows: slice) -> PairBatch:
    """Some examples of a batch."""

    def videos(whole: VideoBatch) -> VideoBatch:
        frames = torch.split(whole.frames, whole.lengths.tolist())[rows]
        return VideoBatch(torch.cat(frames), whole.lengths[rows], whole.means[rows])

    def texts(whole: dict[str, TokenBatch]) -> dict[str, TokenBatch]:
        return {
            language: TokenBatch(
                torch.cat(torch.split(text.ids, text.lengths.tolist())[rows]), text.lengths[rows]
            )
            for language, text in whole.items()
        }

    return PairBatch(videos(batch.video), videos(batch.dropped), texts(batch.captions), texts(batch.masked))


def steps(model: torch.nn.Module, batch: PairBatch) -> dict[str, torch.Tensor]:
    """Two optimizer steps: the losses, the first gradients, the last weights."""
    loss = MLCMRLoss()
    bare = model.module if hasattr(model, "module") else model
    optimizer = make_optimizer(bare, OptimizerConfig(learning_rate=1e-3))
    seen: dict[str, torch.Tensor] = {}
    for step in range(STEPS):
        optimizer.zero_grad()
        total = torch.stack(list(loss(model(batch, gather)).values())).sum()
        total.backward()
        seen[f"loss {step}"] = total.detach()
        if step == 0:
            for name, parameter in bare.named_parameters():
                if parameter.grad is not None:
                    seen[f"gradient {name}"] = parameter.grad.clone()
        torch.nn.utils.clip_grad_norm_(bare.parameters(), 2.0)
        optimizer.step()
    return {**seen, **{f"weight {name}": value.clone() for name, value in bare.state_dict().items()}}


def work(process: int, folder: str, bounds: list[int]) -> None:
    torch.set_num_threads(1)
    store = dist.FileStore(f"{folder}/store", 2)
    dist.init_process_group("gloo", store=store, rank=process, world_size=2, timeout=timedelta(seconds=120))
    arrays = golden()
    model = torch.nn.parallel.DistributedDataParallel(golden_model(arrays, padding="masked").train())
    batch = part(golden_batch(arrays), slice(bounds[process], bounds[process + 1]))
    torch.save(steps(model, batch), f"{folder}/{process}.pt")
    dist.destroy_process_group()


@pytest.mark.parametrize("first", [6, 7], ids=["halves", "uneven"])
def test_two_processes_are_one(first):
    arrays = golden()
    alone = steps(golden_model(arrays, padding="masked").train(), golden_batch(arrays))
    with tempfile.TemporaryDirectory() as folder:
        processes.server()
        mp.start_processes(work, (folder, [0, first, 12]), nprocs=2, start_method="forkserver")
        both = [torch.load(Path(folder) / f"{process}.pt", weights_only=True) for process in range(2)]
    assert any(name.startswith("gradient text_encoder") for name in alone)
    for together in both:
        assert together.keys() == alone.keys()
        for name, value in alone.items():
            torch.testing.assert_close(
                together[name], value, rtol=0, atol=1e-9, msg=lambda m, n=name: f"{n}: {m}"
            )


@pytest.mark.parametrize("count", [2, 3])
def test_together_they_see_what_one_sees(count):
    one = list(EpochSampler(50, 8, seed=3))
    parts = [list(EpochSampler(50, 8, 3, process, count)) for process in range(count)]
    if count > len(one[-1].examples):
        one.pop()  # a rest that cannot be split is left out
    assert all(len(part) == len(one) for part in parts)
    for number in range(len(one)):
        joined = np.concatenate([part[number].examples for part in parts])
        assert joined.tolist() == one[number].examples.tolist()


def test_the_command_on_two_devices(tmp_path):
    """`mlcmr train` on two devices, with a last batch that cannot be halved, is that on one."""
    write_collection(tmp_path)
    model = tiny_model(dropout=0.0)
    model.text.new.dropout = model.video.dropout = 0.0
    config = tiny_config(
        tmp_path, tmp_path / "two", model=model, devices=2, precision="64-true", batch_size=9
    )
    recipe = write_recipe(tmp_path / "recipe.yaml", config)
    done = subprocess.run(
        [sys.executable, "-m", "mlcmr", "train", str(recipe)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    said = [line.split(":")[0] for line in done.stderr.splitlines()]
    assert said == ["validating on 6 videos", "epoch 1/2", "epoch 2/2"]
    train(replace(config, run=str(tmp_path / "one"), devices=1))
    records = [
        [json.loads(line) for line in (tmp_path / run / "metrics.jsonl").read_text().splitlines()]
        for run in ("one", "two")
    ]
    assert len(records[0]) == 14
    for one, two in zip(*records, strict=True):
        assert two == pytest.approx(one, abs=1e-9)
    states = [read_state(Run(tmp_path / run).state) for run in ("one", "two")]
    assert states[0].progress == states[1].progress
    for name, weights in states[0].model.items():
        torch.testing.assert_close(states[1].model[name], weights, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"])
def test_one_process_writes(name, monkeypatch):
    """However the processes were started: by Lightning, torchrun or SLURM."""
    assert is_first_process()
    monkeypatch.setenv(name, "0")
    assert is_first_process()
    monkeypatch.setenv(name, "1")
    assert not is_first_process()
