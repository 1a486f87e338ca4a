"""`videos.jsonl`."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mlcmr.errors import CorruptFileError, NotFoundError
from mlcmr.extraction.discovery import assign_ids
from mlcmr.extraction.records import VideoRecord, read_videos, write_videos
from mlcmr.reading import parse_json
from tests.helpers.extraction import run

SEGMENT = {"start": 0, "end": 2.0, "frames": [0, 3], "thumbnail": "thumbnails/a/0.jpg"}


RECORD = {
    "video": "a",
    "path": "/films/a.mp4",
    "bytes": 5,
    "modified_ns": -1,
    "kind": "video",
    "duration": 2,
    "width": 4,
    "height": 3,
    "times": [0, 0.5, 1],
    "segments": [SEGMENT],
}


@given(st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=60))
@example(".")
@example("..")
@example("...")
def test_a_record_can_be_whatever_its_file_is_called(name):
    path = Path("/videos", f"{name}.mkv")
    (video,) = assign_ids([path], path.parent, {}).values()
    segment = RECORD["segments"][0] | {"thumbnail": f"thumbnails/hues228/{video}/0.jpg"}
    content = RECORD | {"video": video, "path": str(path), "segments": [segment]}
    record = parse_json(json.dumps(content).encode(), VideoRecord, "", "")
    assert (record.video, record.path) == (video, str(path))
    thumbnail = Path(os.path.normpath(record.segments[0].thumbnail))
    assert thumbnail.parent == Path("thumbnails/hues228", video)


def test_records_survive_a_round_trip(videos, tmp_path):
    run(videos, tmp_path / "mine")
    records = read_videos(tmp_path / "mine")
    (tmp_path / "other").mkdir()
    write_videos(tmp_path / "other", reversed(records))
    assert read_videos(tmp_path / "other") == records
    path = tmp_path / "other/videos.jsonl"
    for damaged in ("[]", "{}", "no json", path.read_text().splitlines()[0][:-9]):
        path.write_text(f"{damaged}\n")
        with pytest.raises(CorruptFileError, match=r"videos\.jsonl:1"):
            read_videos(tmp_path / "other")
    with pytest.raises(NotFoundError, match="mlcmr extract"):
        read_videos(tmp_path / "absent")


@pytest.mark.parametrize(
    "wrong",
    [
        *({"path": path} for path in (None, "a.mp4", "../a.mp4", "", "/a\0.mp4", "/\ud800.mp4")),
        *({"video": video} for video in (None, "", "a b", "../a", "a\0", ".", "..")),
        *({"duration": duration} for duration in ("x", None, float("nan"), float("inf"), True, 10**400)),
        *({name: value} for name in ("bytes", "width", "height") for value in (-1, 1.5, "1", True, 10**400)),
        *({"modified_ns": value} for value in (1.5, None, 10**400)),
        {"kind": "sound"},
        *({"times": times} for times in (None, 3, ["x"], [True], [0, float("nan")])),
        *({"segments": segments} for segments in (None, [], [3], "ab", {})),
    ],
    ids=str,
)
def test_a_record_that_cannot_be_is_refused(tmp_path, wrong):
    assert_refused(tmp_path, wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        *({"start": start} for start in (None, "0", float("nan"))),
        *({"end": end} for end in (None, "1", float("inf"), -1.5)),
        *(
            {"frames": rows}
            for rows in (None, "ab", [0], [], [0, 1, 2], [1, 1], [-1, 1], [0, 1.0], [True, 2])
        ),
        *({"thumbnail": name} for name in (None, 3, "/etc/passwd", "../x.jpg", "a/../../x.jpg", "a\0")),
    ],
    ids=str,
)
def test_a_record_with_a_segment_that_cannot_be_is_refused(tmp_path, wrong):
    assert_refused(tmp_path, {"segments": [SEGMENT | wrong]}, next(iter(wrong)))


def assert_refused(folder: Path, wrong: dict, what: str = "") -> None:
    path = folder / "videos.jsonl"
    path.write_text(json.dumps(RECORD) + "\n")
    assert len(read_videos(folder)) == 1
    path.write_text(f"{json.dumps(RECORD)}\n{json.dumps(RECORD | {'video': 'b'} | wrong)}\n")
    with pytest.raises(CorruptFileError, match=r"videos\.jsonl:2: ") as caught:
        read_videos(folder)
    assert "\n" not in str(caught.value)
    assert (what or next(iter(wrong))) in str(caught.value) or "not JSON" in str(caught.value)


def test_records_of_one_video_are_refused(tmp_path):
    (tmp_path / "videos.jsonl").write_text(f"{json.dumps(RECORD)}\n" * 2)
    with pytest.raises(CorruptFileError, match="video 'a' occurs 2 times"):
        read_videos(tmp_path)
