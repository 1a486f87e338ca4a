"""The ids of videos: those of extraction, one for each video."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlcmr.data.captions import parse_caption_id
from mlcmr.data.ids import split_ending, video_id
from mlcmr.data.prepare import prepare
from mlcmr.errors import InvalidValueError
from mlcmr.extraction.discovery import assign_ids
from tests.helpers.annotations import by_split, contents, problems, write, write_table

NAMES = [
    "a b.mp4",
    "x#y.MOV",
    "sub folder/ü.webm",
    "no ending",
    "v1.0",
    "日本.mkv",
    "a" * 300 + ".avi",
    "pic.JPEG",
]


def test_ids_are_those_of_extraction(tmp_path):
    table = write_table(tmp_path / "t.csv", [{"video": name, "text": "x"} for name in NAMES])
    prepare([table], tmp_path / "mine", language=["en"], split=["train"])
    media = [name for name in NAMES if name not in {"no ending", "v1.0"}]
    extracted = assign_ids([tmp_path / name for name in media], tmp_path, {})
    assert set(extracted.values()) <= by_split(tmp_path / "mine")["train"]
    assert {"a_b", "x_y", "sub_folder_ü", "no_ending", "v1.0", "日本", "pic"} < by_split(tmp_path / "mine")[
        "train"
    ]
    assert problems(tmp_path / "mine") == []


@pytest.mark.parametrize(("one", "other"), [("a b", "a_b"), ("v.mp4", "v.avi"), ("x/y", "x#y.mp4")])
def test_two_videos_do_not_share_an_id(one, other, tmp_path):
    table = write(tmp_path / "t.csv", f"video,text\n{one},first\n{other},second\n")
    with pytest.raises(InvalidValueError, match=r"t.csv:3: '.*' and '.*' both get the video id") as error:
        prepare([table], tmp_path / "mine", language=["en"])
    assert one in str(error.value)
    assert not (tmp_path / "mine").exists()


def test_a_name_is_one_however_its_accents_are_written(tmp_path):
    table = write(tmp_path / "t.csv", "video,text\ncaf\u00e9.mp4,first\ncafe\u0301.mp4,second\n")
    prepare([table], tmp_path / "mine", language=["en"], split=["train"])
    assert contents(tmp_path / "mine")["minetrain.caption.txt"] == (
        "caf\u00e9#enc#0 first\ncaf\u00e9#enc#1 second\n"
    )


def test_a_video_with_and_without_its_ending_is_one(tmp_path):
    table = write(tmp_path / "t.csv", "video,text\nv,first\nv.mp4,second\n./v.mp4,third\n")
    prepare([table], tmp_path / "mine", language=["en"], split=["train"])
    assert contents(tmp_path / "mine")["minetrain.caption.txt"].count("v#enc#") == 3


parts = st.sampled_from([".mp4", ".JPG", ".png", ".ts", ".", "a", "#", " ", "\n", "e\u0301", "b" * 99])


@settings(max_examples=300)
@given(st.one_of(st.lists(parts, min_size=1).map("".join), st.text(min_size=1)))
def test_ids_have_no_ending_and_are_what_caption_ids_name(name):
    video = video_id(split_ending(name)[0])
    assert split_ending(video) == (video, "")
    assert parse_caption_id(f"{video}#en#0").video == video
    assert video_id(video) == video or len(video.encode()) > 200


def test_a_second_ending_is_mended(tmp_path):
    rows = [{"video": name, "text": "x"} for name in ("c.mp4.png", "d.MP4.jpg", ".mp4", "e.jpg.avi.mkv")]
    prepare([write_table(tmp_path / "t.csv", rows)], tmp_path / "mine", language=["en"], split=["train"])
    assert by_split(tmp_path / "mine")["train"] == {"c_mp4", "d_MP4", "_mp4", "e.jpg_avi"}
    assert problems(tmp_path / "mine") == []
