"""Search in real clips with their captions as queries, by models that never saw the clip looked for.

    python -m benchmarks.real.clips CLIPS SCRATCH --text FOLDER --image FOLDER [--run RUN]

CLIPS has videos, and `captions.tsv` with lines of video, language and caption for some of them. A model is
trained on all captioned clips but four, from pretrained encoders of texts and of pictures: two of them choose
its checkpoint, two are looked for, among all clips; again and again until all were.
"""

import argparse
import csv
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mlcmr.extraction.records import read_videos
from mlcmr.search import Searcher

LANGUAGES = ("en", "zh")
HELD_OUT = 2  # clips that a model does not see
FILE = "captions.tsv"


class Captioned(NamedTuple):
    """A line of the file."""

    video: str
    language: str
    text: str


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.real.clips", description=__doc__)
    parser.add_argument("clips", type=Path)
    parser.add_argument("scratch", type=Path, help="what was done there already is not done again")
    parser.add_argument("--text", required=True, help="a multilingual text encoder, by folder or hub id")
    parser.add_argument("--image", required=True, help="an image encoder, by folder or hub id")
    parser.add_argument("--run", help="another run, which knows none of the clips")
    arguments = parser.parse_args()
    captions = _read_captions(arguments.clips / FILE)
    arguments.scratch.mkdir(parents=True, exist_ok=True)
    models = {}
    if arguments.run:
        index = arguments.scratch / "index-run"
        _mlcmr("index", arguments.clips, "--run", arguments.run, "--to", index)
        models[Path(arguments.run).name] = _ranks(index, captions)
    models["of the other clips"] = _held_out(arguments, captions)
    clips = len(list(read_videos(arguments.scratch / "all")))
    print("| model | queries | clips | R@1 / 5 / 10 | MedR | chance |")
    print("|---|---|---|---|---|---|")
    for model, by_language in models.items():
        for language, ranks in by_language.items():
            print(f"| {model} | {language}, {len(ranks)} | {clips} | {_recalls(ranks, clips)} |")


def _read_captions(path: Path) -> list[Captioned]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return sorted({Captioned(*row) for row in rows})


def _held_out(arguments: argparse.Namespace, captions: Sequence[Captioned]) -> dict[str, list[int]]:
    """Return the ranks of all clips, each by a model that has not seen the clip."""
    collection = arguments.scratch / "all"
    extract = ("extract", arguments.clips, "--encoder", arguments.image, "--collection", collection)
    _mlcmr(*extract, "--feature", "image", "--segment", "none")
    videos = sorted({caption.video for caption in captions})
    found: dict[str, list[int]] = {language: [] for language in LANGUAGES}
    for number, start in enumerate(range(0, len(videos), HELD_OUT)):
        test, val = (_circle(videos, start + shift) for shift in (0, HELD_OUT))
        index = arguments.scratch / f"index{number}"
        fold = arguments.scratch / f"fold{number}"
        if not (fold / "TextData").exists():
            fold.mkdir(exist_ok=True)
            for path in collection.iterdir():
                (fold / path.name).symlink_to(path.absolute())
            table = arguments.scratch / f"fold{number}.tsv"
            _write(table, captions, test, val)
            _mlcmr("prepare", table, "--collection", fold, "--pair")
        run = arguments.scratch / f"run{number}"
        place = ("--rootpath", arguments.scratch, "--collection", fold.name, "--feature", "image")
        recipe = Path(__file__).with_name("clips.yaml")
        _mlcmr("train", recipe, *place, "--model.text.encoder", arguments.text, "--run", run)
        _mlcmr("index", fold, "--run", run, "--to", index)
        ranks = _ranks(index, [caption for caption in captions if caption.video in test])
        for language in LANGUAGES:
            found[language] += ranks[language]
    return found


def _circle(videos: Sequence[str], start: int) -> list[str]:
    return [videos[place % len(videos)] for place in range(start, start + HELD_OUT)]


def _write(path: Path, captions: Iterable[Captioned], test: Sequence[str], val: Sequence[str]) -> None:
    split = dict.fromkeys(test, "test") | dict.fromkeys(val, "val")
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t")
        writer.writerow(["video", "language", "text", "split"])
        writer.writerows([*caption, split.get(caption.video, "train")] for caption in captions)


def _ranks(index: Path, captions: Sequence[Captioned]) -> dict[str, list[int]]:
    """Return the rank of each caption's video among all videos, by language."""
    searcher = Searcher(index)
    found: dict[str, list[int]] = {}
    for language in LANGUAGES:
        queries = [caption for caption in captions if caption.language == language]
        texts = [caption.text for caption in queries]
        answers = searcher.search_many(texts, languages=[language] * len(texts), k=searcher.size)
        videos = [list(dict.fromkeys(hit.video for hit in hits)) for hits in answers]
        found[language] = [hits.index(query.video) + 1 for query, hits in zip(queries, videos, strict=True)]
    searcher.close()
    return found


def _recalls(ranks: Sequence[int], size: int) -> str:
    recalls = " / ".join(f"{100 * float(np.mean(np.asarray(ranks) <= k)):.1f}" for k in (1, 5, 10))
    chance = " / ".join(f"{100 * k / size:.1f}" for k in (1, 5, 10))
    return f"{recalls} | {np.median(ranks):g} | {chance}"


def _mlcmr(*words: object) -> None:
    subprocess.run([sys.executable, "-m", "mlcmr", *map(str, words)], check=True, stdout=sys.stderr)


if __name__ == "__main__":
    main()
