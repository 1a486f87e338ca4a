"""`mlcmr train`: from settings to a run folder."""

import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import chain

import lightning.pytorch as pl
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch.loggers import TensorBoardLogger

from mlcmr.data.batches import EpochSampler, PairDataset, pair_loader
from mlcmr.data.collection import FEW
from mlcmr.data.features import FrameFeatures
from mlcmr.data.scenario import Queries, TrainingPairs, read_training_pairs, read_validation
from mlcmr.display import Display, many
from mlcmr.errors import UserError
from mlcmr.model.checkpoint import load_weights
from mlcmr.model.device import is_out_of_memory
from mlcmr.model.mlcmr import MLCMR
from mlcmr.model.new_encoder import new_encoder
from mlcmr.model.text import pretrained_encoder
from mlcmr.training.bar import ProgressBar
from mlcmr.training.callbacks import MetricsFile, Record, SaveState, Validate
from mlcmr.training.config import TrainConfig
from mlcmr.training.fingerprint import fingerprints
from mlcmr.training.module import TrainingModule
from mlcmr.training.optimizer import Schedule
from mlcmr.training.progress import RunProgress
from mlcmr.training.run import Run, is_first_process, open_run, record_start
from mlcmr.training.state import read_state


def train(config: TrainConfig) -> Run:
    """Trains a model, or goes on where a run was interrupted.

    Args:
        config: All settings.

    Returns:
        The run; its best model is in `run.model`.

    Raises:
        UserError: something in the data or the settings cannot be used, memory or disk ran out, or the loss
            is not a number; what was saved before stays.
    """
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    with Display(quiet=not is_first_process()) as display, warnings.catch_warnings(), _machine_errors(config):
        # Lightning's use of a class that torch deprecates: nothing that a user could mend.
        warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)
        # Lightning's advice on settings that are meant as they are.
        warnings.filterwarnings("ignore", category=PossibleUserWarning)
        data = _read(config, display)
        with open_run(config) as run:
            _fit(config, run, data, display)
    return run


@dataclass(frozen=True)
class _Data:
    features: FrameFeatures
    pairs: TrainingPairs
    validation: list[Queries]


def build_model(config: TrainConfig, pairs: TrainingPairs, feature_size: int) -> MLCMR:
    """The model at the start of training: the same for the same seed.

    Raises:
        UserError: the text encoder cannot be opened or does not fit the settings.
    """
    torch.manual_seed(config.seed)
    text = config.model.text
    if text.new is None:
        transformer, tokenizer = pretrained_encoder(text)
    else:
        texts = chain.from_iterable(column.texts for column in pairs.columns.values())
        transformer, tokenizer = new_encoder(text.new, texts, lowercase=bool(text.lowercase))
    return MLCMR(config.model, feature_size, transformer, tokenizer)


def _read(config: TrainConfig, display: Display) -> _Data:
    """Reads all that training needs, so that nothing is written before it is known to be there."""
    collection = config.open_collection()
    scenario = config.as_scenario()
    features = collection.open_features(config.feature)
    pairs = read_training_pairs(collection, scenario, config.missing_captions)
    if pairs.skipped:
        display.say(f"left out {many(pairs.skipped, 'training example')}: no caption in some language")
    return _Data(features, pairs, read_validation(collection, scenario, config.validation_split))


def _fit(config: TrainConfig, run: Run, data: _Data, display: Display) -> None:
    state = read_state(run.state) if run.state.exists() else None
    fresh = RunProgress(Schedule(config.optimizer, config.optimizer.learning_rate))
    progress = state.progress if state else fresh
    if progress.schedule.stop or progress.epoch >= config.epochs:
        done = many(progress.epoch, "epoch")
        display.say(f"{run.folder} is trained already: {done}; remove the folder to begin again")
        return
    model = build_model(config, data.pairs, data.features.dimension)
    text = model.text_encoder
    found = fingerprints(data.pairs, data.validation, data.features, text.tokenizer)
    if state and (others := [name for name, digest in found.items() if state.data.get(name) != digest]):
        raise UserError(
            f"{run.folder}: this run was begun with other {', '.join(others)}; choose another --run, or "
            "remove the folder"
        )
    dataset = PairDataset(data.pairs, data.features, text.tokenize, text.mask_id, config.seed)
    trainer = _trainer(config, run, progress.step)
    record_start(run, config)
    if state:
        trainer.precision_plugin.convert_module(model)  # first, or 64-true would lose half of the digits
        load_weights(model, state.model, str(run.state))
        trainer.precision_plugin.load_state_dict(state.precision)
        display.say(f"going on with {run.folder} at epoch {progress.epoch + 1}, step {progress.step:,}")
    elif (fewest := min(len(set(one.captions.videos)) for one in data.validation)) < FEW:
        display.say(
            f"validating on {many(fewest, 'video')}: so few can hardly choose the best model; "
            "--validation-split names another split"
        )
    module = TrainingModule(model, config, progress, state.optimizer if state else None)
    trainer.fit_loop.epoch_progress.current.processed = progress.epoch  # type: ignore[attr-defined]
    sampler = EpochSampler(
        len(dataset), config.batch_size, config.seed, trainer.global_rank, trainer.world_size
    )
    sampler.resume(progress.epoch, progress.batch)
    loader = pair_loader(
        dataset, sampler, workers=config.workers, pin_memory=trainer.strategy.root_device.type == "cuda"
    )
    model.train()
    with closing(MetricsFile(run.metrics, state.metrics_bytes if state else 0)) as metrics:
        trainer.callbacks += [  # type: ignore[attr-defined]
            Record(metrics, config.log_every),
            Validate(data.validation, data.features, metrics, run.model, display.work),
            ProgressBar(display, config.epochs, math.ceil(len(dataset) / config.batch_size)),
            SaveState(run.state, metrics, config.checkpoint_minutes, found),
        ]
        try:
            trainer.fit(module, loader)
        except SystemExit as error:  # how Lightning ends after Ctrl-C, or when it is told to terminate
            raise KeyboardInterrupt from error


def _trainer(config: TrainConfig, run: Run, step: int) -> pl.Trainer:
    try:
        return pl.Trainer(
            max_epochs=config.epochs,
            precision=config.precision,
            accelerator=config.accelerator,
            devices=config.devices,
            gradient_clip_val=config.optimizer.clip,
            use_distributed_sampler=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            logger=TensorBoardLogger(run.folder, "tensorboard", version="", purge_step=step),
        )
    except (MisconfigurationException, ValueError, TypeError, ImportError) as error:
        raise UserError(
            f"--accelerator {config.accelerator} --devices {config.devices} --precision {config.precision}: "
            f"not on this machine: {error}"
        ) from error


@contextmanager
def _machine_errors(config: TrainConfig) -> Iterator[None]:
    """Says in one line what the machine lacks."""
    try:
        yield
    except OSError as error:
        where = error.filename or config.run
        raise UserError(f"{where}: {error.strerror or error}; the last saved state stays") from error
    except (MemoryError, RuntimeError) as error:
        reason = str(error).partition("\n")[0][:160]
        if "DataLoader worker" in reason:
            raise UserError(
                f"a process that loads batches died ({reason}): memory or shared memory (/dev/shm) is short; "
                f"lower --workers (now {config.workers}); the last saved state stays in {config.run}"
            ) from error
        if not is_out_of_memory(error):
            raise
        raise UserError(
            f"out of memory ({reason}): lower --batch-size (now {config.batch_size}), or set "
            f"--precision bf16-mixed on a GPU; the last saved state stays in {config.run}"
        ) from error
