"""Two processes with half a batch each are one process with the whole: losses, gradients, weights."""

import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from lightning.fabric import Fabric

from mlcmr.data.batches import EpochSampler, PairBatch, TokenBatch, VideoBatch
from mlcmr.data.scenarios import read_training_pairs
from mlcmr.errors import InvalidValueError
from mlcmr.losses.config import LossConfig
from mlcmr.losses.selection import select_loss
from mlcmr.model.mlcmr import MLCMR
from mlcmr.training import train
from mlcmr.training.checkpoint import read_state
from mlcmr.training.config import OptimizerConfig
from mlcmr.training.distributed import count_devices, is_first_process
from mlcmr.training.run_folder import Run
from mlcmr.training.schedule import make_optimizer
from mlcmr.training.step import TrainingStep
from tests.helpers import processes
from tests.helpers.golden_model import golden, golden_batch, golden_model
from tests.helpers.tiny import tiny_config, tiny_model, write_collection, write_recipe

STEPS = 2
# The examples that have a Chinese caption: a process may hold none of them, and a batch too.
GAPS: dict[str, dict[str, list[bool]]] = {
    "none": {},
    "some": {"zh": [True, False, True, True, False, True, False, False, True, True, True, False]},
    "first half": {"zh": [False] * 7 + [True] * 5},
    "second half": {"zh": [True] * 3 + [False] * 9},
    "all": {"zh": [False] * 12},
}


def part(batch: PairBatch, rows: slice) -> PairBatch:
    """Some examples of a batch."""

    def videos(whole: VideoBatch) -> VideoBatch:
        frames = torch.split(whole.frames, whole.lengths.tolist())[rows]
        return VideoBatch(torch.cat(frames), whole.lengths[rows], whole.means[rows])

    def texts(whole: dict[str, TokenBatch]) -> dict[str, TokenBatch]:
        everywhere = torch.ones(len(batch), dtype=torch.bool)
        found = {}
        for language, text in whole.items():
            has = batch.has_caption.get(language, everywhere)
            chosen = slice(int(has[: rows.start].sum()), int(has[: rows.stop].sum()))
            each = [ids.numpy() for ids in torch.split(text.ids, text.lengths.tolist())]
            found[language] = TokenBatch.of(each[chosen])
        return found

    return PairBatch(
        videos(batch.video),
        videos(batch.dropped),
        texts(batch.captions),
        texts(batch.masked),
        batch.video_ids[rows],
        {language: has[rows] for language, has in batch.has_caption.items()},
    )


def steps(fabric: Fabric, model: MLCMR, batch: PairBatch, loss: str) -> dict[str, torch.Tensor]:
    """Two optimizer steps: the losses, the first gradients, the last weights."""
    optimizer = make_optimizer(model, OptimizerConfig(learning_rate=1e-3))
    objective = select_loss(LossConfig(name=loss))
    step, optimizer = fabric.setup(TrainingStep(model, objective, fabric), optimizer)
    seen: dict[str, torch.Tensor] = {}
    for number in range(STEPS):
        optimizer.zero_grad()
        losses = step(batch)
        fabric.backward(losses.total)
        seen[f"loss {number}"] = losses.total.detach()
        if number == 0:
            for name, parameter in model.named_parameters():
                if parameter.grad is not None:
                    seen[f"gradient {name}"] = parameter.grad.clone()
        fabric.clip_gradients(step, optimizer, max_norm=2.0)
        optimizer.step()
    return {**seen, **{f"weight {name}": value.clone() for name, value in model.state_dict().items()}}


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def golden_videos(arrays: dict[str, np.ndarray], gaps: str = "none") -> PairBatch:
    """The golden batch as if it held four videos, each in several rows of both halves.

    Args:
        arrays: The golden arrays.
        gaps: The name of the captions that are left out.
    """
    batch = replace(golden_batch(arrays), video_ids=torch.arange(12) % 4)
    for language, has in GAPS[gaps].items():
        for texts in (batch.captions, batch.masked):
            each = torch.split(texts[language].ids, texts[language].lengths.tolist())
            texts[language] = TokenBatch.of(
                [ids.numpy() for ids, kept in zip(each, has, strict=True) if kept]
            )
        batch.has_caption[language] = torch.tensor(has)
    if gaps not in ("none", "some"):  # a step that draws one language
        del batch.captions["en"], batch.masked["en"]
    return batch


def as_torchrun(process: int, processes: int = 2) -> dict[str, str]:
    """Return the environment of a process that torchrun starts."""
    return {
        "RANK": str(process),
        "LOCAL_RANK": str(process),
        "GROUP_RANK": "0",
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "TORCHELASTIC_RUN_ID": "test",
    }


def as_srun(processes: int, **others: str) -> dict[str, str]:
    """Return the environment of the first process that srun starts."""
    return {
        **dict.fromkeys(("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID"), "0"),
        **dict.fromkeys(("SLURM_NTASKS", "SLURM_STEP_NUM_TASKS", "SLURM_NTASKS_PER_NODE"), str(processes)),
        "SLURM_JOB_NAME": "training",
        **others,
    }


def work(process: int, folder: str, bounds: list[int], port: int, loss: str, gaps: str) -> None:
    torch.set_num_threads(1)
    os.environ.update(as_torchrun(process), MASTER_PORT=str(port))
    fabric = Fabric(accelerator="cpu", devices=2)
    fabric.launch()
    arrays = golden()
    model = golden_model(arrays, padding="masked").train()
    batch = part(golden_videos(arrays, gaps), slice(bounds[process], bounds[process + 1]))
    torch.save(steps(fabric, model, batch, loss), f"{folder}/{process}.pt")
    dist.destroy_process_group()


@pytest.mark.parametrize(
    ("first", "loss", "gaps"),
    [
        (6, "mlcmr", "none"),
        (7, "mlcmr", "none"),
        (7, "softmax", "none"),
        (7, "sigmoid", "none"),
        *[(7, "mlcmr", gaps) for gaps in GAPS if gaps != "none"],
        (7, "softmax", "some"),
    ],
)
def test_two_processes_are_one(first, loss, gaps):
    arrays = golden()
    fabric = Fabric(accelerator="cpu", devices=1)
    alone = steps(fabric, golden_model(arrays, padding="masked").train(), golden_videos(arrays, gaps), loss)
    with tempfile.TemporaryDirectory() as folder:
        processes.server()
        arguments = folder, [0, first, 12], free_port(), loss, gaps
        mp.start_processes(work, arguments, nprocs=2, start_method="forkserver")
        both = [torch.load(Path(folder) / f"{process}.pt", weights_only=True) for process in range(2)]
    assert any(name.startswith("gradient text_encoder") for name in alone)
    for together in both:
        assert together.keys() == alone.keys()
        for name, value in alone.items():
            torch.testing.assert_close(
                together[name], value, rtol=0, atol=1e-9, msg=lambda m, n=name: f"{n}: {m}"
            )


def run(*words: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run Python with these arguments."""
    command = [sys.executable, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, **options)


def run_script(script: str, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a script with the recipe of a training in two processes as its last argument."""
    write_collection(folder)
    recipe = write_recipe(folder / "recipe.yaml", tiny_config(folder, folder / "run", devices=2))
    path = folder / "script.py"
    path.write_text(script, encoding="utf-8")
    return run(path, *words, recipe)


TORCHRUN = ["torch.distributed.run", "--nproc-per-node=2", "-m"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("starter", "devices", "changes"),
    [
        ([], 2, {}),
        (TORCHRUN, "auto", {}),
        ([], 2, {"missing_captions": "keep", "languages_per_step": 1}),
    ],
    ids=["lightning", "torchrun", "drawn languages and gaps"],
)
def test_the_command_in_two_processes(starter, devices, changes, tmp_path):
    """`mlcmr train` in two processes, with a last batch that cannot be halved, is that in one."""
    text = write_collection(tmp_path) / "TextData" / "tinytrain_zh.caption.txt"
    if changes:
        text.write_text("".join(text.read_text().splitlines(keepends=True)[:11]))
    model = tiny_model(dropout=0.0)
    model.text.new.dropout = model.video.dropout = 0.0
    config = tiny_config(
        tmp_path, tmp_path / "two", model=model, devices=devices, precision="64-true", batch_size=9, **changes
    )
    recipe = write_recipe(tmp_path / "recipe.yaml", config)
    done = run("-m", *starter, "mlcmr", "train", recipe)
    assert done.returncode == 0, done.stderr
    said = list(
        dict.fromkeys(line.split(":")[0] for line in done.stderr.splitlines())
    )  # a slow epoch repeats
    gaps = ["zh"] if changes else []
    assert said == [*gaps, "validating on 6 videos", "text encoder", "epoch 1/2", "epoch 2/2"]
    train(replace(config, run=str(tmp_path / "one"), devices=1))
    records = [
        [json.loads(line) for line in (tmp_path / run / "metrics.jsonl").read_text().splitlines()]
        for run in ("one", "two")
    ]
    assert len(records[0]) == 14
    for one, two in zip(*records, strict=True):
        del one["time"], two["time"]
        assert two == pytest.approx(one, abs=1e-9)
    states = [read_state(Run(tmp_path / run).state) for run in ("one", "two")]
    assert states[0].loop == states[1].loop
    # With few captions, gradients are so small that Adam divides their rounding by numbers close to it.
    tolerance = 1e-8 if changes else 1e-9
    for name, weights in states[0].model.items():
        torch.testing.assert_close(states[1].model[name], weights, rtol=0, atol=tolerance)


@pytest.mark.slow
def test_a_failure_of_the_first_process_ends_the_others(tmp_path):
    """They would wait for it forever."""
    write_collection(tmp_path)
    recipe = write_recipe(
        tmp_path / "recipe.yaml", tiny_config(tmp_path, tmp_path / "run", devices=2, epochs=100)
    )

    def limit_file_size() -> None:  # as if the disk were full, for the process that writes
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_500, 2_500))

    done = run("-m", "mlcmr", "train", recipe, preexec_fn=limit_file_size)
    assert done.returncode == 2, done.stderr
    *_, last = done.stderr.splitlines()
    assert last.startswith(f"mlcmr: {tmp_path / 'run'}")
    assert "cannot be written" in last
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("failing", ["the second", "both"])
def test_a_failure_of_any_process_is_one_line(tmp_path, failing):
    write_collection(tmp_path)
    config = tiny_config(tmp_path, tmp_path / "run", devices=2)
    pairs = read_training_pairs(config.open_collection(), config.as_scenario())
    sampler = EpochSampler(len(pairs.videos), config.batch_size, config.seed, process=1, processes=2)
    video = pairs.videos[next(iter(sampler)).examples[0]]
    features = config.open_collection().open_features(config.feature)
    matrix = np.array(features.matrix)
    matrix[features.rows(video) if failing == "the second" else slice(None)] = np.nan
    matrix.tofile(features.folder / "feature.bin")
    recipe = write_recipe(tmp_path / "recipe.yaml", config)
    done = run("-m", "mlcmr", "train", recipe)
    assert done.returncode == 2, done.stderr
    beginnings = [line.split(" ")[0] for line in done.stderr.splitlines()]
    assert beginnings == ["validating", "text", "mlcmr:"], done.stderr
    assert failing == "both" or f"of video '{video}'" in done.stderr


@pytest.mark.slow
def test_the_first_process_raises_the_error_of_another(tmp_path):
    done = run_script(FAILING_SCRIPT, tmp_path)
    assert done.stdout == "NotFoundError('no such frame') in.txt 3 frame True\n", done.stderr


@pytest.mark.slow
def test_the_first_process_is_interrupted_with_another(tmp_path):
    """A scheduler may send SIGTERM to one process only."""
    done = run_script(INTERRUPTED_SCRIPT, tmp_path, "train")
    assert done.returncode == 130, done.stderr
    assert "mlcmr: interrupted" in done.stderr
    assert "Traceback" not in done.stderr


INTERRUPTED_SCRIPT = """
import os, signal, sys
from mlcmr.cli import main
from mlcmr.data.batches import PairDataset

def interrupt(*_):
    os.kill(os.getpid(), signal.SIGTERM)

if os.environ.get("LOCAL_RANK", "0") == "1":
    PairDataset.__getitem__ = interrupt
sys.exit(main(sys.argv[1:]))
"""


FAILING_SCRIPT = """
import os, sys
import mlcmr
from mlcmr.data.batches import PairDataset
from mlcmr.errors import NotFoundError
from mlcmr.training.distributed import is_reported

def fail(*_):
    raise NotFoundError("no such frame", path="in.txt", line=3, parameter="frame")

if os.environ.get("LOCAL_RANK", "0") == "1":
    PairDataset.__getitem__ = fail
try:
    mlcmr.train(sys.argv[1])
except NotFoundError as error:
    if os.environ["LOCAL_RANK"] == "0":
        print(repr(error), error.path, error.line, error.parameter, is_reported(error))
"""


@pytest.mark.parametrize(
    ("environment", "started"),
    [
        (as_torchrun(0, 2), "torchrun has started is 2"),
        (as_srun(2), "SLURM has started is 2"),
        (as_srun(2, SLURM_STEP_NUM_TASKS="1"), "SLURM has started is 1"),
    ],
    ids=["torchrun", "srun", "a batch script"],
)
def test_the_processes_are_the_devices(environment, started, monkeypatch, tmp_path):
    """Each process would else train alone, or wait for processes that nobody has started."""
    write_collection(tmp_path)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert count_devices("auto") == int(started[-1])
    with pytest.raises(InvalidValueError, match=f"`devices` is 3, but .* {started};") as refused:
        train(tiny_config(tmp_path, tmp_path / "run", devices=3))
    assert refused.value.parameter == "devices"
    assert not (tmp_path / "run").exists()


def test_several_nodes_of_slurm_are_refused_before_a_file_is_written(monkeypatch, tmp_path):
    write_collection(tmp_path)
    for name, value in as_srun(2, SLURM_NTASKS_PER_NODE="1", SLURM_NNODES="2").items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InvalidValueError, match=r"`devices` 2 .*tasks per node"):
        train(tiny_config(tmp_path, tmp_path / "run", devices=2))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"])
def test_one_process_writes(name, monkeypatch):
    """However the processes were started: by Lightning, torchrun or SLURM."""
    assert is_first_process()
    monkeypatch.setenv(name, "0")
    assert is_first_process()
    monkeypatch.setenv(name, "1")
    assert not is_first_process()
