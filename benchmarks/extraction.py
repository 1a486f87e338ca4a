"""Extraction of clips beside decoding alone with the program ffmpeg, and where the rest of the time goes."""

import functools
import shutil
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks.measure import Options, fresh, median_time
from benchmarks.table import Row

CLIPS = Path(__file__).parents[2] / "shared" / "clips"
ENDINGS = {".avi", ".mkv", ".mp4"}
FEW = 4  # clips for a model of real size


def rows(options: Options) -> list[Row]:
    """All clips with the light encoder; a few with a model as large as CLIP ViT-B/16."""
    if shutil.which("ffmpeg") is None:
        print("extraction: left out, as there is no program ffmpeg")
        return []
    with tempfile.TemporaryDirectory() as folder:
        light = fresh("benchmarks.extraction", folder=folder, model=False, repeats=options.repeats)
    with tempfile.TemporaryDirectory() as folder:
        model = fresh("benchmarks.extraction", folder=folder, model=True, repeats=1)
    table = []
    for measured, encoder in ((light, "the light encoder"), (model, "ViT-B/16, random weights")):
        what = f"{measured['clips']} clips, {measured['frames']:,} of {measured['all']:,} frames"
        table += [
            Row(work=f"decoding {measured['clips']} clips with ffmpeg", unit="s", **measured["ffmpeg"]),
            Row(
                work=f"extraction, {encoder}: {what}",
                unit="s",
                **measured["extract"],
                limit=measured["ffmpeg"]["alone"],
            ),
        ]
        table += [
            Row(work=f"  {part}", unit="CPU s", clock=clock) for part, clock in measured["parts"].items()
        ]
    return table


def main(*, folder: str, model: bool, repeats: int, **_: Any) -> dict[str, Any]:
    """Seconds of ffmpeg, of the extraction, and of its parts when all is done by one thread."""
    from mlcmr.extraction.encoders.histogram import HistogramEncoder
    from mlcmr.extraction.encoders.registry import load_encoder
    from mlcmr.extraction.extract_collection import extract
    from mlcmr.extraction.pipeline import default_workers

    clips = _clips(Path(folder), FEW if model else None)
    encoder = load_encoder(_vit(Path(folder))) if model else HistogramEncoder()
    runs = iter(range(1000))

    def ffmpeg() -> None:
        for clip in sorted(clips.iterdir()):
            command = ["ffmpeg", "-nostdin", "-loglevel", "quiet", "-i", str(clip), "-an", "-f", "null", "-"]
            subprocess.run(command, check=True)

    def ours(workers: int | None = None) -> int:
        return extract(clips, Path(folder, str(next(runs))), encoder=encoder, workers=workers).frames

    threads = default_workers()
    measured = {
        "ffmpeg": vars(median_time(ffmpeg, repeats, threads=threads)),
        "extract": vars(median_time(ours, repeats, threads=threads)),
    }
    return measured | {
        "clips": len(list(clips.iterdir())),
        "frames": ours(),
        "all": sum(map(_frames, clips.iterdir())),
        "parts": _parts(functools.partial(ours, 1)),
    }


def _parts(work: Callable[[], object]) -> dict[str, float]:
    """Processor seconds of each kind of work, wherever in the program it is done."""
    from mlcmr.extraction import pipeline
    from mlcmr.extraction.encoders.histogram import HistogramEncoder
    from mlcmr.extraction.encoders.huggingface import HuggingFaceEncoder
    from mlcmr.extraction.feature_writer import FeatureWriter
    from mlcmr.extraction.media.video import Video
    from mlcmr.extraction.segments import Segmenter

    seconds: dict[str, float] = defaultdict(float)

    def timed(part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def measured(*arguments: Any, **options: Any) -> Any:
            started = time.thread_time()
            try:
                return function(*arguments, **options)
            finally:
                seconds[part] += time.thread_time() - started

        return measured

    def timed_frames(function: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
        def measured(*arguments: Any) -> Iterator[Any]:
            frames = function(*arguments)
            while (frame := timed("decoding", next)(frames, None)) is not None:
                yield frame

        return measured

    kinds = [HistogramEncoder, HuggingFaceEncoder]
    targets: list[tuple[str, Any, str]] = [
        ("to RGB", Video, "_picture"),
        ("thumbnails, segments", pipeline, "shrink"),
        ("thumbnails, segments", Segmenter, "add"),
        ("thumbnails, segments", Segmenter, "finish"),
        ("writing", FeatureWriter, "add"),
        ("writing", FeatureWriter, "merge"),
        *(("preparing for the encoder", kind, "prepare") for kind in kinds),
        *(("encoding, this thread", kind, "encode_prepared") for kind in kinds),
    ]
    with ExitStack() as stack:
        stack.enter_context(patch.object(Video, "_decode", timed_frames(Video._decode)))
        for part, owner, name in targets:
            stack.enter_context(patch.object(owner, name, timed(part, getattr(owner, name))))
        started = time.process_time()
        work()
        seconds["all other, with other threads of the encoder"] = (
            time.process_time() - started - sum(seconds.values())
        )
    return dict(seconds)


def _clips(folder: Path, most: int | None) -> Path:
    """Make a folder of links to the real clips if they exist, else of clips drawn by ffmpeg."""
    clips = folder / "clips"
    clips.mkdir()
    if CLIPS.is_dir():
        for clip in sorted(path for path in CLIPS.iterdir() if path.suffix in ENDINGS)[:most]:
            (clips / clip.name).symlink_to(clip)
        return clips
    for number in range(most or 16):
        source = ["-f", "lavfi", "-i", f"testsrc2=s=640x360:r=25:d={5 + number % 6}"]
        command = ["ffmpeg", "-nostdin", "-loglevel", "error", *source, str(clips / f"{number}.mp4")]
        subprocess.run(command, check=True)
    return clips


def _vit(folder: Path) -> Path:
    """Write a vision model of the size of CLIP's ViT-B/16."""
    from transformers import CLIPImageProcessorPil, CLIPVisionConfig, CLIPVisionModelWithProjection

    config = CLIPVisionConfig(
        hidden_size=768,
        intermediate_size=3072,
        num_hidden_layers=12,
        num_attention_heads=12,
        patch_size=16,
    )
    CLIPVisionModelWithProjection(config).save_pretrained(folder / "vit")
    CLIPImageProcessorPil().save_pretrained(folder / "vit")
    return folder / "vit"


def _frames(clip: Path) -> int:
    import av

    with av.open(str(clip)) as container:
        return sum(packet.size > 0 for packet in container.demux(container.streams.video[0]))
