"""The readers, each with inputs that are right and with what reads them.

Nothing heavy is imported before a target is fed.
"""

import io
import json
import shutil
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

CASES = Path(__file__).parents[1] / "cases"


@dataclass(frozen=True)
class Target:
    """A reader.

    Attributes:
        name: What the command line calls it.
        file: The file that holds the input, relative to a folder of the target's own.
        seeds: Makes what else must lie in that folder; returns inputs that are right.
        run: Reads the file; raises `MlcmrError` if it cannot be used.
        structured: If inputs are JSON, or lines of JSON.
        share: How many inputs in comparison with other targets.
        seconds: The most processor time that one input may take.
        megabytes: The most memory that one input may take.
        refusals: Further errors that are no faults.
        processes: If the reader starts a process of its own to look first.
        prints: If a library may print what it leaves out, and cannot be told not to.
    """

    name: str
    file: str
    seeds: Callable[[Path], Sequence[bytes]]
    run: Callable[[Path], object]
    structured: bool = False
    share: float = 1
    seconds: float = 10
    megabytes: int = 300
    refusals: tuple[type[Exception], ...] = ()
    processes: bool = False
    prints: bool = False


TARGETS: dict[str, Target] = {}


def _target(
    name: str, file: str, seeds: Callable[[Path], Sequence[bytes]], **options: Any
) -> Callable[..., Any]:
    def register(run: Callable[[Path], object]) -> Callable[[Path], object]:
        TARGETS[name] = Target(name, file, seeds, run, **options)
        return run

    return register


def _given(*inputs: str | bytes) -> Callable[[Path], Sequence[bytes]]:
    return lambda _: [one.encode() if isinstance(one, str) else one for one in inputs]


def _json(*values: Any) -> Callable[[Path], Sequence[bytes]]:
    return lambda _: [json.dumps(value).encode() for value in values]


# ─── settings and records ────────────────────────────────────────────────────────────────────────────────

_SETTINGS = """rootpath: ~/x
collection: vatex
feature: i3d
languages: [en, zh]
model: {text: {encoder: bert, trained_layers: 6}, video: {windows: [2, 3, 4]}}
optimizer: &o {learning_rate: 1.0e-4, clip: 2.0}
seed: 7
"""


@_target(
    "yaml",
    "in.yaml",
    _given(_SETTINGS, "a: &a [1, 2]\nb: *a\nc: {<<: &d {e: 1}, f: 2}\n- x\n", "'a': \"b\\n\""),
)
def _yaml(path: Path) -> None:
    from mlcmr.reading import read_yaml

    read_yaml(path, dict[str, Any], "mend it")


_CODE = """model: {text: {class_path: json.JSONDecoder, init_args: {strict: false}}}
loss: {name: a:b, options: {x: {class_path: json.JSONDecoder, init_args: {strict: false}}}}
"""


@_target("recipe", "in.yaml", _given(_SETTINGS, _CODE), share=0.3)
def _recipe(path: Path) -> None:
    from mlcmr.reading import read_settings
    from mlcmr.settings import from_dict
    from mlcmr.training.config import TrainConfig

    from_dict(TrainConfig, read_settings(path, "mend it"))


@_target("run", "config.yaml", _given(_SETTINGS))
def _run(path: Path) -> None:
    from mlcmr.data.run_settings import read_run

    read_run(path.parent)


_RECORD = {
    "video": "a",
    "path": "/films/a.mp4",
    "bytes": 5,
    "modified_ns": 1_700_000_000_123_456_789,
    "kind": "video",
    "duration": 2.5,
    "width": 4,
    "height": 3,
    "times": [0, 0.5, 1],
    "segments": [{"start": 0, "end": 2.0, "frames": [0, 3], "thumbnail": "thumbnails/a/0.jpg"}],
}


def _lines(*records: Any) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


@_target(
    "videos",
    "videos.jsonl",
    _given(_lines(_RECORD, _RECORD | {"video": "b", "kind": "image"})),
    structured=True,
)
def _videos(path: Path) -> None:
    from mlcmr.extraction.records import read_videos

    read_videos(path.parent)


_INDEX = {
    "format": 1,
    "id": "4b6e",
    "model": {"kind": "run", "name": "/r", "fingerprint": "ab" * 32, "embedding_size": 4, "feature_size": 3},
    "feature": "i3d",
    "encoder": None,
    "rate": 1.5,
    "count": None,
    "languages": ["en", "zh"],
    "generation": 3,
    "url": None,
    "name": None,
}


@_target("index", "index.json", _json(_INDEX), structured=True)
def _index(path: Path) -> None:
    from mlcmr.search.indexing.manifest import read_info

    read_info(path.parent)


_ENCODER = {"encoder": "a/b", "rate": 2.0, "segment": "10", "dimension": 512, "frames_per_feature": 1}


@_target("encoder", "encoder.json", _json(_ENCODER), structured=True)
def _encoder(path: Path) -> None:
    from mlcmr.extraction.feature_writer import read_encoder_settings

    read_encoder_settings(path.parent)


_MEASURED = _lines(
    *(
        {"step": step, "epoch": 0, "examples": 8, "loss": 1.5, "en~en'": 0.5, "zh→v": 1.0, "lr": 1e-4}
        for step in range(3)
    ),
    {"step": 3, "epoch": 0, "val/score": 50.0, "val/en": 20.0, "val/zh": 30.0, "best": True},
)


@_target("metrics", "metrics.jsonl", _given(_MEASURED), structured=True, share=0.1)
def _metrics(path: Path) -> None:
    from mlcmr.evaluation.pipeline import _read_curves
    from mlcmr.evaluation.report.html import _learning
    from mlcmr.progress import SILENT

    _learning(_read_curves(path, SILENT))


@_target("journal", "in.journal", _given(_lines({"beams": 4}, ["一只狗", "猫"], ["马"])), structured=True)
def _journal(path: Path) -> None:
    from mlcmr.translation.journal import open_journal

    with open_journal(path, {"beams": 4}, [2, 1, 2]) as journal:
        assert all(isinstance(text, str) for texts in journal.finished for text in texts)


@_target(
    "manifest",
    "sample/sample.json",
    _json(
        {
            "settings": {"videos": 20, "captions": 1, "seed": 0},
            "videos": {"train": 2},
            "captions": {},
            "files": {"a": 3},
        }
    ),
    structured=True,
)
def _manifest(path: Path) -> None:
    from mlcmr.sample.make import SampleSettings, _find_existing

    _find_existing(path.parent, SampleSettings(videos=20, captions=1))


def _evaluated(folder: Path) -> bytes:
    """Write the ranks and results of a run; return the results."""
    import numpy as np

    from mlcmr.evaluation.metrics import metrics_of_ranks
    from mlcmr.evaluation.ranks import compute_ranks
    from mlcmr.evaluation.ranks_file import StoredRanks, write_ranks

    owners = np.array([0, 1, 1, 2])
    ranks = compute_ranks(np.random.default_rng(0).random((4, 3)), owners)
    write_ranks(folder, {"zh": StoredRanks(ranks, owners)})
    metrics = {"fused": None, "target_only": metrics_of_ranks(ranks).to_dict()}
    evaluation = {"collection": "a", "split": "test", "target": "zh", "queries": 4, "videos": 3}
    evaluation |= {"metrics": metrics, "queries_digest": "0" * 64}
    results = json.dumps({"format": 1, "evaluations": [evaluation]}).encode()
    (folder / "results.json").write_bytes(results)
    return results


def _compare(path: Path) -> None:
    from mlcmr.evaluation.paired_tests import compare

    compare([path.parent, path.parent], resamples=2, permutations=2)


_target("results", "results.json", lambda folder: [_evaluated(folder)], structured=True)(_compare)


@_target("ranks", "ranks.npz", lambda folder: [_evaluated(folder), (folder / "ranks.npz").read_bytes()][1:])
def _ranks(path: Path) -> None:
    _compare(path)


# ─── features ────────────────────────────────────────────────────────────────────────────────────────────

_FRAMES = {f"v{video}": [f"v{video}_{frame}" for frame in range(3)] for video in range(4)}


def _features(folder: Path, file: str) -> Sequence[bytes]:
    import numpy as np

    from mlcmr.data.features.frame_features import open_features, write_features

    write_features(
        folder / "FeatureData" / "f", [(ids, np.ones((3, 5), np.float32)) for ids in _FRAMES.values()]
    )
    open_features(folder / "FeatureData" / "f")  # makes the cache
    (folder / "TextData").mkdir()
    (folder / "TextData" / f"{folder.name}train.caption.txt").write_text("v0#enc#0 a dog\nv1#enc#0 a cat\n")
    path = folder / file
    seeds = [path.read_bytes()]
    if path.name == "video2frames.txt":
        seeds += [json.dumps(_FRAMES).encode(), str(_FRAMES).replace("'v0'", 'u"v\\x30"').encode()]
    return seeds


def _check(path: Path) -> None:
    from mlcmr.data.check import check
    from mlcmr.data.features.frame_features import open_features

    collection = path.parents[2] if "FeatureData" in path.parts else path.parents[1]
    check(collection)
    features = open_features(collection / "FeatureData" / "f")
    for video in features:
        features[video]


for _name in ("shape.txt", "id.txt", "video2frames.txt", "video2frames.cache.npz", "feature.bin"):
    _file = f"FeatureData/f/{_name}"
    _seeds = lambda folder, file=_file: _features(folder, file)  # noqa: E731
    _target(_name, _file, _seeds, share=0.5)(_check)


def _npy(array: Any) -> bytes:
    import numpy as np

    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _npys(_: Path) -> Sequence[bytes]:
    import numpy as np

    matrix = np.arange(12, dtype=np.float32).reshape(4, 3)
    return [
        _npy(one) for one in (matrix, np.asfortranarray(matrix), matrix[0], matrix.astype(">f8"), matrix > 2)
    ]


def _convert(path: Path, rows: Any = "frames") -> None:
    from mlcmr.data.features.convert import arrays_to_features

    target = path.parent / "out"
    shutil.rmtree(target, ignore_errors=True)
    arrays_to_features(path, target, rows)


def _npy_seeds(folder: Path) -> Sequence[bytes]:
    (folder / "ids.txt").write_text("a b c d")
    return _npys(folder)


@_target("npy", "in.npy", _npy_seeds)
def _read_npy(path: Path) -> None:
    _convert(path, "videos")


@_target("npz member", "in.bin", _npys)
def _read_member(path: Path) -> None:
    archived = path.with_suffix(".npz")
    for name in ("v", "features", "ids"):
        with zipfile.ZipFile(archived, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"{name}.npy", path.read_bytes())
            for other in {"features", "ids"} - {name} if name != "v" else ():
                archive.writestr(f"{other}.npy", _ids() if other == "ids" else _npys(path)[0])
        try:
            _convert(archived)
        except Exception:
            if name == "ids":
                raise


@cache
def _ids() -> bytes:
    import numpy as np

    return _npy(np.array(["a_0", "a_1", "b_0", "b_1"]))


def _npzs(folder: Path) -> Sequence[bytes]:
    import numpy as np

    matrix = np.arange(12, dtype=np.float32).reshape(4, 3)
    seeds = []
    for save in (np.savez, np.savez_compressed):
        for arrays in (
            {"a": matrix, "b": matrix[0]},
            {"features": matrix, "ids": np.array(["a_0", "a_1", "b_0", "b_1"])},
        ):
            file = io.BytesIO()
            save(file, **arrays)  # type: ignore[arg-type]
            seeds.append(file.getvalue())
    return seeds


TARGETS["npz"] = Target("npz", "in.npz", _npzs, _convert)


@_target("text features", "in.txt", _given("a_0 1 2 3\na_1 4 5e-3 NaN\n\nb_0 1 2 .5\n"))
def _text_features(path: Path) -> None:
    from mlcmr.data.features.convert import text_to_features

    shutil.rmtree(path.parent / "out", ignore_errors=True)
    text_to_features(path, path.parent / "out")


# ─── captions ────────────────────────────────────────────────────────────────────────────────────────────


@_target(
    "captions", "in.caption.txt", _given("a#enc#0 A dog.\na#enc#1 It runs\r\nb.mp4#zh#0 一只狗\n", "a#0 x\n")
)
def _captions(path: Path) -> None:
    from mlcmr.data.captions import read_captions

    read_captions(path)


def _prepare(path: Path) -> None:
    from mlcmr.data.prepare import prepare

    target = path.parent / "out"
    shutil.rmtree(target, ignore_errors=True)
    prepare([path], target)


_TABLE = [
    ("video", "caption", "language"),
    ("a", "A dog, it runs.", "en"),
    ("b", '"Hi" he says', "en"),
    ("b", "一只狗", "zh"),
]
_ROWS = [dict(zip(_TABLE[0], row, strict=True)) for row in _TABLE[1:]]
_VATEX = [{"videoID": "a_000001_000011", "enCap": ["A dog.", "It runs."], "chCap": ["一只狗", "它跑"]}]
_MSRVTT = {
    "videos": [
        {"video_id": "video0", "split": "train", "id": 0},
        {"video_id": "video1", "split": "test", "id": 1},
    ],
    "sentences": [
        {"video_id": "video0", "caption": "a dog", "sen_id": 0},
        {"video_id": "video1", "caption": "b", "sen_id": 1},
    ],
}


def _tables(ending: str) -> Callable[[Path], Sequence[bytes]]:
    delimiter = {"csv": ",", "tsv": "\t"}[ending]
    plain = "\n".join(
        delimiter.join(f'"{cell}"' if "," in cell else cell for cell in row) for row in _TABLE
    ).encode()
    others = [path.read_bytes() for path in sorted(CASES.glob(f"*.{ending}"))]
    return lambda _: [plain, plain.replace(b"\n", b"\r"), b"sep=;\n" + plain.replace(b",", b";"), *others]


_vatex_cases = [path.read_bytes() for path in sorted(CASES.glob("*.json"))]
TARGETS["csv"] = Target("csv", "in.csv", _tables("csv"), _prepare)
TARGETS["tsv"] = Target("tsv", "in.tsv", _tables("tsv"), _prepare)
TARGETS["json"] = Target(
    "json", "in.json", lambda _: [*_json(_VATEX, _MSRVTT, _ROWS)(_), *_vatex_cases], _prepare, structured=True
)
TARGETS["jsonl"] = Target("jsonl", "in.jsonl", _given(_lines(*_ROWS)), _prepare, structured=True)


def _parquets(_: Path) -> Sequence[bytes]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    seeds = []
    for options in ({}, {"compression": "gzip"}, {"use_dictionary": False, "compression": "none"}):
        file = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(_ROWS), file, **options)
        seeds.append(file.getvalue())
    return seeds


TARGETS["parquet"] = Target("parquet", "in.parquet", _parquets, _prepare, share=0.2, processes=True)

# ─── pictures and videos ─────────────────────────────────────────────────────────────────────────────────


def _pictures(_: Path) -> Sequence[bytes]:
    from PIL import Image, features

    image = Image.linear_gradient("L").resize((40, 30)).convert("RGB")
    formats = [
        "JPEG",
        "PNG",
        "GIF",
        "BMP",
        "TIFF",
        *(one for one, code in _CODECS.items() if features.check(code)),
    ]
    seeds = [
        path.read_bytes()
        for path in sorted(CASES.iterdir())
        if path.suffix in {".heic", ".jp2", ".png", ".tif", ".webp"}
    ]
    for one in formats:
        file = io.BytesIO()
        image.save(file, one)
        seeds.append(file.getvalue())
    return [seed for seed in seeds if len(seed) < 100_000]


_CODECS = {"WEBP": "webp", "AVIF": "avif", "JPEG2000": "jpg_2000"}


@_target("picture", "in.png", _pictures, megabytes=4000, seconds=120)  # of 89 million pixels, several copies
def _picture(path: Path) -> None:
    from mlcmr.extraction.media.decode import open_media
    from mlcmr.extraction.media.images import jpeg, shrink
    from mlcmr.extraction.media.sampling import Sampling

    with open_media(path) as media:
        for frame in media.sample(Sampling(num_frames=2)):
            jpeg(shrink(frame.picture))


def _clips(_: Path) -> Sequence[bytes]:
    endings = {".ts", ".mp4", ".mkv", ".webm", ".m1v", ".webp"}
    clips = [path.read_bytes() for path in sorted(CASES.iterdir()) if path.suffix in endings]
    return [clip[:150_000] for clip in clips] + [b"YUV4MPEG2 W32 H32 F25:1\nFRAME\n" + b"\x40" * 1536]


def _sample(path: Path) -> None:
    from mlcmr.extraction.encoders.histogram import HistogramEncoder
    from mlcmr.extraction.extract_collection import sample_file
    from mlcmr.extraction.media.sampling import Sampling

    sample_file(path, HistogramEncoder(), Sampling(num_frames=3), most_frames=64)


_VIDEO = {"share": 0.2, "seconds": 60.0, "megabytes": 2000}
for _ending in ("mp4", "ts", "mkv"):
    TARGETS[f"video.{_ending}"] = Target(f"video.{_ending}", f"in.{_ending}", _clips, _sample, **_VIDEO)  # type: ignore[arg-type]


# ─── models and states ───────────────────────────────────────────────────────────────────────────────────


def _model(folder: Path, file: str) -> Sequence[bytes]:
    import torch

    from mlcmr.model.encoders.scratch import new_encoder
    from mlcmr.model.mlcmr import MLCMR
    from tests.helpers.tiny import tiny_model

    config = tiny_model()
    torch.manual_seed(0)
    assert config.text.new is not None
    transformer, tokenizer = new_encoder(config.text.new, ["a dog runs", "一只狗"] * 9, lowercase=True)
    MLCMR(config, 12, transformer, tokenizer).save_pretrained(folder / "model")
    return [(folder / file).read_bytes()]


def _open_model(path: Path) -> None:
    from mlcmr.model.mlcmr import MLCMR

    folder = next(parent for parent in path.parents if parent.name == "model")
    MLCMR.from_pretrained(folder).encode_texts(["a dog"], "en")


for _name, _file in {
    "model config": "model/config.json",
    "encoder config": "model/text_encoder/config.json",
    "tokenizer config": "model/text_encoder/tokenizer_config.json",
    "tokenizer": "model/text_encoder/tokenizer.json",
    "weights": "model/model.safetensors",
}.items():
    _seeds = lambda folder, file=_file: _model(folder, file)  # noqa: E731
    TARGETS[_name] = Target(
        _name,
        _file,
        _seeds,
        _open_model,
        structured=_file.endswith("json"),
        share=0.1,
        megabytes=1000,
        prints=_name.startswith("tokenizer"),  # Rust code says `Ignored unknown kwarg option`
    )


def _state(folder: Path) -> Sequence[bytes]:
    import torch

    from mlcmr.training.checkpoint import LoopState, TrainingState, write_state
    from mlcmr.training.config import OptimizerConfig
    from mlcmr.training.schedule import Schedule

    weight = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam(weight.parameters())
    weight(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    progress = LoopState(Schedule(OptimizerConfig(), 1e-4))
    weights, captions = weight.state_dict(), {"captions": "ab"}
    state = TrainingState(progress, weights, weights, optimizer.state_dict(), {}, 10, captions)
    write_state(folder / "last.ckpt", state)
    return [(folder / "last.ckpt").read_bytes()]


@_target("state", "last.ckpt", _state)
def _read_state(path: Path) -> None:
    from mlcmr.training.checkpoint import read_state

    read_state(path)


def _pickled(folder: Path) -> Sequence[bytes]:
    _state(folder)
    with zipfile.ZipFile(folder / "last.ckpt") as archive:
        return [archive.read(next(name for name in archive.namelist() if name.endswith("data.pkl")))]


@_target("state pickle", "in.pkl", _pickled)
def _read_pickle(path: Path) -> None:
    """The pickle inside a state, in an archive that is whole."""
    target = path.with_name("new.ckpt")
    with zipfile.ZipFile(path.with_name("last.ckpt")) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            new.writestr(name, path.read_bytes() if name.endswith("data.pkl") else old.read(name))
    _read_state(target)


def _published(folder: Path) -> Sequence[bytes]:
    import argparse

    import torch

    path = folder / "x.pth.tar"
    seeds = []
    for zipped in (True, False):
        content = {"model": [{"weight": torch.zeros(2, 2)}] * 4, "opt": argparse.Namespace(dropout=0.2)}
        torch.save(content, path, _use_new_zipfile_serialization=zipped)
        seeds.append(path.read_bytes())
    return seeds


@_target("published", "in.pth.tar", _published)
def _import(path: Path) -> None:
    from mlcmr.model.legacy_checkpoint import _load

    _load(path)


# ─── what people type, and requests ──────────────────────────────────────────────────────────────────────


@_target(
    "filter", "in.txt", _given("duration<60\nkind=video\nvideo!=a b", "path~é/x\nstart >= 1e3", "width = 0")
)
def _filter(path: Path) -> None:
    from mlcmr.search.filters import Filters

    Filters.parse(path.read_bytes().decode(errors="surrogateescape").split("\n"))


@_target(
    "query", "in.txt", _given("a dog catches a frisbee", "一只狗在接飞盘", "日本語", "سگ می‌دود", "[MASK] ☃ é")
)
def _query(path: Path) -> None:
    from mlcmr.data.language_detection import guess_language
    from mlcmr.data.languages import clean_english

    text = path.read_bytes().decode(errors="replace")
    clean_english(text)
    try:
        guess_language(text)
    except TypeError:
        guess_language(text, ["en", "zh", "ja", "de"])  # type: ignore[call-arg]


@cache
def _client(folder: Path) -> Any:
    from starlette.testclient import TestClient

    from mlcmr.search.http.app import create_app
    from mlcmr.search.http.service import ServerLimits
    from tests.helpers.fake_searcher import plain_searcher

    app = create_app(plain_searcher(folder / "films"), limits=ServerLimits(rate=0.0))
    return TestClient(app, base_url="http://localhost", raise_server_exceptions=False)


_FORM = (
    b"POST /api/search\ncontent-type: multipart/form-data; boundary=xyz\n\n--xyz\r\n"
    b'content-disposition: form-data; name="file"; filename="a.png"\r\n\r\n\x89PNG\r\n\x1a\nxx\r\n--xyz--\r\n'
)
_REQUESTS = (
    b"GET /api/search?q=a%20dog&k=3&filter=duration%3C60\n\n",
    b"GET /api/videos/a/similar?segment=0\n\n",
    b"GET /media/a\nrange: bytes=0-99\n\n",
    b"GET /thumbnails/a/0\n\n",
    b"GET /api/index\naccept-language: de\n\n",
    b'POST /api/search\ncontent-type: application/json\n\n{"queries": [{"q": "a dog", "k": 3}], "k": 5}',
    _FORM,
)


@_target("request", "in.http", _given(*_REQUESTS), seconds=20)
def _request(path: Path) -> None:
    """One request: the first line, headers, a blank line, the body."""
    head, _, body = path.read_bytes().partition(b"\n\n")
    first, *lines = head.decode("latin-1").split("\n")
    method, _, address = first.partition(" ")
    headers = [tuple(part.strip() for part in line.split(":", 1)) for line in lines if ":" in line]
    client = _client(path.parent)
    try:
        url = client.base_url.copy_with(raw_path=address.encode("latin-1"))
        answer = client.send(client.build_request(method or "GET", url, headers=headers, content=body))
    except Exception as error:
        if isinstance(error, ValueError | TypeError) or type(error).__name__ == "InvalidURL":
            return  # this client cannot send it
        raise
    assert answer.status_code < 500, answer.status_code
