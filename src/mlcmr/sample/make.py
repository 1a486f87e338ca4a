"""Make the sample: draw its videos, extract their frame features, write its captions."""

import itertools
import json
import os
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mlcmr.arguments import check_arguments
from mlcmr.data.captions import write_captions
from mlcmr.data.collection import HALF, SPLITS, Collection
from mlcmr.data.features.frame_features import Features, write_features
from mlcmr.data.languages import language_profile, translation_tag
from mlcmr.data.scenarios import human_caption_file, translation_file
from mlcmr.errors import CorruptFileError, InvalidValueError, MlcmrError
from mlcmr.extraction.encoders.histogram import DIMENSION, HISTOGRAM, compute_histograms
from mlcmr.files import new_folder, write_text
from mlcmr.paths import user_path
from mlcmr.progress import SILENT, Progress
from mlcmr.reading import Count, Name, read_json
from mlcmr.sample import chinese, english, german, machine, spanish
from mlcmr.sample.caption_plan import CaptionPlan, plan_captions
from mlcmr.sample.draw import FRAMES, draw
from mlcmr.sample.video import read_video, write_video
from mlcmr.sample.world import Scene, near_duplicates

NAME = "sample"
MANIFEST = "manifest.json"
ENGINE = "google"
"""The engine in the names of the files with machine translations; the translations are our own."""
FEWEST, MOST = 20, 20_000

_WRITERS: dict[str, Callable[[CaptionPlan], str]] = {
    "en": english.write_caption,
    "zh": chinese.write_caption,
    "de": german.write_caption,
    "es": spanish.write_caption,
}
_TRANSLATORS: dict[tuple[str, str], Callable[[str], str]] = {
    ("en", "zh"): machine.english_to_chinese,
    ("zh", "en"): machine.chinese_to_english,
}
_HALVES = ("en", "zh")
"""The languages of the unparallel scenario; they take turns from video to video."""


@dataclass(frozen=True)
class SampleSettings:
    """The settings of a sample; equal settings make equal samples.

    Attributes:
        videos: The number of videos, which is even; 70 % are for training, 10 % to validate, 20 % to test.
        captions: The number of captions per video and language.
        seed: Another seed makes other scenes.
    """

    videos: int = 2000
    captions: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        if not FEWEST <= self.videos <= MOST or self.videos % 2:
            raise InvalidValueError(
                f"{self.videos} videos: expected an even number from {FEWEST} to {MOST:,}", parameter="videos"
            )
        if not 1 <= self.captions <= 100:
            raise InvalidValueError(
                f"{self.captions} captions per video and language: expected 1 to 100", parameter="captions"
            )


@dataclass(frozen=True)
class _SampleManifest:
    """The manifest of a sample.

    Attributes:
        settings: The settings of the sample.
        videos: The number of videos by split.
        captions: The number of captions by file.
        files: The size of each file in bytes.
    """

    settings: SampleSettings
    videos: dict[Name, Count]
    captions: dict[Name, Count]
    files: dict[Name, Count]


@dataclass(frozen=True)
class SampleSummary:
    """The content of a sample; its text is what `mlcmr sample` prints.

    Attributes:
        folder: The folder of the collection, `<rootpath>/sample`.
        videos: The number of videos by split.
        captions: The number of captions by file.
        feature: The name of the frame feature.
        frames: The number of frames of each video.
        dimension: The size of one frame feature.
        made: Whether the sample was made now; else it existed already.
        seconds: The time that it took to make the sample.
    """

    folder: Path
    videos: dict[str, int]
    captions: dict[str, int]
    feature: str = HISTOGRAM
    frames: int = FRAMES
    dimension: int = DIMENSION
    made: bool = True
    seconds: float = 0.0

    def __str__(self) -> str:
        state = f"made in {self.seconds:.0f} s" if self.made else "was made before; nothing to do"
        videos = ", ".join(f"{count:,} {split}" for split, count in self.videos.items())
        translations = ", ".join(f"{source} → {target}" for source, target in _TRANSLATORS)
        return (
            f"{self.folder}: {state}\n"
            f"  videos:   {videos}\n"
            f"  feature:  {self.feature}, {self.frames} frames × {self.dimension} a video\n"
            f"  captions: {sum(self.captions.values()):,} in {len(self.captions)} files; "
            f"languages {', '.join(_WRITERS)}; machine translations {translations}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the summary as plain values, for JSON."""
        return asdict(self) | {"folder": str(self.folder)}


@dataclass(frozen=True)
class SampleClip:
    """One video of the sample.

    Attributes:
        video: The id of the video.
        split: The split of the video.
        scene: The scene that it shows.
        plans: The contents of its captions.
    """

    video: str
    split: str
    scene: Scene
    plans: list[CaptionPlan]


@check_arguments
def make_sample(
    rootpath: str | os.PathLike[str],
    *,
    videos: int = 2000,
    captions: int = 5,
    seed: int = 0,
    workers: int | None = None,
    progress: Progress = SILENT,
) -> SampleSummary:
    """Make the collection `<rootpath>/sample`: clips of moving shapes, captions in four languages, features.

    The collection appears under its name when it is complete. If it exists already with the same settings,
    nothing is done.

    Args:
        rootpath: The folder to make; the collection is <rootpath>/sample.
        videos: The number of clips; an even number from 20 to 20,000.
        captions: The number of captions per video and language.
        seed: Another seed makes other scenes.
        workers: The number of threads that draw; by default one per processor. The result is the same.
        progress: Shows the number of videos that are done.

    Raises:
        InvalidValueError: If a number is out of range.
        InvalidValueError: If the folder holds other files, or a sample with other settings.
        CorruptFileError: If the folder holds a sample that is damaged.
        MlcmrError: If the folder cannot be written.
    """
    started = time.monotonic()
    settings = SampleSettings(videos, captions, seed)
    folder = user_path(rootpath) / NAME
    if existing := _find_existing(folder, settings):
        return existing
    with new_folder(folder) as temporary:
        clips = plan_clips(settings)
        summary = SampleSummary(
            folder,
            {split: sum(clip.split == split for clip in clips) for split in SPLITS},
            _write_captions(Collection(temporary, NAME), clips),
        )
        _write_videos(temporary, clips, settings.seed, workers or os.cpu_count() or 1, progress)
        _write_manifest(temporary, settings, summary)
    return replace(summary, seconds=time.monotonic() - started)


def plan_clips(settings: SampleSettings) -> list[SampleClip]:
    """Plan the scenes of the videos and the contents of their captions.

    Videos 2n and 2n + 1 differ in one attribute and are in the same split.
    """
    pairs = list(itertools.islice(near_duplicates(settings.seed), settings.videos // 2))
    # Scenes of one thing are few, so they come mostly first: shuffled, they are in all splits.
    random.Random(f"splits/{settings.seed}").shuffle(pairs)  # noqa: S311
    test, val = len(pairs) // 5, len(pairs) // 10
    splits = {"train": len(pairs) - test - val, "val": val, "test": test}
    split_of = [split for split in SPLITS for _ in range(2 * splits[split])]
    clips = []
    for number, (scene, split) in enumerate(zip(itertools.chain(*pairs), split_of, strict=True)):
        plans = plan_captions(scene, settings.captions, f"captions/{settings.seed}/{number}")
        clips.append(SampleClip(f"{NAME}{number:05d}", split, scene, plans))
    return clips


def _write_captions(collection: Collection, clips: list[SampleClip]) -> dict[str, int]:
    """Write all caption files, and return the number of captions in each."""
    files: dict[Path, list[tuple[str, str]]] = {}  # ids and texts
    for split in SPLITS:
        of_split = [clip for clip in clips if clip.split == split]
        for language in _WRITERS:
            files[human_caption_file(collection, split, language)] = _captions(of_split, language)
        for (source, target), translate in _TRANSLATORS.items():
            files[translation_file(collection, split, source, target, ENGINE)] = [
                (f"{video}#{translation_tag(source, target)}#{number}", translate(text))
                for video, number, text in _texts(of_split, source)
            ]
    train = [clip for clip in clips if clip.split == "train"]
    files[collection.caption_file("train", HALF)] = [
        caption
        for clip, language in zip(train, itertools.cycle(_HALVES), strict=False)
        for caption in _captions([clip], language)
    ]
    for path, captions in files.items():
        write_captions(path, captions)
    return {path.name: len(captions) for path, captions in files.items()}


def _captions(clips: list[SampleClip], language: str) -> list[tuple[str, str]]:
    """Return the id and the text of each caption."""
    tag = language_profile(language).tag
    return [(f"{video}#{tag}#{number}", text) for video, number, text in _texts(clips, language)]


def _texts(clips: list[SampleClip], language: str) -> Iterator[tuple[str, int, str]]:
    """Yield the video, the number and the text of each caption."""
    for clip in clips:
        for number, plan in enumerate(clip.plans):
            yield clip.video, number, _WRITERS[language](plan)


def _write_videos(folder: Path, clips: list[SampleClip], seed: int, workers: int, progress: Progress) -> None:
    """Write the videos and the features of their frames, as they are read back from the files."""
    videos = folder / "VideoData"
    videos.mkdir()

    def film(clip: SampleClip) -> Features:
        path = videos / f"{clip.video}.mp4"
        write_video(path, draw(clip.scene, f"drawing/{seed}/{clip.video}"))
        return compute_histograms(read_video(path))

    def blocks(described: Iterator[Features]) -> Iterator[tuple[list[str], Features]]:
        with progress.task("drawing", len(clips)) as task:
            for clip, features in zip(clips, described, strict=True):
                yield [f"{clip.video}_{frame}" for frame in range(len(features))], features
                task.advance()

    # Threads are enough: drawing, encoding and describing release the interpreter lock.
    with ThreadPoolExecutor(workers) as pool:
        try:
            write_features(folder / "FeatureData" / HISTOGRAM, blocks(pool.map(film, clips)))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _write_manifest(folder: Path, settings: SampleSettings, summary: SampleSummary) -> None:
    """Write the manifest, which is the last file."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    manifest = {
        "settings": asdict(settings),
        "videos": summary.videos,
        "captions": summary.captions,
        "files": {path.relative_to(folder).as_posix(): path.stat().st_size for path in files},
    }
    write_text(folder / MANIFEST, json.dumps(manifest, indent=1) + "\n")


def _find_existing(folder: Path, settings: SampleSettings) -> SampleSummary | None:
    """Return the existing sample if it is complete and has the same settings; None if there is none.

    Raises:
        InvalidValueError: If the folder holds other files, or a sample with other settings.
        CorruptFileError: If a file of the sample is missing or damaged.
    """
    remedy = "remove it, or name another folder"
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return None
    try:
        manifest = read_json(folder / MANIFEST, _SampleManifest, remedy)
    except MlcmrError as error:
        raise InvalidValueError(
            f"{folder}: exists already and is not a sample; {remedy}", path=folder
        ) from error
    summary = SampleSummary(folder, manifest.videos, manifest.captions, made=False)
    if manifest.settings != settings:
        made_with = ", ".join(f"{name} {value}" for name, value in asdict(manifest.settings).items())
        raise InvalidValueError(
            f"{folder}: is a sample made with other settings, {made_with}; {remedy}", path=folder
        )
    for name, size in manifest.files.items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != size:
            raise CorruptFileError(
                f"{folder}: is a sample, but {name} is missing or damaged; {remedy}", path=path
            )
    return summary
