"""Makes the sample: draws its videos, describes their frames, writes its captions."""

import itertools
import json
import os
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from mlcmr.data.captions import write_captions
from mlcmr.data.collection import SPLITS, Collection
from mlcmr.data.features import Features, Progress, write_features
from mlcmr.data.sample import chinese, english, german, machine, spanish
from mlcmr.data.sample.describe import DIMENSION, describe
from mlcmr.data.sample.draw import FRAMES, draw
from mlcmr.data.sample.telling import Telling, tellings
from mlcmr.data.sample.video import read_video, write_video
from mlcmr.data.sample.world import Scene, near_duplicates
from mlcmr.data.scenario import human_suffix, translation_file
from mlcmr.errors import UserError
from mlcmr.files import new_folder, write_text

NAME = "sample"
FEATURE = f"hues{DIMENSION}"
MANIFEST = "manifest.json"
ENGINE = "google"  # what files with machine translations are called; the translations are our own
FEWEST, MOST = 20, 20_000

_TELL: dict[str, Callable[[Telling], str]] = {
    "en": english.tell,
    "zh": chinese.tell,
    "de": german.tell,
    "es": spanish.tell,
}
_TRANSLATE: dict[tuple[str, str], Callable[[str], str]] = {
    ("en", "zh"): machine.english_to_chinese,
    ("zh", "en"): machine.chinese_to_english,
}

Caption = tuple[str, str]
"""Id and text."""


@dataclass(frozen=True)
class SampleSettings:
    """What a sample is made from; the same settings make the same sample.

    Attributes:
        videos: How many, an even number; of 2,000, 1,400 are for training, 200 for validation, 400 for test.
        captions: Captions per video and language.
        seed: Another seed, another world.
    """

    videos: int = 2000
    captions: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        if not FEWEST <= self.videos <= MOST or self.videos % 2:
            raise UserError(f"{self.videos} videos: expected an even number from {FEWEST} to {MOST:,}")
        if not 1 <= self.captions <= 100:
            raise UserError(f"{self.captions} captions per video and language: expected 1 to 100")


@dataclass(frozen=True)
class SampleSummary:
    """What a sample holds.

    Attributes:
        folder: The collection, `<rootpath>/sample`.
        videos: The number of videos by split.
        captions: The number of captions by file.
        feature: The name of the frame features.
        frames: The number of frames of each video.
        dimension: The size of one frame feature.
        made: Whether it was made now, rather than found.
        seconds: How long that took.
    """

    folder: Path
    videos: dict[str, int]
    captions: dict[str, int]
    feature: str = FEATURE
    frames: int = FRAMES
    dimension: int = DIMENSION
    made: bool = True
    seconds: float = 0.0

    def __str__(self) -> str:
        how = f"made in {self.seconds:.0f} s" if self.made else "was made before; nothing to do"
        videos = ", ".join(f"{count:,} {split}" for split, count in self.videos.items())
        translations = ", ".join(f"{source} → {target}" for source, target in _TRANSLATE)
        return (
            f"{self.folder}: {how}\n"
            f"  videos:   {videos}\n"
            f"  feature:  {self.feature}, {self.frames} frames × {self.dimension} a video\n"
            f"  captions: {sum(self.captions.values()):,} in {len(self.captions)} files; "
            f"languages {', '.join(_TELL)}; machine translations {translations}"
        )


@dataclass(frozen=True)
class Clip:
    """One video of the sample."""

    video: str
    split: str
    scene: Scene
    tellings: list[Telling]


def make_sample(
    rootpath: str | os.PathLike[str],
    *,
    videos: int = 2000,
    captions: int = 5,
    seed: int = 0,
    workers: int | None = None,
    progress: Progress | None = None,
) -> SampleSummary:
    """Makes the collection `<rootpath>/sample`: clips of moving shapes, captions in four languages, features.

    It appears under its name when it is complete. Where it is already, made from the same settings, nothing
    is done.

    Args:
        rootpath: The folder for the collection.
        videos: How many, an even number; see `SampleSettings`.
        captions: Captions per video and language.
        seed: Another seed, another world.
        workers: How many threads draw; by default one per processor. The result is the same.
        progress: Told the videos that are done.

    Raises:
        UserError: something else is there, a number is out of range, or the folder cannot be written.
    """
    started = time.monotonic()
    settings = SampleSettings(videos, captions, seed)
    folder = Path(rootpath).expanduser() / NAME
    if found := _found(folder, settings):
        return found
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


def plan_clips(settings: SampleSettings) -> list[Clip]:
    """Decides what the videos show and what their captions say.

    Videos 2n and 2n + 1 differ in one attribute and are in the same split.
    """
    pairs = list(itertools.islice(near_duplicates(settings.seed), settings.videos // 2))
    # The earlier a pair comes, the more often one thing is alone in it, as the ways to be so are few.
    random.Random(f"splits/{settings.seed}").shuffle(pairs)  # noqa: S311
    test, val = len(pairs) // 5, len(pairs) // 10
    splits = {"train": len(pairs) - test - val, "val": val, "test": test}
    split_of = [split for split in SPLITS for _ in range(2 * splits[split])]
    clips = []
    for number, (scene, split) in enumerate(zip(itertools.chain(*pairs), split_of, strict=True)):
        said = tellings(scene, settings.captions, f"captions/{settings.seed}/{number}")
        clips.append(Clip(f"{NAME}{number:05d}", split, scene, said))
    return clips


def _write_captions(collection: Collection, clips: list[Clip]) -> dict[str, int]:
    """Writes all caption files; returns how many captions each has."""
    files: dict[Path, list[Caption]] = {}
    for split in SPLITS:
        of_split = [clip for clip in clips if clip.split == split]
        for language in _TELL:
            files[collection.caption_file(split, human_suffix(language))] = _captions(of_split, language)
        for (source, target), translate in _TRANSLATE.items():
            files[translation_file(collection, split, source, target, ENGINE)] = [
                (f"{video}#{_marked(source)}2{target}#{number}", translate(text))
                for video, number, text in _texts(of_split, source)
            ]
    train = [clip for clip in clips if clip.split == "train"]
    files[collection.caption_file("train", "_half")] = [
        caption
        for number, clip in enumerate(train)
        for caption in _captions([clip], "zh" if number % 2 else "en")
    ]
    for path, captions in files.items():
        write_captions(path, captions)
    return {path.name: len(captions) for path, captions in files.items()}


def _captions(clips: list[Clip], language: str) -> list[Caption]:
    return [(f"{video}#{_tag(language)}#{number}", text) for video, number, text in _texts(clips, language)]


def _texts(clips: list[Clip], language: str) -> Iterator[tuple[str, int, str]]:
    """Video, number and text of each caption."""
    for clip in clips:
        for number, telling in enumerate(clip.tellings):
            yield clip.video, number, _TELL[language](telling)


def _tag(language: str) -> str:
    """The tag of what people wrote in a language."""
    return "enc" if language == "en" else language


def _marked(language: str) -> str:
    """The language of a human caption in the tag of its translation: `enc2zh`, `zhc2en`."""
    return f"{language}c"


def _write_videos(
    folder: Path, clips: list[Clip], seed: int, workers: int, progress: Progress | None
) -> None:
    """Draws the videos, and describes them as they can be read back from their files."""
    videos = folder / "VideoData"
    videos.mkdir()

    def film(clip: Clip) -> Features:
        path = videos / f"{clip.video}.mp4"
        write_video(path, draw(clip.scene, f"drawing/{seed}/{clip.video}"))
        return describe(read_video(path))

    def blocks(described: Iterator[Features]) -> Iterator[tuple[list[str], Features]]:
        for done, (clip, features) in enumerate(zip(clips, described, strict=True), start=1):
            yield [f"{clip.video}_{frame}" for frame in range(len(features))], features
            if progress:
                progress("drawing", done, len(clips))

    # Threads suffice: drawing, coding and describing let go of the interpreter.
    with ThreadPoolExecutor(workers) as pool:
        try:
            write_features(folder / "FeatureData" / FEATURE, blocks(pool.map(film, clips)))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _write_manifest(folder: Path, settings: SampleSettings, summary: SampleSummary) -> None:
    """Writes, last of all, what the sample was made from and what belongs to it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    manifest = {
        "settings": asdict(settings),
        "videos": summary.videos,
        "captions": summary.captions,
        "files": {path.relative_to(folder).as_posix(): path.stat().st_size for path in files},
    }
    write_text(folder / MANIFEST, json.dumps(manifest, indent=1) + "\n")


def _found(folder: Path, settings: SampleSettings) -> SampleSummary | None:
    """The sample that is there, complete and made from the same settings; None where there is nothing.

    Raises:
        UserError: something else is there.
    """
    remedy = "remove it, or name another folder"
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return None
    try:
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
        made_from, files = SampleSettings(**manifest["settings"]), dict(manifest["files"])
        summary = SampleSummary(folder, manifest["videos"], manifest["captions"], made=False)
    except (OSError, ValueError, TypeError, KeyError, UserError) as error:
        raise UserError(f"{folder}: is there already and is no sample; {remedy}") from error
    if made_from != settings:
        raise UserError(f"{folder}: is a sample made from other settings, {_listed(made_from)}; {remedy}")
    for name, size in files.items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != size:
            raise UserError(f"{folder}: is a sample, but {name} is missing or damaged; {remedy}")
    return summary


def _listed(settings: SampleSettings) -> str:
    return ", ".join(f"{name} {value}" for name, value in asdict(settings).items())
