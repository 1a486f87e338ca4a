"""Thumbnails in a report: pictures of the collection, as data in the page, and nothing else."""

import base64
import json

import pytest

from mlcmr.evaluation.report.html import render_report
from mlcmr.evaluation.report.thumbnails import Thumbnails
from tests.evaluation.test_report import example_queries, example_results

JPEG = b"\xff\xd8\xff\xe0 a picture"


def write_thumbnails(collection, contents, feature=None):
    """Write thumbnails and the records of their videos; a video has three segments."""
    folder = collection / "FeatureData" / feature if feature else collection
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for video, content in contents.items():
        names = [f"thumbnails/{feature}/{video}/{number}.jpg" for number in range(3)]
        (collection / names[0]).parent.mkdir(parents=True, exist_ok=True)
        if content is not None:
            (collection / names[1]).write_bytes(content)
        segments = [
            {"start": i, "end": i + 1, "frames": [i, i + 1], "thumbnail": name}
            for i, name in enumerate(names)
        ]
        lines.append(json.dumps({
            "video": video, "path": "/films/a.mp4", "bytes": 1, "modified_ns": 1, "kind": "video",
            "duration": 3.0, "width": 8, "height": 8, "times": [0.0, 1.0, 2.0], "segments": segments,
        }))  # fmt: skip
    (folder / "videos.jsonl").write_text("".join(f"{line}\n" for line in lines))
    return collection


def data_url(content):
    return f"data:image/jpeg;base64,{base64.b64encode(content).decode()}"


@pytest.mark.parametrize("feature", [None, "clip"])
def test_the_middle_segment_of_a_video(tmp_path, feature):
    thumbnails = Thumbnails(write_thumbnails(tmp_path, {"v1": JPEG}, feature), "clip")
    assert thumbnails
    assert thumbnails.of("v1") == data_url(JPEG)
    assert thumbnails.of("v2") == ""


@pytest.mark.parametrize("content", [None, b"", b"<svg onload='alert(1)'/>", JPEG + bytes(1 << 18)])
def test_what_is_no_thumbnail_is_left_out(tmp_path, content):
    assert Thumbnails(write_thumbnails(tmp_path, {"v1": content}), "clip").of("v1") == ""


def test_collections_without_thumbnails(tmp_path):
    assert not Thumbnails(tmp_path, "clip")
    assert not Thumbnails()
    (tmp_path / "videos.jsonl").write_text("{}\n")
    assert not Thumbnails(tmp_path, "clip")


def test_examples_have_pictures(tmp_path):
    results = example_results(ranked=example_queries())
    assert "<img" not in render_report([results])
    known = write_thumbnails(tmp_path, {f"v{number}": JPEG + bytes([number]) for number in range(20)})
    page = render_report([results], thumbnails=Thumbnails(known, "clip"))
    for query in results.ranked.worst:
        shown = data_url(JPEG + bytes([int(query.video_id[1:])])) in page
        assert shown == (int(query.video_id[1:]) < 20)
    shown = [*results.ranked.worst, *results.ranked.best]
    pictures = sum(len(query.found) + 1 for query in shown)
    assert page.count('class="picture"') == pictures
    assert 0 < page.count("<img") < pictures
    assert "img-src data:" in page
