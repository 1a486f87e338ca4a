"""`mlcmr index`: from videos or a collection to an index."""

import os
from collections.abc import Sequence
from dataclasses import fields

from mlcmr.arguments import check_arguments
from mlcmr.extraction.encoders.base import FrameEncoder
from mlcmr.model.protocol import SearchModel
from mlcmr.progress import SILENT, Progress
from mlcmr.search.indexing.plan import plan_index, require_feature_of_source
from mlcmr.search.indexing.request import IndexRequest
from mlcmr.search.indexing.summary import IndexSummary, summarize
from mlcmr.search.stores.base import VectorStore


@check_arguments
def index(
    source: str | os.PathLike[str] | None,
    to: str | os.PathLike[str] = "index",
    *,
    run: str | os.PathLike[str] | None = None,
    model: str | os.PathLike[str] | SearchModel | None = None,
    dimension: int | None = None,
    encoder: str | os.PathLike[str] | FrameEncoder | None = None,
    feature: str | None = None,
    url: str | None = None,
    name: str | None = None,
    store: str | type[VectorStore] | None = None,
    remove: Sequence[str] = (),
    prune: bool = False,
    captions: bool = True,
    device: str = "auto",
    batch_size: int | None = None,
    media_roots: Sequence[str | os.PathLike[str]] = (),
    dry_run: bool = False,
    progress: Progress = SILENT,
) -> IndexSummary:
    """Make an index of videos, or update it; only new and changed videos and captions are embedded.

    Example:
        >>> mlcmr.index("~/Videos")

    Args:
        source: A folder of videos and images, or a collection; not needed with `remove`.
        to: The folder of the index, made if it does not exist.
        run: The run whose model embeds.
        model: Instead of a run: a pretrained model with towers for texts and for pictures or videos (CLIP,
            SigLIP, X-CLIP…), a model of sentence-transformers with images or videos (extra `omni`) or an
            mlcmr model, by hub id or folder, or an opened model, which stays on its device. The folder of a
            run is that run. By default the model of the index; for a new index of videos,
            a multilingual SigLIP (`mlcmr.search.DEFAULT_MODEL`).
        dimension: The number of first coordinates of an embedding to keep, for a model of
            sentence-transformers that was trained for it (Matryoshka); by default that of the index, or all.
        encoder: The frame encoder that makes features from videos, by hub id or folder, as
            `package.module:Name`, or an object; by default that of the training, or the pretrained model
            itself. If given, the features of a collection count as made by it.
        feature: The feature of the collection; by default that of the training.
        url: The address of a server that keeps the vectors, as http://host:6333; the environment variable
            QDRANT_API_KEY holds its API key.
        name: The prefix of the collections on the server; by default the name of the index's folder.
        store: The vector store: `qdrant-edge` in the index's folder, `qdrant-server` at `url`,
            `package.module:Name`, or a class; by default the first without `url`, and the second with it.
        remove: Ids of videos to remove.
        prune: Remove videos that are gone from the source, and videos whose files are gone.
        captions: Index the captions of the collection too; otherwise, those of an earlier call are removed.
        device: `cpu`, `cuda` or `auto`.
        batch_size: The number of frame features per batch; by default the encoder's own.
        media_roots: A folder whose videos `mlcmr serve` may hand out, besides the folders that you have
            indexed. May be given several times.
        dry_run: Show what would change, and change nothing; the model is not opened.
        progress: Shows the progress.

    Raises:
        MlcmrError: If something is missing or damaged, features do not fit the model, the index was made with
            another model, or another process writes the index.
    """
    given = locals()
    request = IndexRequest(**{field.name: given[field.name] for field in fields(IndexRequest)})
    if dry_run:
        return summarize(plan_index(request))
    require_feature_of_source(request)
    from mlcmr.search.indexing.execute import execute  # noqa: PLC0415 – imports torch

    return execute(request, progress=progress)
