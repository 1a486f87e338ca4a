"""Feature folders: written and read, in whatever order frames lie, and nothing in them is trusted."""

import json
import os
import pickle
import shutil
import stat
import time
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlcmr.data.captions import parse_caption_id, read_captions
from mlcmr.data.check import check
from mlcmr.data.features import open_features, row_cache, write_features
from mlcmr.data.features.row_cache import CACHE_NAME, cache_fault
from mlcmr.data.features.video2frames import videos_of_frames
from mlcmr.errors import InvalidValueError, MlcmrError, NotFoundError
from mlcmr.files import new_folder


def numbers(frames: int, dimension: int = 3, start: int = 0) -> np.ndarray:
    return np.arange(start, start + frames * dimension, dtype=np.float32).reshape(frames, dimension)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five frames of two videos, row i holding 3i, 3i+1, 3i+2."""
    path = tmp_path / "FeatureData" / "toy"
    write_features(path, [(["a_0", "a_1"], numbers(2)), (["b-1_0", "b-1_1", "b-1_2"], numbers(3, start=6))])
    return path


def refused(folder: Path) -> str:
    with pytest.raises(MlcmrError) as caught:
        open_features(folder)
    message = str(caught.value)
    assert message.startswith(str(folder))
    assert "\n" not in message
    return message.removeprefix(f"{folder}{os.sep}")


# The published arrays


@pytest.fixture
def golden(reference_data) -> Path:
    return reference_data("golden/data/vatex/FeatureData/feat16")


def test_golden_features_are_those_that_the_published_code_read(golden, reference_data):
    features = open_features(golden)
    with np.load(reference_data("golden/data.npz")) as reference:
        names = sorted(
            {
                name.rpartition("/video/")[0]
                for name in reference.files
                if "val_vis" in name and "/video/" in name
            }
        )
        videos = []
        for name in names:
            batch = {key: reference[f"{name}/video/{key}"] for key in ("frames", "mean_origin", "lengths")}
            for video, frames, mean, length in zip(reference[f"{name}/ids"], *batch.values(), strict=True):
                ours = features[str(video)]
                np.testing.assert_array_equal(ours[:64], frames[: int(length)])
                np.testing.assert_allclose(ours.mean(0), mean, rtol=1e-5, atol=1e-6)
                videos.append(str(video))
    assert sorted(videos) == sorted(features.videos)


def test_golden_frames_come_in_the_order_of_the_video(golden):
    features = open_features(golden)
    rows = features.rows("vid_9")
    np.testing.assert_array_equal(np.diff(rows), -1)
    np.testing.assert_array_equal(features["vid_9"], features.matrix[rows[-1] : rows[0] + 1][::-1])
    assert [len(features[f"vid_{i}"]) for i in range(10)] == [1, 2, 3, 4, 5, 6, 10, 32, 64, 70]


# Reading and writing


def test_a_folder_is_read_as_it_was_written(folder):
    features = open_features(folder)
    assert features.videos == ["a", "b-1"]
    assert (len(features), features.dimension) == (2, 3)
    assert "a" in features
    assert "a_0" not in features
    assert list(features) == features.videos
    np.testing.assert_array_equal(features["b-1"], numbers(3, start=6))
    assert sorted(path.name for path in folder.iterdir()) == [
        "feature.bin", "id.txt", "shape.txt", CACHE_NAME, "video2frames.txt"
    ]  # fmt: skip


ODD_IDS = [
    "a_1",
    "-a",
    "a-b_c",
    "it's",
    'a"b',
    "a\\b",
    "视频",
    "_",
    "a_000000_000010",
    "é",
    "__import__('os')",
]
LETTERS = st.characters(exclude_categories=["Cs", "Zs", "Zl", "Zp", "Cc"], exclude_characters="\ufeff")
IDS = st.text(LETTERS, min_size=1, max_size=8) | st.sampled_from(ODD_IDS)


@st.composite
def collections(draw):
    """Frames in any order, of videos in any order, each with a row of its own."""
    frames = draw(st.lists(IDS, min_size=1, max_size=20, unique=True))
    cuts = sorted(draw(st.sets(st.integers(1, len(frames) - 1), max_size=6))) if len(frames) > 1 else []
    spans = [frames[a:b] for a, b in zip([0, *cuts], [*cuts, len(frames)], strict=True)]
    videos = draw(st.lists(IDS, min_size=len(spans), max_size=len(spans), unique=True))
    rows = draw(st.permutations(frames))
    return dict(zip(videos, spans, strict=True)), rows, draw(st.integers(1, 5)), draw(st.integers(1, 20))


@settings(max_examples=30)
@given(collections(), st.integers(0, 2**32 - 1))
def test_frames_may_lie_anywhere_and_in_any_order(tmp_path_factory, collection, seed):
    video2frames, ids, dimension, step = collection
    folder = tmp_path_factory.mktemp("features") / "toy"
    matrix = np.random.default_rng(seed).standard_normal((len(ids), dimension)).astype(np.float32)
    starts = range(0, len(ids), step)
    write_features(folder, ((ids[i : i + step], matrix[i : i + step]) for i in starts), video2frames)
    for _ in ("parsed", "from the cache"):
        features = open_features(folder)
        assert features.videos == list(video2frames)
        for video, frames in video2frames.items():
            np.testing.assert_array_equal(features[video], matrix[[ids.index(frame) for frame in frames]])
        positions = np.random.default_rng(seed).integers(0, len(features), 9)
        gathered, counts = features.gather(positions)
        alone = [features[features.videos[position]] for position in positions]
        np.testing.assert_array_equal(gathered, np.concatenate(alone))
        assert counts.tolist() == list(map(len, alone))


def test_videos_of_frames_sorts_by_number_not_by_letter():
    assert videos_of_frames(["b_10", "a_b_2", "b_9", "a_b_1", "a-1_000003"]) == {
        "b": ["b_9", "b_10"], "a_b": ["a_b_1", "a_b_2"], "a-1": ["a-1_000003"]
    }  # fmt: skip
    with pytest.raises(InvalidValueError, match=r"'frame' is not <video>_<number>"):
        videos_of_frames(["a_0", "frame"])


@pytest.mark.parametrize(
    ("blocks", "video2frames", "message"),
    [
        ([], None, "no frames to write"),
        ([(["a_0"], numbers(2))], None, r"1 ids for features of shape \(2, 3\)"),
        ([(["a_0"], numbers(1)[0])], None, r"shape \(3,\)"),
        ([(["a_0"], numbers(1, 0))], None, r"shape \(1, 0\)"),
        ([(["a_0"], numbers(1)), (["a_1"], numbers(1, 4))], None, "'a_1' has 4 numbers, those before it 3"),
        ([(["a_0"], numbers(1)), (["a_0"], numbers(1))], None, "'a_0' is listed twice"),
        ([(["a b_0"], numbers(1))], None, "white space"),
        ([([""], numbers(1))], {"a": [""]}, "blank"),
        ([(["\ud800_0"], numbers(1))], None, "not Unicode"),
        ([(["a_0"], numbers(1))], {"a": ["a_1"]}, "frame 'a_1' of video 'a' is not in id.txt"),
        ([(["a_0"], numbers(1))], {"a": ["a_0"], "b": []}, "video 'b' has no frames"),
        ([(["a"], numbers(1))], None, "is not <video>_<number>"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_not_written(blocks, video2frames, message, tmp_path):
    with pytest.raises(MlcmrError, match=message):
        write_features(tmp_path / "toy", blocks, video2frames)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_not_touched(folder):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(InvalidValueError, match="exists already"):
        write_features(folder, [(["a_0"], numbers(1))])
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_a_new_folder_is_as_the_user_makes_them(tmp_path, mask):
    """With folders in it, in the place of an empty one, for those to read whom the user lets."""
    before = os.umask(mask)
    try:
        (tmp_path / "new").mkdir()
        with new_folder(tmp_path / "new") as temporary:
            (temporary / "inner").mkdir()
            (temporary / "inner" / "file").write_text("whole")
            assert not list((tmp_path / "new").iterdir())
    finally:
        os.umask(before)
    assert (tmp_path / "new" / "inner" / "file").read_text() == "whole"
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o777 & ~mask
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_of_two_new_folders_of_one_name_the_first_stays(tmp_path):
    def make(content, meanwhile=lambda: None):
        with new_folder(tmp_path / "new") as temporary:
            (temporary / "file").write_text(content)
            meanwhile()

    with pytest.raises(MlcmrError, match="new: cannot be written"):
        make("second", meanwhile=lambda: make("first"))
    assert (tmp_path / "new" / "file").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_a_failing_block_leaves_nothing(tmp_path):
    def blocks():
        yield ["a_0"], numbers(1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_features(tmp_path / "toy", blocks())
    assert list(tmp_path.iterdir()) == []


# video2frames.txt


def test_nothing_in_video2frames_is_executed(folder, tmp_path):
    trace = tmp_path / "trace"
    for expression in (
        f"__import__('os').system('touch {trace}')",
        f"{{'a': [__import__('os').system('touch {trace}')]}}",
        f"{{__import__('pathlib').Path('{trace}').touch(): ['a_0']}}",
        f"{{'a': [x for x in [open('{trace}', 'w')]]}}",
        f'{{"a": [f"{{open(\'{trace}\', chr(119))}}"]}}',
    ):
        (folder / "video2frames.txt").write_text(expression)
        assert refused(folder) == "video2frames.txt: not a dict of lists, {'<video>': ['<frame>', …], …}"
    assert not trace.exists()


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", "['ab']", "[['a', ['a_0']]]", "[1]", "null", "{'a': 'a_0'}", "{1: ['a_0']}", "{'a', 'b'}",
     "{**{'a': ['a_0']}}", "{'a': {[]}}", "{'a': None}", "'" * 9, "{" * 500, "[" * 100_000, "\x00",
     '{"a": ["a_0"]', "dict(a=['a_0'])"],
)  # fmt: skip
def test_other_texts_are_refused_in_one_line(text, folder):
    (folder / "video2frames.txt").write_text(text)
    assert refused(folder).startswith("video2frames.txt: ")


@pytest.mark.parametrize(
    "text",
    [
        "{'a': ['a_1', 'a_0']}",
        '{"a": ["a_1", "a_0"]}',
        "{u'a': [u'a_1', u'a_0']}",
        "{'a': ['a_1', 'a_0',],}\n",
        "{'a':\r\n  ['a_1',\r\n   'a_0']}\r\n",
        '{"\\x61": ["a_1", \'a_0\']}',
        "\ufeff{'a': ['a_1', 'a_0']}",
    ],
)
def test_every_way_to_write_the_dict_is_read(text, folder):
    (folder / "video2frames.txt").write_text(text)
    features = open_features(folder)
    assert features.videos == ["a"]
    assert features.rows("a").tolist() == [1, 0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{'a': ['a_0'], 'a': ['a_1']}", "video 'a' is listed twice"),
        ("{'a': ['a_0', 'a_7']}", "frame 'a_7' of video 'a' is not in id.txt"),
        ("{'a': ['a_0', 7]}", "frame '7' of video 'a' is not in id.txt"),
        ("{'a': [['a_0']]}", "is not in id.txt"),
        ("{'a': ['a_0'], 'b': []}", "video 'b' has no frames"),
        ("{}", "no videos"),
    ],
)
def test_faults_of_video2frames_are_named(text, message, folder):
    (folder / "video2frames.txt").write_text(text)
    assert message in refused(folder)


def test_ids_as_the_published_tools_wrote_them(folder):
    (folder / "id.txt").write_bytes("é_0 é_1 b_0 b_1 b_2".encode("iso-8859-1"))
    (folder / "video2frames.txt").write_bytes("{'é': ['é_1', 'é_0'], 'b': ['b_0']}".encode("iso-8859-1"))
    assert open_features(folder).rows("é").tolist() == [1, 0]


# Damage


@pytest.mark.parametrize("name", ["feature.bin", "id.txt", "shape.txt", "video2frames.txt"])
def test_a_missing_file_is_named(name, folder):
    (folder / name).unlink()
    assert refused(folder) == f"{name}: no such file"


@pytest.mark.parametrize("shape", ["", "5", "5 3 1", "5 x", "5 -3", "5 0", "5.0 3", "٥ 3", "9" * 5000 + " 3"])
def test_a_malformed_shape_is_named(shape, folder):
    (folder / "shape.txt").write_text(shape)
    assert "is not '<frames> <dimension>'" in refused(folder)


def test_sizes_must_agree(folder):
    (folder / "shape.txt").write_text("26 1024")
    assert refused(folder) == ("feature.bin: 60 bytes, but shape.txt says 26 × 1,024 float32 = 106,496 bytes")
    (folder / "shape.txt").write_text("3 5")
    assert refused(folder) == "id.txt: 5 frame ids, but shape.txt says 3 frames"


def test_sizes_must_agree_with_what_the_cache_says_too(folder):
    open_features(folder)
    (folder / "shape.txt").write_text("3 5")
    assert refused(folder) == "id.txt: 5 frame ids, but shape.txt says 3 frames"


def test_repeated_frames_are_named(folder):
    (folder / "id.txt").write_text("a_0 a_1 b-1_0 a_1 b-1_2")
    assert refused(folder) == "id.txt: frame id 'a_1' is listed twice"


def test_an_unknown_video_is_named(folder):
    with pytest.raises(NotFoundError, match="no video 'zebra'"):
        open_features(folder)["zebra"]


# Accents


NFC, NFD = "caf\u00e9_\uac00", unicodedata.normalize("NFD", "caf\u00e9_\uac00")


@pytest.mark.parametrize("videos", [NFC, NFD, ascii(NFD)[1:-1]], ids=["NFC", "NFD", "escaped NFD"])
@pytest.mark.parametrize("frames", [NFC, NFD], ids=["NFC", "NFD"])
@pytest.mark.parametrize("captions", [NFC, NFD], ids=["NFC", "NFD"])
def test_captions_and_features_meet_however_accents_are_written(videos, frames, captions, tmp_path):
    """macOS and Windows write the same name differently."""
    folder = tmp_path / "toy" / "FeatureData" / "feat"
    write_features(folder, [([f"{frames}_0", f"{frames}_1"], numbers(2))])
    literal = f"{{'{videos}': ['{videos}_0', '{videos}_1']}}"
    (folder / "video2frames.txt").write_text(literal, encoding="utf-8")
    texts = tmp_path / "toy" / "TextData"
    texts.mkdir()
    line = f"{captions}#enc#0 a dog\n"
    (texts / "toytrain.caption.txt").write_text(line, encoding="utf-8")
    read = read_captions(texts / "toytrain.caption.txt")
    for _ in ("parsed", "from the cache"):
        features = open_features(folder)
        assert read.videos == features.videos == [NFC]
        assert read.ids == [f"{NFC}#enc#0"]
        for name in (NFC, NFD):
            assert name in features
            assert features.rows(name).tolist() == [0, 1]
            assert parse_caption_id(f"{name}#enc#0").video == NFC
    assert not [one for one in check(folder.parents[1]).problems if "feat" in one]


def test_a_cache_of_an_earlier_version_may_have_accents_apart(folder):
    literal = (folder / "video2frames.txt").read_text().replace("'a'", f"'{NFD}'")
    (folder / "video2frames.txt").write_text(literal, encoding="utf-8")
    open_features(folder)
    rewrite_cache(folder, videos=np.frombuffer(f"{NFD}\nb-1".encode(), np.uint8))
    assert open_features(folder).videos == [NFC, "b-1"]
    assert cache_fault(folder) is None


def test_one_video_in_two_spellings_is_named(folder):
    literal = f"{{'{NFC}': ['a_0'], '{NFD}': ['a_1']}}"
    (folder / "video2frames.txt").write_text(literal, encoding="utf-8")
    assert refused(folder) == f"video2frames.txt: video '{NFC}' is listed twice"


# The cache


def test_the_cache_is_used(folder, monkeypatch):
    open_features(folder)
    monkeypatch.setattr(row_cache, "parse_video2frames", lambda *_: pytest.fail("parsed again"))
    assert open_features(folder).videos == ["a", "b-1"]


@pytest.mark.parametrize("name", ["video2frames.txt", "id.txt"])
def test_the_cache_notices_a_change_of_the_same_size_and_time(name, folder):
    assert open_features(folder).rows("a").tolist() == [0, 1]
    path = folder / name
    before = path.stat()
    path.write_text(path.read_text().replace("a_0", "a_x").replace("a_1", "a_0").replace("a_x", "a_1"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert open_features(folder).rows("a").tolist() == [1, 0]


def test_a_damaged_cache_is_made_again(folder):
    expected = open_features(folder).rows("b-1").tolist()
    cache = folder / CACHE_NAME
    whole = cache.read_bytes()
    damaged = [
        b"",
        b"PK",
        b"not an archive",
        pickle.dumps({"digest": 1}),
        whole[:-1],
        whole[: len(whole) // 2],
    ]
    damaged += [whole[:i] + bytes([whole[i] ^ 0x15]) + whole[i + 1 :] for i in range(0, len(whole), 11)]
    for content in damaged:
        cache.write_bytes(content)
        features = open_features(folder)
        assert features.videos == ["a", "b-1"]
        assert features.rows("b-1").tolist() == expected
    cache.write_bytes(damaged[2])
    open_features(folder)
    with np.load(cache) as made_again:
        assert set(made_again.files) == {"digest", "videos", "counts", "rows"}


def test_a_cache_of_other_features_is_made_again(folder, tmp_path):
    other = tmp_path / "other"
    write_features(other, [(["b-1_2", "a_1", "a_0", "b-1_1", "b-1_0"], numbers(5))])
    open_features(other)
    shutil.copy(other / CACHE_NAME, folder / CACHE_NAME)
    assert open_features(folder).rows("a").tolist() == [0, 1]


def test_an_array_in_the_cache_s_place_is_made_again(folder):
    with (folder / CACHE_NAME).open("wb") as file:
        np.save(file, np.zeros(3))
    assert open_features(folder).videos == ["a", "b-1"]


def test_a_read_only_folder_works(folder, monkeypatch):
    # Permissions do not stop root, under whom tests may run; so writing is refused for certain, too.
    folder.chmod(0o555)
    monkeypatch.setattr("mlcmr.files._temporary_paths", lambda target: iter([target / "no folder"]))
    try:
        for _ in range(2):
            assert open_features(folder).videos == ["a", "b-1"]
        assert not (folder / CACHE_NAME).exists()
    finally:
        folder.chmod(0o755)


# Use


def test_nobody_can_write_into_the_features(folder):
    features = open_features(folder)
    with pytest.raises(ValueError, match="read-only"):
        features.matrix[0] = 0
    features["a"][:] = -1
    np.testing.assert_array_equal(open_features(folder)["a"], numbers(2))


def test_a_worker_opens_the_files_itself(folder):
    features = open_features(folder)
    sent = pickle.dumps(features)
    assert len(sent) < 1000
    np.testing.assert_array_equal(pickle.loads(sent)["b-1"], features["b-1"])


def test_as_many_frames_as_vatex_has(tmp_path):
    videos = {f"{i:011x}_{i:06d}_{i + 10:06d}": 32 for i in range(26_000)}
    ids = [f"{video}_{frame}" for video, count in videos.items() for frame in range(count)]
    folder = tmp_path
    (folder / "id.txt").write_text(" ".join(ids))
    (folder / "shape.txt").write_text(f"{len(ids)} 1")
    (folder / "video2frames.txt").write_text(repr(videos_of_frames(ids)))
    np.arange(len(ids), dtype="<f4").tofile(folder / "feature.bin")
    for _ in ("parsed", "from the cache"):
        features = open_features(folder)
        assert features.videos == list(videos)
        positions = np.array([0, 1, 12_345, 25_999])
        gathered, _ = features.gather(positions)
        np.testing.assert_array_equal(gathered[:, 0], (positions[:, None] * 32 + np.arange(32)).ravel())


def test_quotes_and_escapes_are_read_as_python_reads_them(folder):
    videos = {
        "it's": ["a_0"],
        'say "x"': ["a_1"],
        "back\\slash": ["b-1_0"],
        "new\nline": ["b-1_1"],
        "视频": ["b-1_2"],
    }
    for text in (repr(videos), ascii(videos), json.dumps(videos)):
        (folder / "video2frames.txt").write_text(text, encoding="utf-8")
        features = open_features(folder)
        assert features.videos == list(videos)
        assert [features.rows(video).item() for video in videos] == [0, 1, 2, 3, 4]


def rewrite_cache(folder, **changed):
    open_features(folder)
    with np.load(folder / CACHE_NAME) as cache:
        content = dict(cache) | changed
    np.savez(folder / CACHE_NAME, **content)


@pytest.mark.parametrize(
    "changed",
    [
        {"rows": np.array([0, 1, 2, 3, 99])},
        {"rows": np.array([0, 1, 2, 3, -1])},
        {"rows": np.array([[0, 1, 2, 3, 4]])},
        {"rows": np.array([0, 1, 2])},
        {"rows": np.array([0.0, 1, 2, 3, 4])},
        {"counts": np.array([5, 0])},
        {"counts": np.array([6, -1])},
        {"counts": np.array([2**63 - 1, 2**63 - 1])},
        {"counts": np.array([5])},
        {"counts": np.array([], np.int64)},
        {"videos": np.frombuffer(b"a\na", np.uint8)},
        {"videos": np.frombuffer(b"a\n\xff", np.uint8)},
    ],
    ids=str,
)
def test_a_cache_that_names_rows_that_are_not_there_is_not_believed(changed, folder):
    expected = open_features(folder).rows("b-1").tolist()
    rewrite_cache(folder, **changed)
    assert cache_fault(folder)
    features = open_features(folder)
    assert features.videos == ["a", "b-1"]
    assert features.rows("b-1").tolist() == expected
    assert cache_fault(folder) is None  # made again


def test_a_text_with_many_quotes_takes_time_in_proportion(folder):
    start = time.monotonic()
    for text in ("{" + "\\'" * 300_000, "{'" + "\\'" * 300_000, '{"' + ", " * 300_000, "{" + "'a" * 300_001):
        (folder / "video2frames.txt").write_text(text)
        assert refused(folder).startswith("video2frames.txt: not a dict")
    assert time.monotonic() - start < 10
