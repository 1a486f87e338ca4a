"""`mlcmr check`: every fault is found, named with its place, and nothing else is."""

import io
import json
import os
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from mlcmr.cli.tables import print_report
from mlcmr.data.captions import write_captions
from mlcmr.data.check import CheckReport, check
from mlcmr.data.features import arrays, open_features, write_features
from mlcmr.data.features.row_cache import CACHE_NAME
from mlcmr.errors import MlcmrError, NotFoundError
from tests.helpers.progress import RecordedProgress

SPLITS = {"train": range(6), "val": range(6, 8), "test": range(8, 10)}


def write_toy(folder: Path, name: str = "toy") -> Path:
    """Ten videos of three frames; per video two captions in en and zh, and their machine translations."""
    for split, videos in SPLITS.items():
        for suffix, tag, text in [
            ("", "enc", "A dog runs."),
            ("_zh", "zh", "一只狗在跑"),
            ("_google_enc2zh", "enc2zh", "狗在跑"),
            ("_google_zhc2en", "zhc2en", "a dog is running"),
        ]:
            captions = [(f"v{video}#{tag}#{i}", text) for video in videos for i in range(2)]
            write_captions(folder / "TextData" / f"{name}{split}{suffix}.caption.txt", captions)
    half = [(f"v{video}#{('enc', 'zh')[video % 2]}#{i}", "x") for video in SPLITS["train"] for i in range(2)]
    write_captions(folder / "TextData" / f"{name}train_half.caption.txt", half)
    frames = [(f"v{video}_{i}", video) for video in range(10) for i in range(3)]
    matrix = np.array([[video] * 4 for _, video in frames], np.float32)
    write_features(folder / "FeatureData" / "clip", [([frame for frame, _ in frames], matrix)])
    return folder


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    return write_toy(tmp_path / "toy")


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def text(folder: Path, name: str) -> Path:
    return folder / "TextData" / f"{name}.caption.txt"


def feature(folder: Path, name: str) -> Path:
    return folder / "FeatureData" / "clip" / name


def printed(report: CheckReport, width: int = 80) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    print_report(report, console=console)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


# Nothing wrong


def test_a_good_collection_has_no_problems(toy):
    before = {path: path.read_bytes() for path in toy.rglob("*") if path.is_file()}
    report = check(toy)
    assert (report.problems, report.warnings, report.problem_count) == ([], [], 0)
    assert [tuple(row) for row in report.captions[:5]] == [
        ("train", "en", 12, 6),
        ("train", "zh", 12, 6),
        ("train", "en ← zh (google)", 12, 6),
        ("train", "zh ← en (google)", 12, 6),
        ("train", "en + zh (half)", 12, 6),
    ]
    assert [row.split for row in report.captions] == ["train"] * 5 + ["val"] * 4 + ["test"] * 4
    (clip,) = report.features
    assert (clip.name, clip.shape, list(clip.frames_of_video)) == ("clip", (30, 4), [3] * 10)
    assert printed(report)[-1] == "No problems. Nothing was changed."
    assert {path: path.read_bytes() for path in toy.rglob("*") if path.is_file()} == before


def test_windows_line_ends_and_byte_order_marks_are_accepted(toy):
    for path in (toy / "TextData").iterdir():
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n")[:-2])
    for name in ("id.txt", "shape.txt", "video2frames.txt"):
        feature(toy, name).write_bytes(b"\xef\xbb\xbf" + feature(toy, name).read_bytes() + b"\r\n")
    report = check(toy)
    assert (report.problems, report.warnings) == ([], [])


@pytest.mark.parametrize(
    ("folder", "name"),
    [("VATEX", "vatex"), ("msrvtt", "msrvtt10kyu"), ("msrvtt10k", "msrvtt10kyu"), ("a_b", "a_b")],
)
def test_published_folders_may_be_named_otherwise_than_their_files(folder, name, tmp_path):
    report = check(write_toy(tmp_path / folder, name))
    assert (report.problems, report.warnings) == ([], [])


@pytest.mark.parametrize("name", ["flickr8kcn", "msrvtt1k"])
def test_the_real_collections_have_no_problems(name, reference_data):
    report = check(reference_data(f"data/{name}"))
    assert report.problems == []
    assert all("_de.caption.txt: no captions for" in warning for warning in report.warnings)
    assert len(report.warnings) == (3 if name == "flickr8kcn" else 0)


def test_the_published_captions_lack_features_only(reference_data):
    report = check(reference_data("data/published-captions/vatex"))
    assert report.problems == ["FeatureData: no such folder; features belong in FeatureData/<feature>"]


def test_the_golden_collection_is_trained_and_tested_on_the_same_videos(reference_data):
    report = check(reference_data("golden/data/vatex"))
    assert report.problem_count == 20
    assert all("train" in problem for problem in report.problems)


# One fault, one line

Damage = Callable[[Path], object]
FAULTS: dict[str, tuple[Damage, str]] = {}


def fault(expected: str) -> Callable[[Damage], Damage]:
    """Registers a way to damage the toy collection, and the lines that are then found (`!`: a warning)."""

    def register(damage: Damage) -> Damage:
        FAULTS[damage.__name__] = damage, expected
        return damage

    return register


def append(path: Path, lines: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(lines)


@fault("toytrain_half.caption.txt:3: caption id 'v1#zh' has 2 parts, expected <video>#<tag>#<number>")
def two_parts(toy):
    change(text(toy, "toytrain_half"), "v1#zh#0", "v1#zh")


@fault("toyval.caption.txt:2: not UTF-8: byte 0xe4 (perhaps cp1250 or cp1252 or cp1254); save it as UTF-8")
def not_utf8(toy):
    text(toy, "toyval").write_bytes(b"v6#enc#0 a\nv6#enc#1 a \xe4\nv7#enc#0 a\nv7#enc#1 a\n")


@fault("toyval.caption.txt:5: caption id 'v6#enc#1' stands in line 2 already")
def repeated_caption(toy):
    append(text(toy, "toyval"), "v6#enc#1 again\n")


@fault("toyval.caption.txt:5: caption 'v6.mp4#en#1' has the video and number of 'v6#enc#1'")
def shared_number(toy):
    append(text(toy, "toyval"), "v6.mp4#en#1 again\n")


@fault("toytest.caption.txt:2: caption 'v8#enc#1' has no text")
def blank(toy):
    change(text(toy, "toytest"), "v8#enc#1 A dog runs.", "v8#enc#1  \t")


@fault("toytrain_half.caption.txt: no captions")
def empty(toy):
    text(toy, "toytrain_half").write_text("")


@fault("toytest.caption.txt:2: caption 'v8#zh#1' is in 'zh', the file's name says 'en'")
def another_language(toy):
    change(text(toy, "toytest"), "v8#enc#1", "v8#zh#1")


@fault("""
toytest_zh.caption.txt: no caption 'v9#zh#0' for toytest.caption.txt:3
!toytest_google_zhc2en.caption.txt: translations of 1 caption that toytest_zh.caption.txt lacks; the first in line 3
""")  # noqa: E501
def one_counterpart_missing(toy):
    change(text(toy, "toytest_zh"), "v9#zh#0 一只狗在跑\n", "")


@fault("toytrain_google_enc2zh.caption.txt: no caption 'v1#enc2zh#1' for toytrain.caption.txt:4")
def one_translation_missing(toy):
    change(text(toy, "toytrain_google_enc2zh"), "v1#enc2zh#1 狗在跑\n", "")


@fault("toytest.caption.txt:5: video 'v2' is in the split train too (toytrain.caption.txt:5)")
def trained_and_tested_on(toy):
    for suffix, tag in [
        ("", "enc"),
        ("_zh", "zh"),
        ("_google_enc2zh", "enc2zh"),
        ("_google_zhc2en", "zhc2en"),
    ]:
        append(text(toy, f"toytest{suffix}"), f"v2#{tag}#0 狗 a\nv2#{tag}#1 狗 a\n")


@fault("""
vatextest_de.caption.txt: nothing reads it, as its name is not toy<split><suffix>.caption.txt; rename or remove it
""")  # noqa: E501
def another_collection(toy):
    write_captions(text(toy, "vatextest_de"), [("v8#de#0", "Hund")])


@fault("FeatureData: no such folder; features belong in FeatureData/<feature>")
def no_features_folder(toy):
    (toy / "FeatureData").rename(toy / "Features")


@fault("FeatureData: no features in it")
def no_features(toy):
    (toy / "FeatureData" / "clip").rename(toy / "clip")


@fault("FeatureData/clip/feature.bin: 484 bytes, but shape.txt says 30 × 4 float32 = 480 bytes")
def wrong_size(toy):
    feature(toy, "feature.bin").write_bytes(feature(toy, "feature.bin").read_bytes() + b"more")


@fault("FeatureData/clip/id.txt: 30 frame ids, but shape.txt says 15 frames")
def wrong_shape(toy):
    feature(toy, "shape.txt").write_text("15 8")


@fault("FeatureData/clip/shape.txt: 'thirty' is not '<frames> <dimension>'")
def malformed_shape(toy):
    feature(toy, "shape.txt").write_text("thirty")


@fault("FeatureData/clip/video2frames.txt: not a dict of lists, {'<video>': ['<frame>', …], …}")
def expression(toy):
    feature(toy, "video2frames.txt").write_text("__import__('os').getcwd()")


@fault("""
FeatureData/clip/video2frames.txt: video 'v4' has no frames
!FeatureData/clip/id.txt: 3 of 30 frames in no video; the first is 'v4_0'
""")
def video_without_frames(toy):
    change(feature(toy, "video2frames.txt"), "['v4_0', 'v4_1', 'v4_2']", "[]")


@fault("""
FeatureData/clip/video2frames.txt: frame 'v4_3' of video 'v4' is not in id.txt
FeatureData/clip/video2frames.txt: frame ['v4_4'] of video 'v4' is not in id.txt
""")
def unknown_frames(toy):
    change(feature(toy, "video2frames.txt"), "'v4_2']", "'v4_2', 'v4_3', ['v4_4']]")


@fault("""
FeatureData/clip/video2frames.txt: video 'v4' is listed 2 times: entry 5, 6
!FeatureData/clip/video2frames.txt: frames in several places: 1; the first is 'v4_2'
""")
def video_twice(toy):
    change(feature(toy, "video2frames.txt"), "'v4': ", "'v4': ['v4_2'], 'v4': ")


@fault("""
FeatureData/clip/id.txt: frame 'v9_1' is listed 2 times: place 29, 30
FeatureData/clip/video2frames.txt: frame 'v9_2' of video 'v9' is not in id.txt
""")
def frame_twice(toy):
    change(feature(toy, "id.txt"), "v9_2", "v9_1")


@fault("""
FeatureData/clip/video2frames.txt: no video 'v8', which has captions (toytest.caption.txt:1)
!FeatureData/clip/video2frames.txt: 1 of 10 videos without a caption; the first is 'v88'
""")
def video_without_features(toy):
    change(feature(toy, "video2frames.txt"), "'v8'", "'v88'")


@fault("""
!toytest_google_zhc2en.caption.txt: 1 caption without a letter or digit, blank once cleaned; the first in line 2
""")  # noqa: E501
def blank_once_cleaned(toy):
    change(text(toy, "toytest_google_zhc2en"), "#1 a dog is running", "#1 .")


@fault("""
!TextData: no captions of the split val, nothing to validate on
!FeatureData/clip/video2frames.txt: 2 of 10 videos without a caption; the first is 'v6'
""")
def nothing_to_validate_on(toy):
    for path in (toy / "TextData").glob("toyval*"):
        path.unlink()


@fault("""
!TextData: no captions of the split val by people in 'zh', a language of train: nothing to validate on
!TextData: no captions of the split test by people in 'de', a language of train: nothing to test on
!TextData: no captions of the split test by people in 'zh', a language of train: nothing to test on
!toyval_google_zhc2en.caption.txt: the original captions, in 'zh', do not exist
!toytest_google_zhc2en.caption.txt: the original captions, in 'zh', do not exist
""")
def a_language_to_train_on_only(toy):
    """English, Chinese in one file with English, German by machine: training validates on all of them."""
    for split in ("train", "val", "test"):
        text(toy, f"toy{split}_zh").unlink()
    text(toy, "toytrain_google_zhc2en").unlink()
    captions = [(f"v{video}#enc2de#{i}", "Ein Hund läuft.") for video in SPLITS["train"] for i in range(2)]
    write_captions(text(toy, "toytrain_google_enc2de"), captions)
    write_captions(text(toy, "toyval_de"), [(f"v{video}#de#{i}", "x") for video in (6, 7) for i in range(2)])


@fault("""
!toytrian_de.caption.txt: the split 'trian' is none of train, val, test
!TextData: 1 of 1 videos of the split trian are in train too; the first is 'v1' (toytrain.caption.txt:3)
""")
def another_split(toy):
    write_captions(text(toy, "toytrian_de"), [("v1#de#0", "Hund")])


@fault("""
!toytest_google_zhc2en.caption.txt: the original captions, in 'zh', do not exist
!TextData: no captions of the split test by people in 'zh', a language of train: nothing to test on
""")
def translations_of_nothing(toy):
    text(toy, "toytest_zh").unlink()


@fault("""
!toyval_google_enc2zh.caption.txt: 1 caption by people as the tags say, by a machine as the file's name says; the first in line 1
""")  # noqa: E501
def tags_of_people_in_a_file_of_translations(toy):
    change(text(toy, "toyval_google_enc2zh"), "v6#enc2zh#0", "v6#zh#0")


@fault("""
!toytrain_half.caption.txt: 1 of 6 videos with captions in several languages, so not unparallel; the first is 'v1'
""")  # noqa: E501
def several_languages_in_half(toy):
    change(text(toy, "toytrain_half"), "v1#zh#0", "v1#enc#0")


@fault("!FeatureData/.clip.x1: left by a command that was stopped; it can be removed")
def left_by_a_killed_command(toy):
    shutil.copytree(toy / "FeatureData" / "clip", toy / "FeatureData" / ".clip.x1")


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named_with_its_place_and_nothing_else_is(name, toy):
    damage, expected = FAULTS[name]
    damage(toy)
    report = check(toy)
    found = report.problems + [f"!{warning}" for warning in report.warnings]
    assert sorted(found) == sorted(expected.strip().split("\n"))
    assert report.problem_count == len(report.problems)


def test_no_captions_folder(toy):
    (toy / "TextData").rename(toy / "Text")
    assert check(toy).problems == ["TextData: no such folder"]


@pytest.mark.parametrize("name", ["id.txt", "feature.bin", "shape.txt", "video2frames.txt"])
def test_a_file_of_a_feature_that_is_missing(name, toy):
    feature(toy, name).unlink()
    missing = f"FeatureData/clip/{name}: no such file"
    assert check(toy).problems == [missing]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_named_with_frame_and_video(value, toy, monkeypatch):
    monkeypatch.setattr(arrays, "BLOCK_BYTES", 7 * 4 * 4)
    matrix = np.fromfile(feature(toy, "feature.bin"), "<f4").reshape(30, 4)
    matrix[13, 2] = matrix[29, 0] = matrix[29, 3] = value
    matrix[20] = 3e38  # large, but numbers
    matrix.tofile(feature(toy, "feature.bin"))
    wrong = "values that are NaN or infinite"
    assert check(toy).problems == [
        f"FeatureData/clip/feature.bin: frame 'v4_1' of video 'v4' (row index 13) has 1 of 4 {wrong}",
        f"FeatureData/clip/feature.bin: frame 'v9_2' of video 'v9' (row index 29) has 2 of 4 {wrong}",
    ]


def test_all_faults_are_found_at_once_and_of_many_the_first_few(toy):
    captions = text(toy, "toytrain")
    bad = "".join(f"bad{i}\n" for i in range(1209))
    captions.write_text(captions.read_text() + bad)
    change(text(toy, "toyval_zh"), "一只狗在跑", "")
    feature(toy, "shape.txt").unlink()
    feature(toy, "id.txt").unlink()
    (toy / "FeatureData" / "i3d").mkdir()
    report = check(toy)
    few = [problem for problem in report.problems if problem.startswith("toytrain.caption.txt")]
    assert few[0] == "toytrain.caption.txt:13: caption id 'bad0' has 1 part, expected <video>#<tag>#<number>"
    assert few[4].startswith("toytrain.caption.txt:17: caption id 'bad4'")
    assert few[5:] == ["toytrain.caption.txt: … and 1,204 more malformed ids"]
    assert [problem.partition(": ")[0] for problem in report.problems[6:]] == [
        "toyval_zh.caption.txt:1",
        "FeatureData/clip/shape.txt",
        "FeatureData/clip/id.txt",
        *(f"FeatureData/i3d/{name}.txt" for name in ("shape", "id", "video2frames")),
        "FeatureData/i3d/feature.bin",
    ]
    assert report.problem_count == 1209 + 7
    assert printed(report)[-1] == "1,216 problems. Nothing was changed."


def test_one_feature_alone(toy):
    (toy / "FeatureData" / "i3d").mkdir()
    assert check(toy, "clip").problems == []
    assert check(toy, "i3d").problem_count == 4
    assert check(toy, "x3d").problems == ["FeatureData/x3d: no such feature; there is clip, i3d"]


# Languages


def german_warning(toy, captions) -> str:
    """Check the toy with German captions of the training split, and return the warning about them."""
    write_captions(text(toy, "toytrain_de"), captions)
    report = check(toy)
    assert report.problems == []
    warning, *others = report.warnings
    assert ["by people in 'de'" in other for other in others] == [True, True]
    return warning


def test_a_language_without_captions_for_some_videos_is_no_fault(toy):
    captions = [(f"v{video}#de#{i}", "Ein Hund") for video in (0, 1, 3) for i in range(2)]
    assert german_warning(toy, captions) == (
        "toytrain_de.caption.txt: no captions for 3 of the 6 videos of toytrain.caption.txt; "
        "the first is 'v2'"
    )


def test_a_language_numbered_otherwise_is_no_fault(toy):
    captions = [(f"v{video}#de#{i}", "Ein Hund") for video in range(6) for i in range(5, 8)]
    assert german_warning(toy, captions) == (
        "toytrain_de.caption.txt: the same number for only 0 of 12 captions of toytrain.caption.txt, "
        "so the two cannot be paired"
    )


def test_validating_on_the_test_videos_is_worth_knowing(toy):
    for suffix in ("", "_zh", "_google_enc2zh", "_google_zhc2en"):
        text(toy, f"toyval{suffix}").write_bytes(text(toy, f"toytest{suffix}").read_bytes())
    report = check(toy)
    assert report.problems == []
    assert report.warnings[0] == (
        "TextData: 2 of 2 videos of the split test are in val too; the first is 'v8' (toyval.caption.txt:1)"
    )


# Names


def test_a_folder_with_the_files_of_another_collection(tmp_path):
    report = check(write_toy(tmp_path / "mine", "vatex"))
    (problem,) = report.problems
    assert problem == (
        "TextData: the caption files begin with 'vatex', but a folder called 'mine' should have "
        "mine<split>.caption.txt; rename the folder or the files"
    )
    assert len(report.captions) == 13


def test_no_such_folder(tmp_path):
    with pytest.raises(NotFoundError, match="no such folder"):
        check(tmp_path / "absent")


def test_a_folder_that_cannot_be_looked_into(toy, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)  # to root, permissions are nothing
    with pytest.raises(MlcmrError, match=rf"{toy.name}: cannot be looked into: Permission denied$"):
        check(toy)


def test_the_current_folder(toy, monkeypatch):
    monkeypatch.chdir(toy)
    assert check(".").problems == []


# Printing


def test_lines_are_printed_as_they_are(toy):
    odd = "v6#enc" + "#[bold]" + "x" * 200
    change(text(toy, "toyval"), "v6#enc#0", odd)
    text(toy, "toytest").write_bytes(b"\xff\x1b[31m#enc a\n")
    lines = printed(check(toy), width=60)
    assert any(odd not in line and "[bold]" + "x" * 200 in line for line in lines)
    assert any("toytest.caption.txt:1: caption id '\\xff\\x1b[31m#enc" in line for line in lines)


@pytest.mark.parametrize("width", [60, 200])
def test_the_tables_say_what_there_is(width, toy):
    lines = printed(check(toy), width)
    assert any(line.split() == ["test", "zh", "←", "en", "(google)", "4", "2"] for line in lines)
    assert any(line.split()[:5] == ["clip", "30", "4", "10", "3"] for line in lines)
    assert max(map(len, lines)) <= width


def test_the_text_of_a_report_is_what_is_printed_into_a_file(toy):
    feature(toy, "id.txt").unlink()
    text(toy, "toytest").unlink()
    report = check(toy)
    assert [line.rstrip() for line in str(report).splitlines()] == printed(report, width=10_000)


def test_a_report_is_plain_values(toy):
    content = json.loads(json.dumps(check(toy).to_dict()))
    assert content["captions"][0] == {"split": "train", "language": "en", "captions": 12, "videos": 6}
    size = sum(path.stat().st_size for path in feature(toy, "").iterdir())
    assert content["features"] == [{"name": "clip", "frames": 30, "dimension": 4, "videos": 10, "size": size}]


def test_one_problem_is_not_problems(toy):
    feature(toy, "id.txt").unlink()
    assert printed(check(toy))[-1] == "1 problem. Nothing was changed."


# Size


def test_memory_does_not_grow_with_feature_bin(tmp_path):
    folder = write_toy(tmp_path / "toy")
    clip = folder / "FeatureData" / "clip"
    dimension = 1 << 20
    (clip / "shape.txt").write_text(f"30 {dimension}")
    with (clip / "feature.bin").open("wb") as file:
        file.truncate(30 * dimension * 4)
        file.seek(29 * dimension * 4)
        file.write(np.float32(np.nan).tobytes())
    tracemalloc.start()
    progress = RecordedProgress()
    report = check(folder, progress=progress)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(report.problems) == 1
    assert "frame 'v9_2' of video 'v9' (row index 29) has 1 of 1,048,576 values" in report.problems[0]
    assert peak < 40 << 20
    size = 30 * dimension * 4
    assert progress.changes[-1] == ("FeatureData/clip/feature.bin", size, size)
    assert progress.changes[12] == ("caption files", 13, 13)


def test_no_cache_is_written(toy):
    check(toy)
    assert not feature(toy, CACHE_NAME).exists()


def test_a_cache_that_says_other_rows_than_the_files_is_a_problem(toy):
    folder = toy / "FeatureData" / "clip"
    features = open_features(folder)
    assert check(toy).problems == []
    with np.load(folder / CACHE_NAME) as cache:
        content = dict(cache)
    np.savez(folder / CACHE_NAME, **(content | {"rows": content["rows"][::-1]}))
    assert features.rows("v0").tolist() != open_features(folder).rows("v0").tolist()
    assert check(toy).problems == [
        f"FeatureData/clip/{CACHE_NAME}: says other rows than video2frames.txt; remove it"
    ]
    (folder / CACHE_NAME).write_bytes(b"PK\x03\x04 and no more")
    (problem,) = check(toy).problems
    assert problem.startswith(f"FeatureData/clip/{CACHE_NAME}: cannot be read as NumPy arrays: ")
    assert problem.endswith("; remove it, and it is made again")


def test_names_are_whole_where_no_terminal_limits_them(toy, capsys):
    name = "a-frame-feature-whose-name-is-about-as-long-as-a-line-of-a-terminal-which-wraps"
    feature(toy, "").rename(toy / "FeatureData" / name)
    print_report(check(toy))
    assert f" {name} " in capsys.readouterr().out
