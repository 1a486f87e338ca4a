"""The execution of a plan: extract new files, embed new videos and captions, and write the index."""

import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import filterfalse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlcmr.data.collection import Collection
from mlcmr.errors import InvalidValueError, NotFoundError
from mlcmr.extraction.discovery import removed_files
from mlcmr.paths import folder_or_id
from mlcmr.progress import SILENT, Progress
from mlcmr.registry import is_code, is_importable
from mlcmr.search.indexing.index_source import IndexSource, extract_command, files_outside, without_features
from mlcmr.search.indexing.manifest import IndexInfo, write_info
from mlcmr.search.indexing.plan import (
    IndexPlan,
    are_all_gone,
    encoding_of,
    open_index_source,
    plan_settings,
    require_feature,
    require_free,
)
from mlcmr.search.indexing.request import IndexRequest
from mlcmr.search.indexing.storage import COLLECTION, IndexWriter, open_published
from mlcmr.search.indexing.summary import IndexSummary
from mlcmr.search.indexing.update import (
    Changes,
    plan_removal,
    plan_update,
    read_content,
    remove_videos,
    update_index,
)
from mlcmr.search.model_description import ModelDescription
from mlcmr.search.models import (
    OpenModel,
    is_model_of,
    open_again,
    open_model,
    open_named_encoder,
    same_encoder,
)
from mlcmr.search.stores.registry import store_name
from mlcmr.text import plural, printable
from mlcmr.trust import NotRecordedError, remember

if TYPE_CHECKING:
    from mlcmr.extraction.encoders.base import FrameEncoder


def execute_plan(plan: IndexPlan, *, progress: Progress = SILENT) -> IndexSummary:
    """Make the changes of a plan.

    The index is locked and planned again first: its content or the source may have changed since the plan was
    made.

    Args:
        plan: The plan.
        progress: Shows the progress.

    Raises:
        MlcmrError: If something is missing or damaged, the features do not fit the model, the index was made
            with another model, or another process writes the index.
    """
    request = plan.request
    if request.place is None:
        with IndexWriter(request.folder, url=request.url, store=request.store) as writer:
            content = read_content(writer.open_stores())
            update = plan_removal(content, request.remove)
            remove_videos(writer, content, update.removed)
        changes = Changes(removed=len(update.removed), unchanged=len(update.unchanged))
        return _summary(replace(plan, update=update), changes)
    opened = _open_model(plan, request)
    with IndexWriter(request.folder, url=request.url, store=request.store) as writer:
        # Another process may have made or changed the index in the meantime.
        plan = plan_settings(request)
        _require_same_model(plan, opened)
        require_free(plan)
        extraction, collection = "", request.collection
        if collection is None:
            plan, extraction = _extract(plan, opened, progress)
            collection = Collection(request.folder / COLLECTION, COLLECTION)
        source = open_index_source(plan, collection)
        _require_fit(source, opened)
        encoding = encoding_of(source.features.folder)
        _require_same_encoder(source, encoding, plan, opened.description)
        info = plan.info or IndexInfo(
            str(uuid.uuid4()),
            opened.info,
            source.features.folder.name,
            url=plan.url,
            name=plan.name,
            store=None if request.store is None else store_name(request.store),
        )
        write_info(request.folder, _described(info, opened, encoding, request))
        failure = _remember(plan, info, source, opened)
        update = plan_update(
            request.folder,
            writer.open_stores(),
            source,
            remove=request.remove,
            prune=request.prune,
            captions=request.captions,
        )
        changes = update_index(writer, update, source, opened, progress=progress)
    return _summary(
        replace(plan, update=update),
        changes,
        extraction,
        missing="" if extraction else without_features(source, encoding),
        closed=_describe_outside(files_outside(source), failure),
        gone=_describe_gone(changes, source, extraction),
    )


# ─── steps ───────────────────────────────────────────────────────────────────────────────────────────────


def _open_model(plan: IndexPlan, request: IndexRequest) -> OpenModel:
    """Open the model, which may be downloaded if the user has named it."""
    given = request.model if request.run is None else request.run
    if given is not None:
        return open_model(given, device=request.device)
    assert plan.info is not None
    return open_again(plan.info.model, device=request.device)


def _extract(plan: IndexPlan, opened: OpenModel, progress: Progress) -> tuple[IndexPlan, str]:
    """Extract videos into the collection of the index; return the plan with their feature, and a summary."""
    from mlcmr.extraction.extract_collection import extract  # noqa: PLC0415 – needs PyAV

    request, info, name = plan.request, plan.info, plan.encoder
    assert request.place is not None
    assert name is not None
    if request.prune and info is not None and are_all_gone(request):
        raise NotFoundError(
            f"{request.place}: no videos or images there any more; remove the index {request.folder} itself"
        )
    collection = request.folder / COLLECTION
    encoder = _open_encoder(name, request)
    if encoder.dimension != opened.info.feature_size:
        raise InvalidValueError(
            f"encoder {name}: makes features of {encoder.dimension:,} numbers, but the model takes "
            f"{opened.info.feature_size:,}; name the encoder of the training (`encoder`)",
            parameter="encoder",
        )
    require_feature(request.folder, info, encoder.feature)
    # The sampling of the features that exist; else that of the index, or of the training.
    done = encoding_of(Collection(collection, COLLECTION).feature_folder(encoder.feature))
    samplings = [(done.get("rate"), done.get("count"))]
    samplings += [(one.rate, one.count) for one in (info, opened.description) if one is not None]
    rate, count = next(filter(any, samplings), (None, None))
    summary = extract(
        request.place,
        collection,
        encoder=encoder,
        rate=rate,
        count=count,
        prune=request.prune,
        device=request.device,
        batch_size=request.batch_size,
        progress=progress,
    )
    return replace(plan, encoder=encoder.name, feature=summary.feature), str(summary)


def _open_encoder(name: str, request: IndexRequest) -> "FrameEncoder":
    if request.encoder is None or isinstance(request.encoder, (str, os.PathLike)):
        return open_named_encoder(
            name, device=request.device, models=request.named_models, parameter="encoder"
        )
    return request.encoder


def _described(
    info: IndexInfo, opened: OpenModel, encoding: Mapping[str, Any], request: IndexRequest
) -> IndexInfo:
    """Return the description of an index, with the current folder of its model and its encoder.

    The encoder is the one that the user names now; else that of the index, of the features, or of the model.
    """
    info = replace(info, model=opened.info)
    if encoding:
        info = replace(info, rate=encoding.get("rate"), count=encoding.get("count"))
    if request.encoder_name is not None:
        known_as = encoding.get("encoder", info.known_as)
        return replace(info, encoder=folder_or_id(request.encoder_name), known_as=known_as)
    encoder = info.encoder or encoding.get("encoder") or opened.description.encoder
    return replace(info, encoder=encoder)


def _remember(plan: IndexPlan, info: IndexInfo, source: IndexSource, opened: OpenModel) -> str:
    """Record what the user has named: server, models, code, folders; return the failure, or an empty text."""
    request = plan.request
    url = plan.url if request.url is not None else None
    named = request.named_models
    if request.model is not None and opened.info.kind == "pretrained" and not os.path.isdir(opened.info.name):
        named.append(opened.info.name)  # an opened model says which hub id it comes from
    store = "" if request.store is None else store_name(request.store)
    try:
        remember(
            url=url,
            models=filterfalse(is_code, named),
            code=filter(is_importable, [*named, store]),
            index=(request.folder, info.id),
            roots=source.roots,
        )
    except NotRecordedError as error:
        return str(error)
    return ""


# ─── checks ──────────────────────────────────────────────────────────────────────────────────────────────


def _require_same_model(plan: IndexPlan, opened: OpenModel) -> None:
    info, folder = plan.info, plan.request.folder
    if info is not None and not is_model_of(info.model, opened):
        raise InvalidValueError(
            f"{folder}: this index was made with another model, {info.model.name}; its vectors cannot be "
            f"compared with those of {opened.info.name}; index into another folder (`to`)",
            parameter="to",
        )


def _require_fit(source: IndexSource, opened: OpenModel) -> None:
    if source.features.dimension != opened.info.feature_size:
        raise InvalidValueError(
            f"{source.features.folder}: features of {source.features.dimension:,} numbers, but the model "
            f"takes {opened.info.feature_size:,}; name the feature of the training (`feature`)",
            parameter="feature",
        )


def _require_same_encoder(
    source: IndexSource, encoding: Mapping[str, Any], plan: IndexPlan, model: ModelDescription
) -> None:
    """Refuse features of another encoder: equal names and sizes do not make them comparable."""
    made_by = encoding.get("encoder")
    if made_by is None or plan.request.encoder is not None:  # the user declares that the encoders are equal
        return
    info = plan.info
    known = [info.encoder, info.known_as] if info is not None and info.encoder else [model.encoder]
    wanted = [name for name in known if name is not None]
    if wanted and not any(same_encoder(name, made_by) for name in wanted):
        raise InvalidValueError(
            f"{source.features.folder}: made by {made_by}, but {model.name} takes the features of "
            f"{wanted[0]}; extract those and name their `feature`, or, if both encoders are the same, give "
            f"`encoder` {wanted[0]}",
            parameter="encoder",
        )


# ─── summary ─────────────────────────────────────────────────────────────────────────────────────────────


def _describe_outside(outside: Sequence[str], failure: str) -> str:
    """Return a line about files that `mlcmr serve` will not hand out, or about names not recorded."""
    if failure:
        return f"the names that you gave could not be recorded, so give them to `mlcmr serve` too: {failure}"
    if not outside:
        return ""
    folder = printable(Path(os.path.realpath(outside[0])).parent)
    files = (
        f"{plural(len(outside), 'file')} outside the folders that were extracted, as {printable(outside[0])}"
    )
    return f"{files}; to hand them out: `mlcmr serve --media-root {folder}`"


def _describe_skipped(changes: Changes) -> str:
    """Return a line about videos and captions that were left out; empty if there are none."""
    counts = ((changes.skipped, "video"), (changes.skipped_captions, "caption"))
    named = " and ".join(plural(len(faults), what) for faults, what in counts if faults)
    return f"{named} whose numbers cannot be compared, not indexed" if named else ""


def _describe_gone(changes: Changes, source: IndexSource, extraction: str) -> str:
    """Return a line about kept videos that left the source or lost their file; empty if there are none."""
    notes = []
    if changes.left:
        notes.append(f"{plural(changes.left, 'video')} no longer in the source, kept; `prune` removes them")
    lost = removed_files(record for record in source.videos.values() if record.path)
    if lost and not extraction:  # the summary of the extraction says the same
        command = extract_command(Path("FOLDER"), source.collection.folder)
        notes.append(
            f"{plural(len(lost), 'video')} whose file is gone, kept with their features; "
            f"`{command}` with `prune` removes them"
        )
    return "; ".join(notes)


def _summary(
    plan: IndexPlan,
    changes: Changes,
    extraction: str = "",
    *,
    missing: str = "",
    closed: str = "",
    gone: str = "",
) -> IndexSummary:
    request = plan.request
    _, stores = open_published(request.folder, url=request.url, store=request.store)
    try:
        return IndexSummary(
            folder=request.folder,
            added=changes.added,
            changed=changes.changed,
            removed=changes.removed,
            unchanged=changes.unchanged,
            segments=stores.segments.count(),
            captions=stores.captions.count(),
            exact=stores.segments.exact,
            extraction=extraction,
            missing=missing,
            closed=closed,
            gone=gone,
            skipped=_describe_skipped(changes),
            plan=plan,
        )
    finally:
        stores.close()
