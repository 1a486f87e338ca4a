"""`mlcmr train`: from settings to a run folder."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric
from lightning.fabric.loggers.logger import Logger
from lightning.fabric.plugins import MixedPrecision
from lightning.fabric.strategies.ddp import DDPStrategy
from lightning.fabric.utilities.exceptions import MisconfigurationException

from mlcmr.arguments import check_arguments
from mlcmr.data.batches import EpochSampler, PairDataset, pair_loader
from mlcmr.data.collection import FEW
from mlcmr.data.features.frame_features import FrameFeatures
from mlcmr.data.scenarios import Queries, TrainingPairs, read_training_pairs, read_validation
from mlcmr.errors import InvalidValueError, MlcmrError, OutOfResourcesError, is_out_of_space
from mlcmr.evaluation.metrics import MetricFunction
from mlcmr.evaluation.validate import ValidationScore, select_score
from mlcmr.losses.selection import Loss, select_loss
from mlcmr.model.checkpoint import load_weights
from mlcmr.model.config import TextConfig
from mlcmr.model.device import is_out_of_memory
from mlcmr.model.encoders.scratch import new_encoder
from mlcmr.model.encoders.text import TextEncoder, pretrained_encoder, transformer_layers
from mlcmr.model.legacy_checkpoint import PUBLISHED_FROZEN
from mlcmr.model.mlcmr import MLCMR
from mlcmr.paths import user_path
from mlcmr.progress import SILENT, Progress
from mlcmr.registry import ALLOW_CODE, is_code, name_of
from mlcmr.text import plural
from mlcmr.training.averaging import WeightAverage
from mlcmr.training.checkpoint import LoopState, TrainingState, read_state
from mlcmr.training.config import TrainConfig
from mlcmr.training.distributed import (
    count_devices,
    failing_together,
    interrupted_by_sigterm,
    is_first_process,
    slurm_signal,
)
from mlcmr.training.fingerprint import hash_inputs
from mlcmr.training.loggers import GivenLogger, logger_names, make_loggers
from mlcmr.training.loop import TrainingLoop
from mlcmr.training.metrics_log import MetricsLog
from mlcmr.training.provenance import provenance_of
from mlcmr.training.recipes import change_settings, read_recipe
from mlcmr.training.run_folder import Run, open_run_folder, record_start
from mlcmr.training.schedule import Schedule, load_optimizer, make_optimizer
from mlcmr.training.step import TrainingStep
from mlcmr.trust import NotRecordedError, remember


@check_arguments
def train(
    config: TrainConfig | str | Path,
    *,
    loss: Loss | None = None,
    validation_metric: str | MetricFunction | None = None,
    logger: GivenLogger | Sequence[GivenLogger] | None = None,
    progress: Progress = SILENT,
    **overrides: Any,
) -> Run:
    """Train a model by a recipe, or continue an interrupted run.

    Example:
        >>> run = train("configs/sample/parallel.yaml", rootpath="demo", optimizer={"clip": 1.0})
        >>> MLCMR.from_pretrained(run.model)

    Args:
        config: The settings, or the path of a recipe.
        loss: A loss to use instead of the one that the settings name.
        validation_metric: A metric to use instead of the one that the settings name.
        logger: A logger of Lightning to use instead of those that the settings name, its name, or a class or
            function that takes the folder of the run and the first step and returns it; or a list of them.
        progress: The receiver of progress and messages.
        **overrides: Settings that replace those of `config`. A dictionary replaces only the settings that it
            holds.

    Returns:
        The run; its best model is in `run.model`.

    Raises:
        MlcmrError: If the data or the settings cannot be used, memory or disk space runs out, or the loss is
            not a finite number; the state saved before stays.
    """
    if isinstance(validation_metric, str):
        overrides["validation_metric"], validation_metric = validation_metric, None
    if logger is not None:
        overrides["logger"] = logger_names(logger)
    objects = _Objects(loss, validation_metric, logger)
    if isinstance(config, TrainConfig):
        settings = change_settings(config, overrides)
    else:
        settings = read_recipe(config, overrides)
    shown = progress if is_first_process() else SILENT
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    with warnings.catch_warnings(), _machine_errors(settings):
        # About the function of torch that Lightning gathers features with.
        warnings.filterwarnings("ignore", message=".*is deprecated", category=FutureWarning)
        data = _read(settings, objects, shown)
        with open_run_folder(settings) as run:
            _train(settings, run, data, objects, shown)
    return run


@dataclass(frozen=True)
class _Objects:
    """The parts of a training that the caller gives as objects, which no setting names."""

    loss: Loss | None
    validation_metric: MetricFunction | None
    loggers: GivenLogger | Sequence[GivenLogger] | None


@dataclass(frozen=True)
class _Data:
    features: FrameFeatures
    pairs: TrainingPairs
    validation: list[Queries]
    score: ValidationScore


def build_model(config: TrainConfig, pairs: TrainingPairs, feature_size: int) -> MLCMR:
    """Return the model at the start of training; the same seed gives the same weights.

    Args:
        config: The settings.
        pairs: The training examples; a new text encoder learns its vocabulary from their captions.
        feature_size: The size of a frame feature.

    Raises:
        MlcmrError: If the text encoder cannot be opened or does not fit the settings.
    """
    torch.manual_seed(config.seed)
    text = config.model.text
    if text.new is None:
        transformer, tokenizer = pretrained_encoder(text)
    else:
        texts = chain.from_iterable(captions.texts for captions in pairs.captions.values())
        transformer, tokenizer = new_encoder(text.new, texts, lowercase=bool(text.lowercase))
    return MLCMR(config.model, feature_size, transformer, tokenizer, provenance_of(config))


def _read(config: TrainConfig, objects: _Objects, progress: Progress) -> _Data:
    """Read the training data, before anything is written."""
    text = config.model.text
    if text.new is not None and text.encoder != TextConfig.encoder:
        raise InvalidValueError(
            f"`model.text.encoder` is '{text.encoder}', but `model.text.new` asks for an encoder trained "
            "from nothing; choose one of them (set `model.text.new` to null)",
            parameter="model.text.encoder",
        )
    metric = objects.validation_metric
    score = select_score(config.validation_metric if metric is None else metric)
    config.language_sampler()
    collection = config.open_collection()
    scenario = config.as_scenario()
    features = collection.open_features(config.feature)
    pairs = read_training_pairs(collection, scenario, config.missing_captions)
    if pairs.skipped:
        progress.message(f"left out {plural(pairs.skipped, 'training example')}: no caption in some language")
    for line in pairs.gaps():
        progress.message(line)
    validation = read_validation(collection, scenario, config.validation_split)
    return _Data(features, pairs, validation, score)


def _train(config: TrainConfig, run: Run, data: _Data, objects: _Objects, progress: Progress) -> None:
    saved = read_state(run.state) if run.state.exists() else None
    state = saved.loop if saved else LoopState(Schedule(config.optimizer, config.optimizer.learning_rate))
    if state.schedule.stop or state.epoch >= config.epochs:
        done = plural(state.epoch, "epoch")
        progress.message(f"{run.folder} is trained already: {done}; remove the folder to begin again")
        return
    objective = select_loss(config.loss, objects.loss)
    model = build_model(config, data.pairs, data.features.dimension)
    text = model.text_encoder
    inputs = hash_inputs(data.pairs, data.validation, data.features, text.tokenizer)
    if objects.loss is not None:
        inputs["loss"] = name_of(objects.loss)
    if objects.validation_metric is not None:
        inputs["validation metric"] = data.score.name
    _require_same_inputs(run, saved, inputs)
    dataset = PairDataset(data.pairs, data.features, text.tokenize, text.mask_id, config.seed)
    loggers = config.logger if objects.loggers is None else objects.loggers
    fabric = _make_fabric(config, make_loggers(loggers, run.folder, state.step + 1))
    sampler = EpochSampler(
        len(dataset),
        config.batch_size,
        config.seed,
        fabric.global_rank,
        fabric.world_size,
        languages=config.language_sampler(),
    )
    record_start(run, config)
    _remember_code(config, progress)
    for line in _first_lines(config, run, data, saved, text):
        progress.message(line)

    def fit(fabric: Fabric) -> None:
        mixed = isinstance(fabric.strategy.precision, MixedPrecision)
        optimizer = make_optimizer(model, config.optimizer, fused=not mixed)
        step, optimizer = fabric.setup(TrainingStep(model, objective, fabric), optimizer)
        if saved:  # after the set-up, which converts the weights: 64-true would lose half of the digits
            load_weights(model, saved.model, str(run.state))
            load_optimizer(optimizer, saved.optimizer)
            fabric.strategy.precision.load_state_dict(saved.precision)
        average = _average_of(model, config, saved, run)
        loader = pair_loader(
            dataset, sampler, workers=config.workers, pin_memory=fabric.device.type == "cuda"
        )
        with MetricsLog(run.metrics, saved.metrics_bytes if saved else 0, fabric) as metrics:
            TrainingLoop(
                config=config,
                run=run,
                fabric=fabric,
                step=step,
                optimizer=optimizer,
                average=average,
                state=state,
                sampler=sampler,
                loader=loader,
                validation=data.validation,
                features=data.features,
                score=data.score,
                metrics=metrics,
                inputs=inputs,
                progress=progress,
                requeue=requeue,
            ).fit()

    with (
        interrupted_by_sigterm(),
        slurm_signal() as requeue,
        failing_together(fabric),
        _machine_errors(config),
        _no_autocast_cache(),
    ):
        fabric.launch(fit)


def _average_of(
    model: MLCMR, config: TrainConfig, saved: TrainingState | None, run: Run
) -> WeightAverage | None:
    """Return the moving average of the weights as it stands; none if none is asked for."""
    if not config.optimizer.average:
        return None
    average = WeightAverage(model, config.optimizer.average)
    if saved:
        load_weights(average.module, saved.average or {}, str(run.state))
        average.n_averaged.fill_(saved.loop.step)
    return average


def _remember_code(config: TrainConfig, progress: Progress) -> None:
    """Record the code that the model will name, so that later commands of this user open the model."""
    pooling = config.model.text.pooling
    if not is_first_process() or not is_code(pooling):
        return
    try:
        remember(code=[pooling])
    except NotRecordedError as error:
        progress.message(f"{error}; to use the model, set the environment variable {ALLOW_CODE}={pooling}")


def _require_same_inputs(run: Run, saved: TrainingState | None, inputs: dict[str, str]) -> None:
    before = saved.inputs if saved else inputs
    changed = [name for name in {**before, **inputs} if before.get(name) != inputs.get(name)]
    if changed:
        raise InvalidValueError(
            f"{run.folder}: this run was begun with other {', '.join(changed)}; choose another `run`, or "
            "remove the folder",
            path=run.folder,
        )


def _first_lines(
    config: TrainConfig, run: Run, data: _Data, saved: TrainingState | None, text: TextEncoder
) -> Iterator[str]:
    fewest = min(len(set(queries.captions.videos)) for queries in data.validation)
    if saved:
        yield f"going on with {run.folder} at epoch {saved.loop.epoch + 1}, step {saved.loop.step:,}"
    elif fewest < FEW:
        yield (
            f"validating on {plural(fewest, 'video')}: so few can hardly choose the best model; "
            "`validation_split` names another split"
        )
    yield _trained_layers(config, text)


def _trained_layers(config: TrainConfig, text: TextEncoder) -> str:
    """Return the number of layers of the text encoder that are trained, as a line."""
    layers = len(transformer_layers(text.transformer))
    chosen = config.model.text.trained_layers
    trained = layers if chosen == "all" else chosen
    line = f"text encoder: {trained} of {plural(layers, 'layer')} {'is' if trained == 1 else 'are'} trained"
    if chosen == "all":
        line = f"{line}, and the token embeddings"
    published = max(layers - PUBLISHED_FROZEN, 0)
    # A new encoder can only be trained whole.
    if config.model.padding == "published" and config.model.text.new is None and chosen != published:
        return f"{line}; the published code trains {published} (`model.text.trained_layers` {published})"
    return line


def _make_fabric(config: TrainConfig, loggers: list[Logger]) -> Fabric:
    devices = count_devices(config.devices)
    try:
        fabric = Fabric(
            accelerator=config.accelerator,
            devices=devices,
            precision=config.precision,
            loggers=loggers,
        )
        strategy = fabric.strategy
        if isinstance(strategy, DDPStrategy) and (environment := strategy.cluster_environment):
            # Lightning checks the nodes of SLURM only at the launch, when files are written.
            environment.validate_settings(strategy.num_processes, strategy.num_nodes)
    except (MisconfigurationException, RuntimeError, ValueError, TypeError, ImportError) as error:
        raise InvalidValueError(
            f"`accelerator` {config.accelerator} `devices` {config.devices} `precision` {config.precision}: "
            f"not on this machine: {error}"
        ) from error
    return fabric


@contextmanager
def _no_autocast_cache() -> Iterator[None]:
    """Cast the weights anew for each view: torch then sums the gradients of the views in float32."""
    before = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        yield
    finally:
        torch.set_autocast_cache_enabled(before)


@contextmanager
def _machine_errors(config: TrainConfig) -> Iterator[None]:
    """Turn a lack of memory or disk space, or the death of a loading process, into an error of one line."""
    run = Run(user_path(config.run))
    try:
        yield
    except MlcmrError:
        raise
    except OSError as error:
        where = error.filename or config.run
        kind = OutOfResourcesError if is_out_of_space(error) else MlcmrError
        raise kind(
            f"{where}: {error.strerror or error}{run.saved_state_hint}", path=error.filename
        ) from error
    except (MemoryError, RuntimeError) as error:
        fault = str(error).partition("\n")[0][:160]
        if "DataLoader worker" in fault:
            raise OutOfResourcesError(
                f"a process that loads batches died ({fault}): memory or shared memory (/dev/shm) is short; "
                f"lower `workers` (now {config.workers}){run.saved_state_hint}",
                parameter="workers",
            ) from error
        if not is_out_of_memory(error):
            raise
        raise OutOfResourcesError(
            f"out of memory ({fault}): lower `batch_size` (now {config.batch_size}), or set "
            f"`precision` to bf16-mixed on a GPU{run.saved_state_hint}",
            parameter="batch_size",
        ) from error
