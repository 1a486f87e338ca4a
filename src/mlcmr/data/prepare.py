"""Annotation files to the caption files of a collection."""

import hashlib
import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from mlcmr.data.annotations import (
    Annotation,
    Columns,
    read_annotations,
    read_videos,
    split_by_name,
    split_code,
)
from mlcmr.data.captions import write_captions
from mlcmr.data.collection import FEW, SPLITS, Collection
from mlcmr.data.features import Progress
from mlcmr.data.ids import split_ending, video_id
from mlcmr.data.languages import language_code
from mlcmr.data.scenario import human_suffix
from mlcmr.display import many, printable
from mlcmr.errors import UserError
from mlcmr.files import new_folder

AnyPath = str | os.PathLike[str]

SHARES = (0.8, 0.1, 0.1)  # of the videos, for train, val and test

_Numbered = dict[str, dict[int, str]]  # captions of one video by language and number


@dataclass(slots=True)
class PrepareSummary:
    """What `prepare` wrote, and what it left out.

    Attributes:
        folder: The collection.
        videos: The number of videos by split and language.
        captions: The number of captions by split and language.
        halves: The number of videos by language in the file that the unparallel scenario trains on; none
            where the training captions are in one language.
        splits: How the videos came to their splits, for people.
        by_chance: Whether chance gave them.
        apart: Languages whose captions have numbers of their own, as some videos have more captions in them
            than in another language: such captions make no pairs.
        blank: Captions left out because there is no text.
        duplicates: Captions left out because their video has the same one already.
        spare: Captions left out because they lack a counterpart in another language.
        without_captions: Videos that are named, but have no captions.
        unlisted: Videos left out because no list of videos names them.
    """

    folder: Path
    videos: dict[tuple[str, str], int] = field(default_factory=dict)
    captions: dict[tuple[str, str], int] = field(default_factory=dict)
    halves: dict[str, int] = field(default_factory=dict)
    splits: str = ""
    by_chance: bool = False
    apart: list[str] = field(default_factory=list)
    blank: int = 0
    duplicates: int = 0
    spare: int = 0
    without_captions: int = 0
    unlisted: int = 0

    def notes(self) -> Iterator[str]:
        """What is worth knowing, a line each."""
        yield f"splits: {self.splits}"
        left_out = {
            "blank captions": self.blank,
            "captions that their video has already": self.duplicates,
            "captions without a counterpart in another language": self.spare,
            "videos without captions": self.without_captions,
            "videos in no list": self.unlisted,
        }
        for what, count in left_out.items():
            if count:
                yield f"left out: {what}: {count:,}"
        if self.halves:
            shares = ", ".join(f"{count:,} in {language}" for language, count in self.halves.items())
            yield f"unparallel: of the videos to train on, {shares}"
        text = printable(self.folder / "TextData")
        for split in ("val", "test"):
            sizes = [count for (one, _), count in self.videos.items() if one == split]
            if sizes and min(sizes) < FEW:
                other = f"; for other shares, remove {text} and say --splits" if self.by_chance else ""
                few = many(min(sizes), "video")
                yield f"few: {few} in {split}: what is measured on so few says little{other}"
        if self.apart:
            yield (
                f"not paired: {', '.join(self.apart)}, as some videos have more captions in one language "
                "than in another; --pair leaves out the spare ones, and so makes pairs to train on"
            )


def prepare(
    files: Sequence[AnyPath],
    collection: AnyPath,
    *,
    columns: Columns | None = None,
    languages: Sequence[str] = (),
    splits: Sequence[str] = (),
    shares: Sequence[float] = (),
    lists: Mapping[str, AnyPath] | None = None,
    seed: int = 0,
    pair: bool = False,
    progress: Progress | None = None,
) -> PrepareSummary:
    """Makes the caption files of a collection from annotations.

    Videos go to the splits that `splits`, `shares` or `lists` say (one of them), or else to those that the
    files say, in a column or by their names (`vatex_validation_v1.0.json`), or else by chance: by a hash of
    `seed` and video, so that neither the order nor the number of captions matters.

    Captions of a video in different languages make pairs by their order, unless some video has more of them
    in one language than in another: then that language has numbers of its own, and nothing is lost.

    For the unparallel scenario, each video to train on is given one of its languages, to each about as many
    videos as to another, by chance.

    Args:
        files: VATEX's or MSR-VTT's JSON, or tables (see `read_annotations`).
        collection: The collection's folder; there may be features in it, but no captions.
        columns: How the tables' columns are called.
        languages: The language of all captions, or that of each file.
        splits: The split of all captions, or that of each file.
        shares: How much of the videos to train, to validate and to test on; by default 0.8, 0.1, 0.1.
        lists: By split, a file that lists its videos; videos in none are left out.
        seed: Another seed makes other splits, and other halves, by chance.
        pair: Leave out captions that lack a counterpart in another language of their video.
        progress: Told the files that were read.

    Raises:
        UserError: a file is malformed (with file, place and column), a video is in two splits, two videos
            get the same id, or the collection has captions already.
    """
    folder = Path(collection).expanduser().resolve()
    text = folder / "TextData"
    if text.is_dir() and not any(text.iterdir()):
        text.rmdir()
    if text.exists():
        raise UserError(f"{text}: there are captions already; remove them or name another --collection")
    if sum(map(bool, (splits, shares, lists))) > 1:
        raise UserError("--split, --splits and --split-lists: give one of them")
    ids = _Ids()
    listed = _read_lists(lists, columns, ids) if lists else None
    sources = _sources(files, languages, splits)
    found = _read(sources, columns, ids, progress)
    summary = PrepareSummary(folder)
    if listed is not None:
        summary.unlisted = sum(video not in listed for video in found)
        found = {video: one for video, one in found.items() if video in listed}
    captions = {video: _sift(one.spoken, summary) for video, one in found.items()}
    summary.without_captions = sum(not spoken for spoken in captions.values())
    captions = {video: spoken for video, spoken in captions.items() if spoken}
    if not captions:
        raise UserError(f"{', '.join(str(source.path) for source in sources)}: no captions in it")
    if listed is not None:
        split_of, summary.splits = listed, "by the lists of videos"
    elif not shares and any(found[video].split for video in captions):
        split_of, summary.splits = (
            _said_splits(found, captions),
            "as the files say, in a column or by their names",
        )
        if splits:
            summary.splits = "as --split says"
    else:
        split_of = _splits_by_chance(list(captions), shares or SHARES, seed)
        summary.by_chance = True
        summary.splits = f"by chance, {' : '.join(f'{share:g}' for share in shares or SHARES)}, seed {seed}"
    _align(captions, summary, pair=pair)
    _write(captions, split_of, summary, seed)
    return summary


def parse_lists(words: Sequence[str]) -> dict[str, str]:
    """Splits `test=FILE` into the split and the file.

    Raises:
        UserError: there is no `=` in it, or a split is named twice.
    """
    pairs = [word.partition("=") for word in words]
    lists = {split: file for split, _, file in pairs}
    if len(lists) < len(words) or not all(lists.values()):
        raise UserError(
            f"--split_lists {' '.join(words)}: expected train=FILE, val=FILE, test=FILE or some of them"
        )
    return lists


def print_summary(summary: PrepareSummary, console: Console | None = None) -> None:
    """Prints how many videos and captions there are in each split and language, and what was left out."""
    console = console or Console()
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("split")
    table.add_column("language")
    table.add_column("videos", justify="right")
    table.add_column("captions", justify="right")
    for (split, language), count in summary.captions.items():
        table.add_row(split, language, f"{summary.videos[split, language]:,}", f"{count:,}")
    console.print(table)
    for note in summary.notes():
        console.print(note, markup=False, highlight=False, soft_wrap=True)


class _Source(NamedTuple):
    """A file, and what options say of all its captions."""

    path: Path
    language: str | None
    split: str | None


@dataclass(slots=True)
class _Video:
    """A video as the files have it: its split, where it was first named, its captions by language."""

    split: str | None
    where: str
    spoken: dict[str, list[Annotation]] = field(default_factory=dict)


class _Ids:
    """Gives videos their ids, and finds two that would share one."""

    def __init__(self) -> None:
        self._ids: dict[str, str] = {}
        self._taken: dict[str, tuple[str, str, str]] = {}

    def of(self, name: str, where: str) -> str:
        """The id of the video that is called `name`."""
        if name not in self._ids:
            # A list that macOS wrote has accents as characters of their own; the name is the same.
            path = PurePosixPath(unicodedata.normalize("NFC", name).replace("\\", "/")).as_posix()
            stem, ending = split_ending(path)
            video = video_id(stem)
            taken = self._taken.get(video, (stem, ending, name))
            if taken[0] != stem or (ending and taken[1] and taken[1].lower() != ending.lower()):
                raise UserError(
                    f"{where}: '{taken[2]}' and '{name}' both get the video id '{video}': rename one"
                )
            self._taken[video] = (stem, ending or taken[1], name)
            self._ids[name] = video
        return self._ids[name]


def _sources(files: Sequence[AnyPath], languages: Sequence[str], splits: Sequence[str]) -> list[_Source]:
    def one_each(values: list[str], option: str) -> list[str] | list[None]:
        if len(values) > 1 and len(values) != len(files):
            raise UserError(f"{option}: give one for all, or one for each of the {len(files)} files")
        return values if len(values) == len(files) else values * len(files) if values else [None] * len(files)

    codes = one_each([language_code(name) for name in languages], "--language")
    said = one_each([split_code(name) for name in splits], "--split")
    paths = [Path(file).expanduser() for file in files]
    return [_Source(*one) for one in zip(paths, codes, said, strict=True)]


def _read_lists(lists: Mapping[str, AnyPath], columns: Columns | None, ids: _Ids) -> dict[str, str]:
    listed: dict[str, str] = {}
    for name, file in lists.items():
        split, path = split_code(name), Path(file).expanduser()
        for video in (ids.of(name, str(path)) for name in read_videos(path, columns)):
            if listed.setdefault(video, split) != split:
                raise UserError(f"{path}: video '{video}' is in the list of {listed[video]} too")
    return listed


def _read(
    sources: Sequence[_Source], columns: Columns | None, ids: _Ids, progress: Progress | None
) -> dict[str, _Video]:
    found: dict[str, _Video] = {}
    for done, source in enumerate(sources, start=1):
        by_name = split_by_name(source.path)
        for row in read_annotations(source.path, columns, source.language):
            name, split = ids.of(row.video, row.where), source.split or row.split or by_name
            video = found.setdefault(name, _Video(split, row.where))
            if video.split != split:
                here, before = (f"split {one}" if one else "no split" for one in (split, video.split))
                raise UserError(f"{row.where}: video '{name}' is in {here}, but in {before} at {video.where}")
            if row.text is not None:
                video.spoken.setdefault(row.language, []).append(row)
        if progress:
            progress(source.path.name, done, len(sources))
    return found


def _sift(spoken: dict[str, list[Annotation]], summary: PrepareSummary) -> _Numbered:
    """The captions of one video by language and number, without blank ones and duplicates."""
    counted: dict[int, dict[str, str]] = defaultdict(dict)
    plain: dict[str, list[str]] = defaultdict(list)
    for language, rows in spoken.items():
        for row in rows:
            if not (text := _clean(row)):
                summary.blank += 1
            elif row.number is None:
                plain[language].append(text)
            else:
                before = counted[row.number].setdefault(language, "")
                if before not in {"", text}:
                    what = f"caption {row.number} of video '{row.video}' in '{language}'"
                    raise UserError(f"{row.where}: {what} was another before: '{before:.40}'")
                summary.duplicates += before == text
                counted[row.number][language] = text
    sifted = _sift_counted(counted, summary)
    for language, texts in plain.items():
        numbered = sifted.setdefault(language, {})
        fresh = dict.fromkeys(text for text in texts if text not in numbered.values())
        summary.duplicates += len(texts) - len(fresh)
        numbered |= enumerate(fresh, start=max(numbered, default=-1) + 1)
    return sifted


def _sift_counted(counted: Mapping[int, dict[str, str]], summary: PrepareSummary) -> _Numbered:
    """Those whose numbers say what belongs together: it stays or goes together."""
    languages = {language for texts in counted.values() for language in texts}
    sifted: _Numbered = {}
    seen = set()
    for number, texts in sorted(counted.items()):
        same = tuple(sorted(texts.items()))
        if texts.keys() != languages:
            summary.spare += len(texts)
        elif same in seen:
            summary.duplicates += len(texts)
        else:
            seen.add(same)
            for language, text in texts.items():
                sifted.setdefault(language, {})[number] = text
    return sifted


def _clean(row: Annotation) -> str:
    text = " ".join((row.text or "").split())
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"{row.where}: caption with half a character in it: {text!r:.60}") from error
    return text


def _said_splits(found: Mapping[str, _Video], videos: Iterable[str]) -> dict[str, str]:
    said = {}
    for video in videos:
        split = found[video].split
        if split is None:
            raise UserError(
                f"{found[video].where}: no split for video '{video}', while others have one: say it with "
                "--split, or let --splits make all of them"
            )
        said[video] = split
    return said


def _splits_by_chance(videos: Sequence[str], shares: Sequence[float], seed: int) -> dict[str, str]:
    if (
        len(shares) != len(SPLITS)
        or not all(0 <= share < float("inf") for share in shares)
        or not sum(shares)
    ):
        raise UserError(
            f"--splits {' '.join(f'{share:g}' for share in shares)}: expected three shares, to train, to "
            "validate and to test on, such as 0.8 0.1 0.1"
        )
    total = sum(shares)
    sizes = [max(round(len(videos) * share / total), 1) if share else 0 for share in shares]
    largest = max(range(len(shares)), key=lambda place: shares[place])
    sizes[largest] += len(videos) - sum(sizes)
    if sizes[largest] < 1:
        raise UserError(
            f"{many(len(videos), 'video')} with captions: too few for {sum(map(bool, shares))} splits; "
            "--splits 1 0 0 trains on all"
        )

    drawn = iter(_shuffled(videos, seed))
    return {next(drawn): split for split, size in zip(SPLITS, sizes, strict=True) for _ in range(size)}


def _shuffled(videos: Iterable[str], seed: int) -> list[str]:
    def chance(video: str) -> bytes:
        return hashlib.blake2b(f"{seed}:{video}".encode(), digest_size=16).digest()

    return sorted(videos, key=chance)


def _align(captions: Mapping[str, _Numbered], summary: PrepareSummary, *, pair: bool) -> None:
    """Makes equal numbers mean a pair, and only that."""
    languages = sorted({one for spoken in captions.values() for one in spoken}, key=_order)
    if pair:
        for spoken in captions.values():
            common = set.intersection(*(set(numbered) for numbered in spoken.values()))
            for language, numbered in spoken.items():
                summary.spare += len(numbered) - len(common)
                spoken[language] = {number: numbered[number] for number in sorted(common)}
        return
    paired: list[str] = []
    for language in languages:
        uneven = any(
            spoken[other].keys() != spoken[language].keys()
            for spoken in captions.values()
            if language in spoken
            for other in paired
            if other in spoken
        )
        (summary.apart if uneven else paired).append(language)
    for language in summary.apart:
        for spoken in captions.values():
            if language in spoken:
                before = [*paired, *summary.apart[: summary.apart.index(language)]]
                last = max((max(spoken[one]) for one in before if one in spoken), default=-1)
                spoken[language] = {last + 1 + number: text for number, text in spoken[language].items()}


def _write(
    captions: Mapping[str, _Numbered], split_of: Mapping[str, str], summary: PrepareSummary, seed: int
) -> None:
    languages = sorted({one for spoken in captions.values() for one in spoken}, key=_order)
    collection = Collection(summary.folder, summary.folder.name)
    with new_folder(summary.folder / "TextData") as temporary:

        def write(split: str, suffix: str, language_of: Mapping[str, str]) -> int:
            """Writes the captions of these videos, each in one language; returns how many there are."""
            lines = [
                line for video, one in language_of.items() for line in _lines(video, captions[video], one)
            ]
            if lines:
                write_captions(temporary / collection.caption_file(split, suffix).name, lines)
            return len(lines)

        for split in SPLITS:
            videos = [video for video in captions if split_of[video] == split]
            for language in languages:
                speaking = [video for video in videos if captions[video].get(language)]
                if count := write(split, human_suffix(language), dict.fromkeys(speaking, language)):
                    summary.captions[split, language] = count
                    summary.videos[split, language] = len(speaking)
        if sum(split == "train" for split, _ in summary.captions) > 1:
            training = {video: spoken for video, spoken in captions.items() if split_of[video] == "train"}
            halves = _halves(training, languages, seed)
            write("train", "_half", halves)
            summary.halves = {one: list(halves.values()).count(one) for one in languages}


def _lines(video: str, spoken: _Numbered, language: str) -> Iterator[tuple[str, str]]:
    tag = "enc" if language == "en" else language
    for number, text in spoken.get(language, {}).items():
        yield f"{video}#{tag}#{number}", text


def _halves(captions: Mapping[str, _Numbered], languages: Sequence[str], seed: int) -> dict[str, str]:
    """One language for each video, of those that it has; each about as often, as far as these allow."""
    choices = {
        video: [language for language in languages if captions[video].get(language)]
        for video in _shuffled(captions, seed)
    }
    counts = dict.fromkeys(languages, 0)
    chosen = {}
    # Those with the least to choose from come first; the others make up for them.
    for video in sorted(filter(choices.__getitem__, choices), key=lambda video: len(choices[video])):
        chosen[video] = min(choices[video], key=counts.__getitem__)
        counts[chosen[video]] += 1
    return {video: chosen[video] for video in captions if video in chosen}


def _order(language: str) -> tuple[bool, str]:
    return language != "en", language
