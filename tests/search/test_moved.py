"""Files that are known again though copies rounded their times, and files that are gone wherever they lay."""

import json
import os
import shutil
import tarfile
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import mlcmr
from mlcmr.errors import NotFoundError
from mlcmr.extraction.discovery import block_digest, is_unchanged
from mlcmr.extraction.extract_collection import ExtractionSummary, extract
from mlcmr.extraction.records import VideoRecord, read_videos, write_videos

SECOND = 10**9
RECORD = VideoRecord("a", "/a.bmp", 7, 0, "image", 0.0, 1, 1, (0.0,), ())


def run(videos: Path, collection: Path, **options) -> ExtractionSummary:
    return extract(videos, collection, **{"workers": 1, **options})


def draw(folder: Path, *names: str, shade: int = 0) -> Path:
    """A folder of small pictures, all of one size, none like another."""
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (shade, 20 * number, 0)).save(path)
        os.utime(path, ns=(0, 1_700_000_001_123_456_789 + number * 3 * SECOND))
    return folder


def set_times(folder: Path, change) -> None:
    for path in filter(Path.is_file, folder.rglob("*")):
        os.utime(path, ns=(0, change(path.stat().st_mtime_ns)))


def truncated(unit: int, hours: float = 0):
    return lambda time: time // unit * unit + int(hours * 3600 * SECOND)


ROUNDED = {
    "tar and rsync": truncated(SECOND),
    "FAT": truncated(2 * SECOND),
    "FAT, rounded up": lambda time: -(-time // (2 * SECOND)) * 2 * SECOND,
    "FAT in another time zone": truncated(2 * SECOND, -7),
    "exFAT in India": truncated(10**7, 5.5),
    "SMB": truncated(100),
    "milliseconds": truncated(10**6),
    "seconds as a 64-bit float": lambda time: int(time / SECOND * SECOND) + 238,
}


@pytest.mark.parametrize("change", ROUNDED.values(), ids=list(ROUNDED))
@pytest.mark.parametrize("in_place", [False, True])
def test_files_whose_times_were_rounded_are_not_extracted_again(change, in_place, tmp_path):
    films = draw(tmp_path / "films", "a.bmp", "x/a.bmp", "x/b.bmp")
    run(films, tmp_path / "mine")
    if not in_place:
        films = films.rename(tmp_path / "moved")
    set_times(films, change)
    for again in range(2):
        summary = run(films, tmp_path / "mine")
        assert (summary.extracted, summary.videos, summary.gone) == (0, 3, [])
        assert summary.moved == (0 if in_place or again else 3)


def test_what_tar_unpacked_is_known_again(tmp_path):
    films = draw(tmp_path / "films", "a.bmp", "x/b.bmp")
    run(films, tmp_path / "mine")
    with tarfile.open(tmp_path / "films.tar", "w", format=tarfile.GNU_FORMAT) as archive:
        archive.add(films, "unpacked")
    shutil.rmtree(films)
    with tarfile.open(tmp_path / "films.tar") as archive:
        archive.extractall(tmp_path, filter="data")
    summary = run(tmp_path / "unpacked", tmp_path / "mine")
    assert (summary.extracted, summary.moved, summary.videos) == (0, 2, 2)


@pytest.mark.parametrize("change", ROUNDED.values(), ids=list(ROUNDED))
def test_another_picture_of_the_same_size_is_extracted_whatever_its_time(change, tmp_path):
    films = draw(tmp_path / "films", "a.bmp", "b.bmp")
    run(films, tmp_path / "mine")
    draw(films, "a.bmp", shade=99)
    set_times(films, change)
    assert run(films, tmp_path / "mine").extracted == 1
    films = draw(films.rename(tmp_path / "moved"), "b.bmp", shade=99)
    set_times(films, change)
    assert run(films, tmp_path / "mine").extracted == 1


@pytest.mark.parametrize("seconds", [1, 3, 60, 600, 3_599, 30 * 3600])
def test_a_file_that_was_written_again_is_extracted_again(seconds, tmp_path):
    films = draw(tmp_path / "films", "a.bmp")
    run(films, tmp_path / "mine")
    set_times(films, lambda time: time + seconds * SECOND + 5_000_000)
    assert run(films, tmp_path / "mine").extracted == 1


def test_which_of_two_a_rounded_file_was_is_not_guessed(tmp_path):
    for name in ("one", "two"):
        run(draw(tmp_path / name, "a.bmp"), tmp_path / "mine")
    set_times(tmp_path / "one", truncated(SECOND))
    (tmp_path / "one").rename(tmp_path / "films")
    shutil.rmtree(tmp_path / "two")
    summary = run(tmp_path / "films", tmp_path / "mine")
    assert (summary.videos, summary.extracted, summary.moved) == (3, 1, 0)


def test_records_without_a_digest_lose_fractions_only(tmp_path):
    """As older versions wrote them."""
    films = draw(tmp_path / "films", "a.bmp")
    run(films, tmp_path / "mine")
    for feature in (None, "hues228"):
        write_videos(
            tmp_path / "mine", [replace(o, digest="") for o in read_videos(tmp_path / "mine")], feature
        )
    films = films.rename(tmp_path / "moved")
    set_times(films, truncated(SECOND))
    assert run(films, tmp_path / "mine").moved == 1
    set_times(films, lambda time: time + 3600 * SECOND)
    assert run(films, tmp_path / "mine").extracted == 1


def test_the_digest_costs_an_older_index_nothing(drawn, films, tmp_path):
    mlcmr.index(films, tmp_path / "index", run=drawn / "run", device="cpu")
    collection = tmp_path / "index/collection"
    for path in (collection / "videos.jsonl", collection / "FeatureData/hues228/videos.jsonl"):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        assert all(row.pop("digest") for row in rows)
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    assert mlcmr.index(films, tmp_path / "index", device="cpu").unchanged == 7


@given(st.integers(0, 2**61), st.integers(0, 2**61))
def test_only_times_that_a_copy_may_keep_are_alike(before, now):
    path = Path(__file__)
    status = os.stat_result((0, 0, 0, 0, 0, 0, 7, 0, now // SECOND, 0), {"st_mtime_ns": now})
    record = replace(RECORD, modified_ns=before, digest=block_digest(path))
    if is_unchanged(record, path, status):
        quarter = 900 * SECOND
        assert min((now - before) % quarter, (before - now) % quarter) < 2 * SECOND
    assert not is_unchanged(replace(record, bytes=8), path, status)


@pytest.mark.parametrize("forms", [("NFD", "NFC"), ("NFC", "NFD")])
def test_accents_that_a_copy_joined_or_parted_are_the_same_name(forms, tmp_path):
    before, after = (unicodedata.normalize(form, "Fête/Käse.bmp") for form in forms)
    run(draw(tmp_path / "films", before, "b.bmp"), tmp_path / "mine")
    shutil.rmtree(tmp_path / "films")
    films = draw(tmp_path / "moved", after, "b.bmp")
    summary = run(films, tmp_path / "mine", prune=True)
    assert (summary.extracted, summary.moved, summary.gone, summary.videos) == (0, 2, [], 2)
    # In place too, as where a tool renamed them.
    (films / after).parent.rename(films / "between")
    shutil.rmtree(films / "between")
    draw(films, before, "b.bmp")
    summary = run(films, tmp_path / "mine", prune=True)
    assert (summary.extracted, summary.gone, summary.videos) == (0, [], 2)


# ─── gone ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_file_that_was_removed_while_its_folder_was_moved_is_gone(tmp_path):
    films = draw(tmp_path / "films", "a.bmp", "b.bmp", "x/c.bmp")
    run(films, tmp_path / "mine")
    films = films.rename(tmp_path / "moved")
    (films / "x/c.bmp").unlink()
    summary = run(films, tmp_path / "mine")
    assert (summary.moved, summary.gone, summary.videos, summary.away) == (2, ["x_c"], 3, {})
    assert "gone:     1 video whose file is gone, kept; `prune` removes them" in str(summary)
    summary = run(films, tmp_path / "mine", prune=True)
    assert (summary.gone, summary.videos) == (["x_c"], 2)


def test_files_of_another_folder_that_is_there_are_gone(tmp_path):
    one, two = draw(tmp_path / "one", "a.bmp", "x/b.bmp"), draw(tmp_path / "two", "c.bmp")
    run(one, tmp_path / "mine")
    run(two, tmp_path / "mine")
    (one / "a.bmp").unlink()
    assert run(two, tmp_path / "mine").gone == ["a"]
    summary = run(two, tmp_path / "mine", prune=True)
    assert (summary.gone, summary.videos) == (["a"], 2)
    assert {record.video for record in read_videos(tmp_path / "mine")} == {"x_b", "c"}


@pytest.mark.parametrize("left", ["nothing", "empty folder", "link"])
def test_a_disk_that_is_not_mounted_loses_nothing_until_it_is_named(left, tmp_path):
    disk, two = draw(tmp_path / "disk/films", "a.bmp", "x/b.bmp"), draw(tmp_path / "two", "c.bmp")
    for folder in (disk, two):
        run(folder, tmp_path / "mine")
    shutil.rmtree(disk)
    if left == "empty folder":
        disk.mkdir()
    if left == "link":
        disk.symlink_to(tmp_path / "nowhere")
    summary = run(two, tmp_path / "mine", prune=True)
    assert (summary.gone, summary.videos, summary.away) == ([], 3, {disk: 2})
    assert f"away:     2 videos of {disk}, kept" in str(summary)
    if left != "link":
        assert run(disk, tmp_path / "mine", prune=True).videos == 1


def test_an_empty_folder_in_a_folder_that_is_there_is_named(tmp_path):
    one, two = draw(tmp_path / "one", "a.bmp", "x/b.bmp"), draw(tmp_path / "two", "c.bmp")
    for folder in (one, two):
        run(folder, tmp_path / "mine")
    (one / "x/b.bmp").unlink()
    assert run(two, tmp_path / "mine", prune=True).away == {one / "x": 1}
    assert run(one / "x", tmp_path / "mine", prune=True).gone == ["x_b"]


def test_a_clip_that_was_copied_from_a_disk_takes_nothing_else_of_it_along(tmp_path):
    disk, two = draw(tmp_path / "disk", "a.bmp", "b.bmp", "c.bmp"), draw(tmp_path / "two", "z.bmp")
    run(disk, tmp_path / "mine")
    shutil.copy2(disk / "a.bmp", two)
    shutil.rmtree(disk)
    summary = run(two, tmp_path / "mine", prune=True)
    assert (summary.gone, summary.videos, summary.away) == ([], 4, {disk: 2})


def test_a_mistyped_folder_prunes_nothing(tmp_path):
    run(draw(tmp_path / "films", "a.bmp"), tmp_path / "mine")
    with pytest.raises(NotFoundError, match="no such folder or file"):
        run(tmp_path / "fims", tmp_path / "mine", prune=True)
    with pytest.raises(NotFoundError, match="no such folder or file"):
        run(tmp_path / "fims", tmp_path / "new", prune=True)
    assert not (tmp_path / "new").exists()


def test_an_index_counts_what_is_gone_and_prunes_it(drawn, films, tmp_path):
    mlcmr.index(films, tmp_path / "index", run=drawn / "run", device="cpu")
    more = draw(tmp_path / "more", "z.bmp")
    mlcmr.index(more, tmp_path / "index", device="cpu")
    (films / "0.mp4").unlink()
    summary = mlcmr.index(more, tmp_path / "index", device="cpu")
    assert (summary.removed, summary.segments) == (0, 8)
    assert "1 video whose file is gone, kept; `prune` removes them" in str(summary)
    assert mlcmr.index(more, tmp_path / "index", prune=True, device="cpu").removed == 1
    shutil.rmtree(films)
    summary = mlcmr.index(more, tmp_path / "index", prune=True, device="cpu")
    assert (summary.removed, summary.segments) == (0, 7)
    assert f"6 videos of {films}, kept" in str(summary)
    summary = mlcmr.index(films, tmp_path / "index", prune=True, device="cpu")
    assert (summary.removed, summary.segments) == (6, 1)
    shutil.rmtree(more)
    with pytest.raises(NotFoundError, match="remove the index"):
        mlcmr.index(more, tmp_path / "index", prune=True, device="cpu")


@pytest.mark.parametrize("prune", [False, True])
def test_a_dry_run_says_what_is_gone_and_away(drawn, films, tmp_path, prune):
    more, disk = draw(tmp_path / "more", "y.bmp", "z.bmp"), draw(tmp_path / "disk", "w.bmp")
    mlcmr.index(films, tmp_path / "index", run=drawn / "run", device="cpu")
    for folder in (disk, more):
        mlcmr.index(folder, tmp_path / "index", device="cpu")
    shutil.rmtree(disk)
    (films / "0.mp4").unlink()
    (more / "z.bmp").rename(more / "z.txt")
    options = {"prune": prune, "device": "cpu"}
    planned, done = (
        [line for line in str(summary).splitlines() if line.startswith(("  left out:", "  gone:", "  away:"))]
        for summary in (
            mlcmr.index(more, tmp_path / "index", dry_run=True, **options),
            mlcmr.index(more, tmp_path / "index", **options),
        )
    )
    assert [line.split(":")[0].strip() for line in done] == ["left out", "gone", "away"]
    assert planned == done


def test_an_index_of_a_collection_counts_files_that_are_gone(drawn, films, tmp_path):
    extract(films, tmp_path / "mine", workers=1)
    mlcmr.index(tmp_path / "mine", tmp_path / "index", run=drawn / "run", device="cpu")
    (films / "0.mp4").unlink()
    assert "1 video whose file is gone" in str(
        mlcmr.index(tmp_path / "mine", tmp_path / "index", device="cpu")
    )
    extract(films, tmp_path / "mine", workers=1, prune=True)
    summary = mlcmr.index(tmp_path / "mine", tmp_path / "index", device="cpu")
    assert (summary.removed, summary.segments) == (0, 7)
    assert "1 video no longer in the source, kept; `prune` removes them" in str(summary)
    summary = mlcmr.index(tmp_path / "mine", tmp_path / "index", prune=True, device="cpu")
    assert (summary.removed, summary.segments, summary.gone) == (1, 6, "")
