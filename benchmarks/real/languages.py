"""Accuracy of the guessed language of a query: python -m benchmarks.real.languages ROOTPATH."""

import sys
from collections.abc import Sequence
from pathlib import Path

from mlcmr.data.captions import read_captions
from mlcmr.data.language_detection import guess_language

CAPTIONS = {
    "flickr8kcn": {"en": "", "de": "_de", "zh": "_zh"},
    "msrvtt1k": {"en": "", "it": "_it"},
}
TRAINED = [("flickr8kcn", ["de"]), ("flickr8kcn", ["en", "de"]), ("flickr8kcn", ["en", "zh", "de"]),
           ("msrvtt1k", ["en", "it"])]  # fmt: skip
WORDS = [2, 3, None]


def share(texts: Sequence[str], language: str, trained: Sequence[str], words: int | None) -> float:
    """Return the share of texts, cut to so many words, whose language is guessed right."""
    queries = [" ".join(text.split()[:words]) for text in texts]
    return sum(guess_language(query, trained) == language for query in queries) / len(queries)


def main(rootpath: Path) -> None:
    """Print a row for each language of each model."""
    print("trained in    captions of    2 words   3 words   whole")
    for collection, trained in TRAINED:
        folder = rootpath / collection / "TextData"
        for language in trained:
            name = f"{collection}test{CAPTIONS[collection][language]}.caption.txt"
            texts = read_captions(folder / name).texts
            shares = [f"{share(texts, language, trained, words):9.1%}" for words in WORDS]
            of = f"{len(texts):,} in {collection}"
            print(f"{', '.join(trained):13} {language:12} {' '.join(shares)}   of {of}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
