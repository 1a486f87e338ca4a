"""The plan of `mlcmr.index`: a value that says what will change in an index, and why.

A plan opens no model and decodes no videos. Its execution takes the lock of the index
and plans again, once and by the same functions: another process may have changed the index since. So a plan
may be executed at any later time, and from any working directory.
"""

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlcmr.data.collection import Collection
from mlcmr.errors import InvalidValueError, MlcmrError, NotFoundError
from mlcmr.extraction.feature_writer import ENCODER, read_encoder_settings
from mlcmr.extraction.plan import ExtractionPlan, describe_unread, plan_extraction, real_path
from mlcmr.extraction.records import VideoRecord, read_videos, videos_file
from mlcmr.paths import user_path
from mlcmr.progress import SILENT, Progress
from mlcmr.search.default_model import DEFAULT_MODEL
from mlcmr.search.indexing.index_source import (
    IndexSource,
    SourceContent,
    extract_command,
    open_source,
    planned_content,
)
from mlcmr.search.indexing.manifest import INFO, IndexInfo, read_info
from mlcmr.search.indexing.request import IndexRequest
from mlcmr.search.indexing.storage import COLLECTION, Stores, collection_names, open_published, store_of
from mlcmr.search.indexing.update import (
    EMPTY,
    StoredContent,
    UpdatePlan,
    find_skipped,
    plan_removal,
    plan_update,
    read_content,
    require_usable_features,
)
from mlcmr.search.model_description import (
    ModelDescription,
    describe_object,
    describe_pretrained,
    describe_run,
    is_run,
    local_fingerprint,
    local_folder,
    require_recorded_model,
    require_same_weights,
    same_encoder,
)
from mlcmr.search.stores.base import on_server
from mlcmr.search.stores.registry import EDGE, SERVER, store_class, store_name
from mlcmr.text import plural, printable

if TYPE_CHECKING:
    from mlcmr.search.indexing.summary import IndexSummary

_SHOWN = 10  # names in a printed list


@dataclass(frozen=True)
class IndexPlan:
    """The changes that `mlcmr.index` will make. `str` shows it to people, `to_dict` to programs.

    Attributes:
        request: The parameters, with absolute paths.
        info: The description of the index; None if there is no index yet.
        model: The model; None if videos are only removed.
        encoder: The frame encoder, as far as it is known.
        feature: The frame feature, as far as it is known.
        store: The name of the vector store.
        url: The address of the server that keeps the vectors; None for a store in the index's folder.
        name: The prefix of the collections on the server.
        extraction: The files to extract; None for a collection.
        update: The changes of the index; before an extraction, those that follow if every file can be read.
        by_default: Whether the model is `DEFAULT_MODEL`, because the user has named none.
    """

    request: IndexRequest
    info: IndexInfo | None
    model: ModelDescription | None
    encoder: str | None
    feature: str | None
    store: str
    url: str | None
    name: str | None
    extraction: ExtractionPlan | None = None
    update: UpdatePlan | None = None
    by_default: bool = False

    def execute(self, *, progress: Progress = SILENT) -> "IndexSummary":
        """Make the changes; see `execute`."""
        from mlcmr.search.indexing.execute import execute  # noqa: PLC0415 – imports torch

        return execute(self.request, progress=progress)

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as JSON can hold it."""
        content: dict[str, Any] = {
            "index": str(self.request.folder),
            "source": None if self.request.place is None else str(self.request.place),
            "new_index": self.info is None,
            "model": None if self.model is None else self.model.name,
            "encoder": self.encoder,
            "feature": self.feature,
            "store": self.store,
            "url": self.url,
            "name": self.name,
            "extraction": None,
            "update": None,
        }
        if (extraction := self.extraction) is not None:
            content["extraction"] = {
                "new": list(map(str, extraction.new)),
                "changed": list(map(str, extraction.changed)),
                "unchanged": extraction.unchanged,
                "moved": extraction.moved,
                "others": dict(extraction.others),
                "gone": list(extraction.gone),
                "away": {str(folder): count for folder, count in extraction.away.items()},
                "skipped": {str(path): why for path, why in extraction.skipped.items()},
            }
        if (update := self.update) is not None:
            content["update"] = {
                "added": list(update.added),
                "changed": list(update.changed),
                "removed": list(update.all_removed),
                "unchanged": len(update.unchanged),
                "kept": [] if update.pruned else list(update.left),
                "moved_sources": list(update.moved),
                "new_captions": [caption.caption_id for caption in update.new_captions],
                "old_captions": list(update.old_captions),
                "skipped": dict(update.skipped),
            }
        return content

    def __str__(self) -> str:
        new = ", a new index" if self.info is None else ""
        lines = [f"{printable(self.request.folder)}{new}: nothing has been changed"]
        if self.model is not None:
            reason = "" if self.info is None or self._names_model else ", as before"
            reason = ", the default" if self.by_default else reason
            lines.append(f"  model:    {printable(self.model.name)}{reason}")
            lines.append(f"  feature:  {self.feature or 'unknown'}, made by {self.encoder or 'unknown'}")
        place = "in the index's folder" if self.url is None else f"on {self.url}, as {self.name}"
        lines.append(f"  vectors:  {self.store}, {place}")
        if self.extraction is not None:
            lines += _describe_extraction(self.extraction)
        if self.update is not None:
            lines += _describe_update(self.update, with_names=self.extraction is None)
        return "\n".join(lines)

    @property
    def _names_model(self) -> bool:
        return self.request.run is not None or self.request.model is not None


def plan_index(request: IndexRequest, *, check_features: bool = True) -> IndexPlan:
    """Plan what `mlcmr.index` would do. Nothing is changed, downloaded or decoded.

    Example:
        >>> print(plan_index(IndexRequest(source="~/Videos", run="runs/mine")))

    Args:
        request: The parameters of `mlcmr.index`.
        check_features: Whether the features of new and changed videos are read, to find those that cannot be
            compared.

    Raises:
        MlcmrError: If something is missing or damaged, or the parameters do not fit the index.
    """
    plan = plan_settings(request)
    _require_same_weights(plan)
    stores = None
    if plan.info is not None:
        with suppress(NotFoundError):  # nothing has been published yet
            _, stores = open_published(request.folder, url=request.url, store=request.store, repair=False)
    try:
        plan = _plan_contents(plan, stores, check_features=check_features)
    finally:
        if stores is not None:
            stores.close()
    return replace(plan, request=request.absolute())


def _plan_contents(plan: IndexPlan, stores: Stores | None, *, check_features: bool) -> IndexPlan:
    """Add the changes of an index to the plan of its settings; see `plan_index`."""
    request = plan.request
    stored = EMPTY if stores is None else read_content(request.folder, stores)
    if request.place is None:
        return replace(plan, update=plan_removal(stored, request.remove))
    if request.collection is None:
        records = videos_file(request.folder / COLLECTION, plan.feature)
        known = read_videos(request.folder / COLLECTION, plan.feature) if os.path.isfile(records) else []
        return plan_videos(plan, stored, known)
    source = open_index_source(plan, request.collection)
    update = plan_changes(request, stored, source.content, stores)
    if check_features:
        if not stored.videos:
            require_usable_features(source)
        update = _without_skipped(update, find_skipped(source, [*update.added, *update.changed]))
    return replace(plan, update=update)


def plan_settings(request: IndexRequest) -> IndexPlan:
    """Plan the model, the feature and the vector store of an index, without its changes.

    Raises:
        MlcmrError: If the parameters do not fit the index, or there is no source or model.
    """
    request.require_paths()
    folder = request.folder
    info = read_info(folder) if os.path.exists(folder / INFO) else None
    if info is None and request.place is None:
        raise NotFoundError(
            f"{folder}: there is no index yet; give videos or a collection, and a model (`run` or `model`)",
            path=folder,
        )
    by_default = info is None and request.run is None and request.model is None
    if by_default:
        if request.collection is not None or request.encoder is not None:
            raise InvalidValueError(
                f"{folder}: there is no index yet; give the model of the features (`run` or `model`)",
                parameter="model",
            )
        request = replace(request, model=DEFAULT_MODEL)
    if info is not None and request.dimension not in (None, info.model.embedding_size):
        raise InvalidValueError(
            f"{folder}: the embeddings of this index have {info.model.embedding_size:,} numbers, and "
            f"`dimension` is {request.dimension:,}; index into another folder (`to`)",
            parameter="dimension",
        )
    if request.place is None and not request.remove:
        raise InvalidValueError("there is nothing to do; give a folder of videos, or a collection")
    store, url, name = _plan_store(request, info)
    plan = IndexPlan(
        request=request,
        info=info,
        model=None,
        encoder=None if info is None else info.encoder,
        feature=None if info is None else info.feature,
        store=store,
        url=url,
        name=name,
        by_default=by_default,
    )
    if request.place is None:
        return plan
    model = _describe_model(request, info)
    if request.collection is None:
        encoder = _encoder_of_videos(request, info, model)
        return replace(plan, model=model, encoder=encoder, feature=_feature_of_videos(request, encoder, info))
    feature = request.feature or (model.feature if info is None else info.feature)
    if feature is None:
        raise InvalidValueError(
            f"{model.name}: does not say which feature it takes; give the `feature`", parameter="feature"
        )
    require_feature(folder, info, feature)
    encoding = encoding_of(request.collection.feature_folder(feature))
    named = request.encoder_name or plan.encoder
    return replace(
        plan, model=model, feature=feature, encoder=named or encoding.get("encoder") or model.encoder
    )


def require_same_model(plan: IndexPlan, name: str, *, is_same: bool) -> None:
    """Check that an index was made with the model that the user names.

    Args:
        plan: The plan of the settings.
        name: The name of the model.
        is_same: Whether the model has the weights of the index.

    Raises:
        InvalidValueError: If it has other weights.
    """
    if plan.info is not None and not is_same:
        raise InvalidValueError(
            f"{plan.request.folder}: this index was made with another model, {plan.info.model.name}; its "
            f"vectors cannot be compared with those of {name}; index into another folder (`to`)",
            parameter="to",
        )


def _require_same_weights(plan: IndexPlan) -> None:
    """Refuse a model of other weights, as the execution does, if they can be compared without opening it."""
    info, model, given = plan.info, plan.model, plan.request.model
    if info is None or model is None:
        return
    fingerprint: str | None
    if "object" not in (model.kind, info.model.kind):
        fingerprint = local_fingerprint(model)
    elif given is None or isinstance(given, (str, os.PathLike)):
        return  # the fingerprint of an object is not that of a file
    else:
        fingerprint = given.fingerprint()
    if fingerprint is None:
        return
    if given is not None or plan.request.run is not None:
        require_same_model(plan, model.name, is_same=fingerprint == info.model.fingerprint)
    else:
        require_same_weights(info.model, fingerprint)


def require_feature_of_source(request: IndexRequest) -> None:
    """Check that a collection has the feature, before torch is imported, which takes seconds.

    Raises:
        NotFoundError: If the feature is missing; the message shows the command that makes it.
        MlcmrError: If the parameters do not fit the index, or there is no source or model.
    """
    plan = plan_settings(request)
    collection, feature = request.collection, plan.feature
    if collection is None or feature is None or os.path.isdir(collection.feature_folder(feature)):
        return
    open_index_source(plan, collection)


def plan_videos(plan: IndexPlan, stored: StoredContent, records: Iterable[VideoRecord]) -> IndexPlan:
    """Plan which files of a folder of videos are extracted, and how the index changes if all can be read.

    Args:
        plan: The plan of the settings.
        stored: The content of the index.
        records: The videos extracted before into the collection of the index.

    Raises:
        NotFoundError: If there is no such folder or no video in it, or no video of the index would be left.
        MlcmrError: If the videos do not fit the index, or a video to remove is not in the index.
    """
    request = plan.request
    assert request.place is not None
    own = Collection(request.folder / COLLECTION, COLLECTION)
    removed = plan_removal(stored, request.remove).removed
    # A link may lead to the collection of somebody who has not named this index.
    remove = () if own.folder.is_symlink() else removed
    extraction = plan_extraction(
        real_path(request.place), real_path(own.folder), records, remove=remove, prune=request.prune
    )
    if extraction.removes_all and os.path.exists(request.folder / INFO):
        raise NotFoundError(
            f"{request.place}: no videos or images there any more; remove the index {request.folder} itself"
        )
    extraction.require_files()
    content = planned_content(own, extraction, captions=request.captions)
    return replace(plan, extraction=extraction, update=plan_changes(request, stored, content))


def plan_changes(
    request: IndexRequest, stored: StoredContent, content: SourceContent, stores: Stores | None = None
) -> UpdatePlan:
    """Plan the changes of an index.

    Args:
        request: The parameters of `mlcmr.index`.
        stored: The content of the index.
        content: The content of the source.
        stores: The stores of the index; see `plan_update`.

    Raises:
        MlcmrError: If the source does not fit the index, or a video to remove is not in the index.
    """
    return plan_update(
        request.folder,
        stored,
        content,
        stores=stores,
        remove=request.remove,
        prune=request.prune,
        captions=request.captions,
    )


def open_index_source(plan: IndexPlan, collection: Collection) -> IndexSource:
    """Open the collection of a plan.

    Raises:
        NotFoundError: If its feature is missing; the message shows the command that makes it.
        InvalidValueError: If its feature was made by another encoder.
        MlcmrError: If a file is damaged.
    """
    assert plan.feature is not None
    request = plan.request
    roots = [os.path.realpath(path) for path in map(user_path, request.media_roots)]
    try:
        source = open_source(collection, plan.feature, captions=request.captions, roots=roots)
    except MlcmrError as error:
        videos, model = collection.folder / "VideoData", plan.model
        if os.path.isdir(collection.feature_folder(plan.feature)) or not os.path.isdir(videos):
            raise
        assert model is not None
        command = extract_command(
            videos,
            collection.folder,
            feature=plan.feature,
            encoder=model.encoder or "ENCODER",
            rate=model.rate or None,
            count=model.count or None,
        )
        raise NotFoundError(f"{error}; to make it: {command}") from error
    _require_same_encoder(source, plan)
    return source


def encoding_of(features: Path) -> dict[str, Any]:
    """Return the encoder and the sampling of a folder of features; empty if they are not known."""
    return read_encoder_settings(features) if os.path.isfile(features / ENCODER) else {}


def require_feature(folder: Path, info: IndexInfo | None, feature: str) -> None:
    """Check that an index holds this feature.

    Raises:
        InvalidValueError: If the index was made from another feature.
    """
    if info is not None and info.feature != feature:
        raise InvalidValueError(
            f"{folder}: this index was made from the feature '{info.feature}', not '{feature}'; "
            "index into another folder (`to`)",
            parameter="feature",
        )


def _require_same_encoder(source: IndexSource, plan: IndexPlan) -> None:
    """Refuse features of another encoder: equal names and sizes do not make them comparable."""
    assert plan.model is not None
    made_by = encoding_of(source.features.folder).get("encoder")
    if made_by is None or plan.request.encoder is not None:  # the user declares that the encoders are equal
        return
    info = plan.info
    known = [info.encoder, info.known_as] if info is not None and info.encoder else [plan.model.encoder]
    wanted = [name for name in known if name is not None]
    if wanted and not any(same_encoder(name, made_by) for name in wanted):
        raise InvalidValueError(
            f"{source.features.folder}: made by {made_by}, but {plan.model.name} takes the features of "
            f"{wanted[0]}; extract those and name their `feature`, or, if both encoders are the same, give "
            f"`encoder` {wanted[0]}",
            parameter="encoder",
        )


def _plan_store(request: IndexRequest, info: IndexInfo | None) -> tuple[str, str | None, str | None]:
    """Return the vector store, the address of its server, and the prefix of its collections."""
    if info is not None and request.store is None and request.url is None:
        return info.store_name, info.url, info.name
    if info is not None and info.url is not None and request.store is None:
        store, server = info.store_name, on_server(store_of(request.folder, info))
    else:
        given = request.store or (EDGE if request.url is None else SERVER)
        store, server = store_name(given), on_server(store_class(given, source=None))
    url = request.url or (None if info is None else info.url)
    if server is None and request.url is not None:
        raise InvalidValueError(f"`url` is for a store on a server, but `store` is {store}", parameter="url")
    if server is not None and url is None:
        raise InvalidValueError(f"`store` is {store}, which needs the `url` of its server", parameter="url")
    url = None if server is None or url is None else server.whole_address(url)
    if info is None:
        name = request.name or request.folder.resolve().name
        return store, url, None if url is None else name
    if (info.store_name, info.url, info.name) != (store, url, request.name or info.name):
        place = f"on the server {info.url}, with `name` {info.name}" if info.url else "in the folder itself"
        raise InvalidValueError(
            f"{request.folder}: the vectors of this index are {place}, with `store` {info.store_name}; "
            "index into another folder (`to`)",
            parameter="to",
        )
    return store, url, info.name


def require_free_name(plan: IndexPlan) -> None:
    """Check that the collections of a new index on a server do not exist yet.

    Raises:
        MlcmrError: If the name is taken, or the server cannot be used.
    """
    if plan.info is not None:
        return
    server = on_server(store_class(plan.request.store or plan.store, source=None))
    if server is not None:
        assert plan.url is not None
        server.require_free(plan.url, collection_names(plan.name))


def _describe_model(request: IndexRequest, info: IndexInfo | None) -> ModelDescription:
    if request.run is not None:
        return describe_run(request.run)
    if request.model is not None:
        if not isinstance(request.model, (str, os.PathLike)):
            return describe_object(request.model)
        if is_run(request.model):
            return describe_run(request.model)
        return describe_pretrained(request.model, local_folder(os.fspath(request.model)))
    assert info is not None
    require_recorded_model(info.model)
    if info.model.kind == "run":
        return describe_run(info.model.name)
    return describe_pretrained(info.model.name, local_folder(info.model.name))


def _encoder_of_videos(request: IndexRequest, info: IndexInfo | None, model: ModelDescription) -> str:
    """Return the frame encoder for videos that are not extracted yet."""
    from mlcmr.extraction.encoders.histogram import HISTOGRAM  # noqa: PLC0415 – needs PyAV

    encoder = request.encoder_name or (info.encoder if info else None) or model.encoder
    if encoder is None:
        if model.feature != HISTOGRAM:
            raise InvalidValueError(
                f"{model.name}: takes the feature '{model.feature or 'unknown'}'; name the frame encoder "
                "that makes this feature from videos (`encoder`, a hub id or folder)",
                parameter="encoder",
            )
        encoder = HISTOGRAM
    return encoder


def _feature_of_videos(request: IndexRequest, encoder: str, info: IndexInfo | None) -> str:
    """Return the name of the feature that an encoder writes.

    Raises:
        InvalidValueError: If the index was made from another feature.
    """
    from mlcmr.extraction.encoders.base import feature_name  # noqa: PLC0415 – needs PyAV

    if info is not None and request.encoder is None:
        return info.feature
    if request.encoder is None or isinstance(request.encoder, (str, os.PathLike)):
        feature = feature_name(encoder)
    else:
        feature = request.encoder.feature
    require_feature(request.folder, info, feature)
    return feature


def _without_skipped(update: UpdatePlan, skipped: Mapping[str, str]) -> UpdatePlan:
    return replace(
        update,
        added=tuple(video for video in update.added if video not in skipped),
        changed=tuple(video for video in update.changed if video not in skipped),
        new_captions=tuple(caption for caption in update.new_captions if caption.video not in skipped),
        skipped=skipped,
    )


def _describe_extraction(plan: ExtractionPlan) -> list[str]:
    moved = f" ({plan.moved:,} of them moved)" if plan.moved else ""
    counts = f"{len(plan.new):,} new, {len(plan.changed):,} changed, {plan.unchanged:,} as before"
    lines = [f"  files:    {counts}{moved}"]
    lines += _listed("new", map(str, plan.new))
    lines += _listed("changed", map(str, plan.changed))
    lines += describe_unread(plan.others, plan.gone, plan.away, pruned=plan.pruned)
    lines += _listed("skipped", (f"{path}: {why}" for path, why in plan.skipped.items()))
    return lines


def _describe_update(plan: UpdatePlan, *, with_names: bool) -> list[str]:
    removed = plan.all_removed
    changes = f"{len(plan.added):,} to add, {len(plan.changed):,} to update, {len(removed):,} to remove"
    lines = [f"  videos:   {changes}, {len(plan.unchanged):,} as before"]
    if with_names:
        lines += [*_listed("add", plan.added), *_listed("update", plan.changed)]
    lines += _listed("remove", removed)
    if plan.new_captions or plan.old_captions:
        lines.append(f"  captions: {len(plan.new_captions):,} to add, {len(plan.old_captions):,} to remove")
    if plan.moved:
        names = ", ".join(map(printable, plan.moved))
        lines.append(f"  moved:    {names}, which no longer exists: its vectors are kept")
    if plan.left and not plan.pruned:
        left = plural(len(plan.left), "video")
        lines.append(f"  gone:     {left} no longer in the source, kept; `prune` removes them")
    lines += _listed("skipped", plan.skipped.values())
    return lines


def _listed(title: str, names: Iterable[str]) -> list[str]:
    """Return a line for each of the first names, and a line for the number of the others."""
    every = list(names)
    lines = [f"    {title}: {printable(name)}" for name in every[:_SHOWN]]
    if len(every) > _SHOWN:
        lines.append(f"    … and {len(every) - _SHOWN:,} more")
    return lines
