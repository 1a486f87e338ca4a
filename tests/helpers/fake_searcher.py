"""A searcher without a model or vectors: it counts shared words. Fast, and slow or broken on demand."""

import os
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mlcmr.data.captions import read_captions
from mlcmr.data.language_detection import guess_language
from mlcmr.extraction.media.images import UnreadableFileError
from mlcmr.search.file_access import MediaFile, open_below, open_media_file
from mlcmr.search.filters import Filters
from mlcmr.search.hits import CaptionHit, Hit
from mlcmr.search.opened_index import UnknownVideo
from mlcmr.search.query_encoder import UnreadableQuery
from mlcmr.search.searcher import Searcher

_PREFIX = {"en": "enc", "zh": "zh"}


@dataclass(frozen=True)
class FakeVideo:
    """The segments and captions of one video."""

    hits: tuple[Hit, ...]  # one per segment
    captions: dict[str, list[str]]


class FakeSearcher(Searcher):
    """The methods of `Searcher` that the server calls; mypy checks that the signatures agree."""

    model_name = "fake"
    languages = known_languages = ("en", "zh")
    trained_languages: tuple[str, ...] = ()
    exact = True
    version = 1
    format: str | None = None  # of files that are none; else their own

    def __init__(self, videos: dict[str, FakeVideo]) -> None:
        self.videos = videos
        self.batches: list[int] = []
        self.files: list[bytes] = []
        self.seconds = 0.0
        self.gate = threading.Event()
        self.gate.set()
        self.error: Exception | None = None

    @property
    def size(self) -> int:
        return sum(len(video.hits) for video in self.videos.values())

    def search(
        self, text: str, *, language: str | None = None, k: int = 10, filters: Filters | None = None
    ) -> list[Hit]:
        return self._ranked(text, k, filters)

    def require_readable(self, text: str, language: str | None = None) -> None:
        if text == "😀":
            raise UnreadableQuery(f"query {text!r}: nothing in it that the model can read")

    def search_many(
        self,
        texts: Sequence[str],
        *,
        languages: Sequence[str | None] | None = None,
        k: int | Sequence[int] = 10,
        filters: Filters | Sequence[Filters | None] | None = None,
    ) -> list[list[Hit]]:
        self.batches.append(len(texts))
        self._work()
        if "xx" in (languages or ()):
            raise ValueError("language xx")
        counts = [k] * len(texts) if isinstance(k, int) else k
        wanted = filters if isinstance(filters, Sequence) else [filters] * len(texts)
        return [self._ranked(*one) for one in zip(texts, counts, wanted, strict=True)]

    def search_file(
        self,
        path: str | Path,
        *,
        k: int = 10,
        filters: Filters | None = None,
        check_cancelled: Callable[[], object] = lambda: None,
    ) -> list[Hit]:
        content = Path(path).read_bytes()
        self.files.append(content)
        self._work()
        if b"broken" in content:
            raise UnreadableFileError(f"{path}: cannot be decoded; lower `rate`")
        return self._ranked("", k, filters)

    def similar(
        self, video: str, segment: int = 0, *, k: int = 10, filters: Filters | None = None
    ) -> list[Hit]:
        words = self.segment(video, segment).caption
        return [hit for hit in self._ranked(words, self.size, filters) if hit.video != video][:k]

    def segment(self, video: str, segment: int = 0) -> Hit:
        if segment >= len(self.video(video)):
            raise UnknownVideo(video)
        return self.videos[video].hits[segment]

    @property
    def roots(self) -> tuple[str, ...]:
        return (os.path.realpath("/"),)

    def folders_outside(self, most: int) -> list[str]:
        return []

    def open_media(self, video: str) -> MediaFile:
        path = self.segment(video).path
        if self.format is None:
            return open_media_file(path, self.roots)
        return MediaFile(open_below(path, self.roots), path, self.format)

    def open_thumbnail(self, video: str, segment: int) -> MediaFile:
        path = self.segment(video, segment).thumbnail
        return MediaFile(open_below(path, self.roots), path, "JPEG")

    def captions(self, video: str, *, k: int = 10, language: str | None = None) -> list[CaptionHit]:
        if video not in self.videos:
            raise UnknownVideo(video)
        return [
            CaptionHit(video, f"{video}#{_PREFIX[spoken]}#{number}", spoken, text, 0.5)
            for spoken, texts in self.videos[video].captions.items()
            for number, text in enumerate(texts)
            if language in (None, spoken)
        ][:k]

    def video(self, video: str) -> list[Hit]:
        if video not in self.videos:
            raise UnknownVideo(video)
        return list(self.videos[video].hits)

    def close(self) -> None:
        pass

    def _work(self) -> None:
        self.gate.wait(30)
        time.sleep(self.seconds)
        if self.error:
            raise self.error

    def _ranked(self, text: str, k: int, filters: Filters | None) -> list[Hit]:
        asked = _words(text)
        hits = []
        for video in self.videos.values():
            said = [_words(caption) for captions in video.captions.values() for caption in captions]
            score = max((len(asked & words) / len(asked | words) for words in said if words), default=0.0)
            caption = video.captions.get(guess_language(text), [video.hits[0].caption])[0]
            hits += [replace(one, score=score - 0.01 * one.segment, caption=caption) for one in video.hits]
        if filters and any(one.field == "kind" and one.value == "image" for one in filters.conditions):
            hits = []
        return sorted(hits, key=lambda hit: (-hit.score, hit.video))[:k]


def _words(text: str) -> set[str]:
    return set(re.findall(r"[a-z]+|[\u4e00-\u9fff]", text.lower())) - {"a", "the", "一", "个", "的"}


def plain_searcher(folder: Path) -> FakeSearcher:
    """Three videos whose files are bytes, two segments each."""
    videos = {}
    captions = {
        "cat": {"en": ["A cat sleeps on a sofa."], "zh": ["一只猫在沙发上睡觉"]},
        "dog.park-1": {"en": ["A dog runs in the park."], "zh": ["一只狗在公园里跑"]},
        "鸟": {"en": ["A bird sings."], "zh": ["一只鸟在唱歌"]},
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "secret.txt").write_text("not indexed")
    for name, texts in captions.items():
        path, thumbnail = folder / f"{name}.mp4", folder / f"{name}.jpg"
        path.write_bytes(bytes(range(256)) * 4)
        thumbnail.write_bytes(b"\xff\xd8\xff picture")
        hits = tuple(
            Hit(
                name,
                n,
                1.0,
                str(path),
                5.0 * n,
                5.0 * n + 5,
                10.0,
                320,
                240,
                "video",
                str(thumbnail),
                texts["en"][0],
            )
            for n in range(2)
        )
        videos[name] = FakeVideo(hits, texts)
    searcher = FakeSearcher(videos)
    searcher.format = "mov,mp4,m4a,3gp,3g2,mj2"
    return searcher


def sample_searcher(collection: Path) -> FakeSearcher:
    """Over the clips of the sample collection, two segments each."""
    import av

    texts: dict[str, dict[str, list[str]]] = {}
    for language, suffix in (("en", ""), ("zh", "_zh")):
        for split in ("train", "val", "test"):
            read = read_captions(collection / "TextData" / f"sample{split}{suffix}.caption.txt")
            for key, text in zip(read.keys, read.texts, strict=True):
                texts.setdefault(key.split("#")[0], {}).setdefault(language, []).append(text)
    thumbnails = collection / "thumbnails"
    thumbnails.mkdir(exist_ok=True)
    videos = {}
    for path in sorted((collection / "VideoData").glob("*.mp4")):
        with av.open(str(path)) as container:
            frames = [one.to_image() for one in container.decode(video=0)]  # type: ignore[no-untyped-call]
        hits = []
        for number in range(2):
            picture = thumbnails / f"{path.stem}-{number}.jpg"
            frames[number * len(frames) // 2].save(picture)
            caption = texts[path.stem]["en"][0]
            hits.append(
                Hit(path.stem, number, 1.0, str(path), number * 1.0, number + 1.0, 2.0, 96, 96, "video",
                    str(picture), caption)
            )  # fmt: skip
        videos[path.stem] = FakeVideo(tuple(hits), texts[path.stem])
    return FakeSearcher(videos)
