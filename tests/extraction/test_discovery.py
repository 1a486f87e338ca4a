"""Files of a folder: their ids, and files that were moved or deleted."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcmr.cli import main
from mlcmr.data.features.frame_features import open_features
from mlcmr.errors import InvalidValueError, MlcmrError
from mlcmr.extraction import plan
from mlcmr.extraction.discovery import assign_ids, find_files, find_gone, find_moved
from mlcmr.extraction.records import read_videos, write_videos
from tests.helpers.extraction import run
from tests.helpers.folders import contents
from tests.helpers.videos import make_video


def test_gone_files_are_kept_until_pruned(videos, tmp_path):
    run(videos, tmp_path / "mine")
    shutil.move(videos / "a.mp4", tmp_path / "elsewhere.mp4")
    summary = run(videos, tmp_path / "mine")
    assert (summary.videos, summary.gone, summary.pruned) == (5, ["a"], False)
    assert "kept" in str(summary)
    summary = run(videos, tmp_path / "mine", prune=True)
    assert (summary.videos, summary.gone, summary.pruned) == (4, ["a"], True)
    assert "a" not in {record.video for record in read_videos(tmp_path / "mine")}
    assert "a" not in open_features(tmp_path / "mine/FeatureData/hues228")
    assert not (tmp_path / "mine/thumbnails/hues228/a").exists()
    assert run(videos, tmp_path / "mine", prune=True).gone == []
    shutil.rmtree(videos)
    videos.mkdir()
    with pytest.raises(
        InvalidValueError, match=r"FeatureData/hues228: no video would be left; remove this folder"
    ):
        run(videos, tmp_path / "mine", prune=True)
    assert len(read_videos(tmp_path / "mine")) == 4


def test_a_folder_is_the_same_however_it_is_named(videos, tmp_path, monkeypatch):
    run(videos, videos / "mine")
    monkeypatch.chdir(videos / "deep er")
    summary = run(Path(".."), Path("../mine"))
    assert (summary.videos, summary.extracted, summary.gone) == (5, 0, [])
    assert run(Path(".."), videos / "deep er/../mine").extracted == 0


def test_a_folder_that_is_named_through_a_link_is_the_same(videos, tmp_path, monkeypatch):
    (tmp_path / "link").symlink_to(videos)
    (tmp_path / "mine").mkdir()
    (tmp_path / "other").symlink_to(tmp_path / "mine")
    run(tmp_path / "link", tmp_path / "other")
    monkeypatch.chdir(tmp_path / "link")
    for named in (Path(), videos, tmp_path / "link", tmp_path / "link/a.mp4"):
        summary = run(named, tmp_path / "mine")
        assert (summary.videos, summary.extracted, summary.moved) == (5, 0, 0)


def test_what_was_named_through_a_link_before_is_known_again(videos, tmp_path):
    """As collections are that were extracted when links stayed in names."""
    run(videos, tmp_path / "mine")
    link = tmp_path / "link"
    link.symlink_to(videos)
    for feature in (None, "hues228"):
        through = [
            replace(one, path=one.path.replace(str(videos), str(link)))
            for one in read_videos(tmp_path / "mine", feature)
        ]
        write_videos(tmp_path / "mine", through, feature)
    make_video(videos / "a.mp4", frames=7)
    (videos / "b.avi").unlink()
    summary = run(videos, tmp_path / "mine", prune=True)
    assert (summary.videos, summary.extracted, summary.moved, summary.gone) == (4, 1, 4, ["b"])
    run(videos, tmp_path / "fresh")
    ids = [{one.path: len(one.times) for one in read_videos(tmp_path / name)} for name in ("mine", "fresh")]
    assert ids[0] == ids[1]


def test_a_file_that_was_named_through_a_link_is_no_other_that_is_gone(videos, tmp_path):
    run(videos / "a.mp4", tmp_path / "mine")
    (record,) = read_videos(tmp_path / "mine")
    (tmp_path / "link").symlink_to(videos)
    linked, away = (replace(record, path=str(tmp_path / name / "a.mp4")) for name in ("link", "away"))
    files = find_files(videos, tmp_path).files
    for known in ([linked, away], [away, linked]):
        assert find_moved(known, videos, files) == {videos / "a.mp4": linked}


def test_what_was_extracted_twice_through_a_link_is_gone_once(videos, tmp_path):
    run(videos, tmp_path / "mine")
    through = [
        replace(one, path=one.path.replace(str(videos), str(tmp_path / "link")), video=f"{one.video}_again")
        for one in read_videos(tmp_path / "mine")
    ]
    (tmp_path / "link").symlink_to(videos)
    twice = {*read_videos(tmp_path / "mine"), *through}
    assert find_gone(twice, videos, find_files(videos, tmp_path).files, {}) == {one.video for one in through}
    assert find_moved(twice, videos, find_files(videos, tmp_path).files) == {}


def test_a_linked_file_is_not_the_file_that_it_links_to(videos, tmp_path):
    (tmp_path / "more").mkdir()
    (tmp_path / "more/a.mp4").symlink_to(videos / "a.mp4")
    run(videos, tmp_path / "mine")
    summary = run(tmp_path / "more", tmp_path / "mine")
    assert (summary.videos, summary.extracted, summary.moved) == (6, 1, 0)


def test_which_of_two_that_are_gone_a_file_was_is_not_guessed(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        make_video(tmp_path / name / "a.mp4")
        os.utime(tmp_path / name / "a.mp4", ns=(0, 0))
        run(tmp_path / name, tmp_path / "mine")
    (tmp_path / "one").rename(tmp_path / "films")
    shutil.rmtree(tmp_path / "two")
    summary = run(tmp_path / "films", tmp_path / "mine")
    assert (summary.videos, summary.extracted, summary.moved) == (3, 1, 0)


def test_a_file_of_another_size_has_changed_whenever_that_was(videos, tmp_path):
    run(videos, tmp_path / "mine")
    before = (videos / "a.mp4").stat().st_mtime_ns
    make_video(videos / "a.mp4", frames=7)
    os.utime(videos / "a.mp4", ns=(before, before))
    assert run(videos, tmp_path / "mine").extracted == 1


def test_a_folder_that_was_renamed_is_known_again(videos, tmp_path):
    run(videos, tmp_path / "mine", segment=1.0)
    shutil.copytree(videos, tmp_path / "copy", copy_function=shutil.copy2)
    assert run(tmp_path / "copy", tmp_path / "twice").moved == 0
    assert run(videos, tmp_path / "twice").extracted == 5  # both are there
    shutil.rmtree(tmp_path / "copy")

    films = videos.rename(tmp_path / "films")
    make_video(films / "a.mp4", frames=7)  # while no one looked
    make_video(films / "b.mp4", frames=7)
    summary = run(films, tmp_path / "mine", segment=1.0, prune=True)
    # A file that has changed besides is still the video of its id.
    assert (summary.videos, summary.extracted, summary.moved, summary.gone) == (6, 2, 4, [])
    assert {one.video for one in read_videos(tmp_path / "mine") if one.path == str(films / "a.mp4")} == {"a"}
    assert "4 videos in a folder that was moved" in str(summary)
    again = run(films, tmp_path / "mine", segment=1.0)
    assert (again.videos, again.extracted, again.moved) == (6, 0, 0)


def test_a_renamed_folder_gives_what_a_new_extraction_of_it_does(videos, tmp_path):
    run(videos, tmp_path / "mine")
    films = videos.rename(tmp_path / "films")
    summary = run(films, tmp_path / "mine")
    assert (summary.videos, summary.extracted, summary.moved) == (5, 0, 5)
    run(films, tmp_path / "fresh")
    assert contents(tmp_path / "mine") == contents(tmp_path / "fresh")


def test_what_is_the_same_below_two_folders_is_known_by_the_longer_path(tmp_path):
    for name in ("a.mp4", "x/a.mp4"):
        path = tmp_path / "videos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        make_video(path)
        os.utime(path, ns=(0, 0))
    run(tmp_path / "videos", tmp_path / "mine")
    (tmp_path / "videos").rename(tmp_path / "films")
    assert run(tmp_path / "films", tmp_path / "mine").moved == 2
    found = {one.video: one.path for one in read_videos(tmp_path / "mine")}
    assert found == {"a": str(tmp_path / "films/a.mp4"), "x_a": str(tmp_path / "films/x/a.mp4")}


def test_a_second_folder_adds_and_prunes_nothing_of_the_first(videos, tmp_path):
    run(videos, tmp_path / "mine")
    (tmp_path / "more").mkdir()
    make_video(tmp_path / "more/a.mp4", frames=4)
    summary = run(tmp_path / "more", tmp_path / "mine", prune=True)
    assert (summary.videos, summary.extracted, summary.gone) == (6, 1, [])
    assert {record.video for record in read_videos(tmp_path / "mine")} > {"a", "a_mp4"}


def test_one_file_of_a_folder_prunes_nothing_beside_it(videos, tmp_path):
    run(videos, tmp_path / "mine")
    make_video(videos / "new.mp4")
    summary = run(videos / "new.mp4", tmp_path / "mine", prune=True)
    assert (summary.videos, summary.extracted, summary.gone) == (6, 1, [])
    assert "gone" not in str(summary)


def test_a_folder_that_cannot_be_looked_into_is_skipped_and_nothing_in_it_is_gone(
    videos, tmp_path, refused, capfd
):
    run(videos, tmp_path / "mine")
    (videos / "a.mp4").unlink()
    refused.add("deep er")
    assert main(["extract", str(videos), "--collection", str(tmp_path / "mine"), "--prune"]) == 0
    out, err = capfd.readouterr()
    assert f"skipped: {videos}/deep er: cannot be accessed: Permission denied\n" in err
    assert "4 videos, 0 extracted now" in out
    assert "  closed:   1 path that cannot be accessed\n" in out
    assert "  gone:     1 video " in out
    assert {one.video for one in read_videos(tmp_path / "mine")} == {"b", "b_mkv", "deep_er_狗", "photo"}


def test_a_file_that_cannot_be_looked_at_is_skipped_and_not_gone(videos, tmp_path, monkeypatch):
    run(videos, tmp_path / "mine")
    look = Path.stat

    def refuses(path, **options):
        if path.name == "a.mp4":
            raise PermissionError(13, "Permission denied", str(path))
        return look(path, **options)

    monkeypatch.setattr(Path, "stat", refuses)
    summary = run(videos, tmp_path / "mine", prune=True)
    assert (summary.videos, list(summary.closed), summary.gone) == (5, [videos / "a.mp4"], [])


def test_the_named_folder_that_cannot_be_looked_into_is_an_error(videos, tmp_path, refused):
    refused.add(videos.name)
    with pytest.raises(MlcmrError, match="videos: cannot be accessed: Permission denied"):
        run(videos, tmp_path / "mine")


def test_the_collection_may_lie_among_the_videos(videos):
    for _ in range(2):
        assert run(videos, videos / "mine").videos == 5


def test_the_collection_may_be_the_folder_of_videos(videos):
    for extracted in (5, 0):
        summary = run(videos, videos)
        assert (summary.videos, summary.extracted) == (5, extracted)


def test_files_that_vanish_meanwhile_are_left_out(videos, tmp_path, monkeypatch):
    (videos / "nowhere.mp4").symlink_to(videos / "absent.mp4")
    walk, find = os.walk, plan.find_files

    def vanishes_when_listed(top, **options):
        yield from walk(top, **options)
        (videos / "a.mp4").unlink()

    def vanishes_when_found(*arguments):
        files = find(*arguments)
        (videos / "b.mkv").unlink()
        return files

    monkeypatch.setattr(os, "walk", vanishes_when_listed)
    monkeypatch.setattr(plan, "find_files", vanishes_when_found)
    summary = run(videos, tmp_path / "mine")
    assert summary.videos == 3
    assert [path.name for path, _ in summary.skipped] == ["b.mkv"]


@given(
    st.lists(
        st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=90), unique=True
    )
)
def test_ids_are_unique_and_fit_everywhere(names):
    root = Path("/videos")
    files = sorted(root / f"{name}.mp4" for name in names)
    ids = assign_ids(files, root, {})
    assert len(set(ids.values())) == len(files)
    for video in ids.values():
        assert video.split() == [video]
        assert not set(video) & set("/#\\'\"")
        assert len(video.encode()) <= 230
    # A file keeps its id whatever comes or goes.
    kept = {str(path): video for path, video in ids.items()}
    assert {path: assign_ids([path], root, kept)[path] for path in files} == ids


def test_a_file_that_is_called_as_a_folder_above_lies_with_the_others(videos, tmp_path):
    for name in (".", ".."):
        make_video(tmp_path / f"{name}.mkv", frames=5)
        run(tmp_path / f"{name}.mkv", tmp_path / "mine")
    summary = run(videos, tmp_path / "mine")
    assert (summary.videos, summary.extracted) == (7, 5)
    assert {path.parents[1].name for path in (tmp_path / "mine").rglob("*.jpg")} == {"hues228"}


def test_files_are_found_in_order(videos):
    (videos / "IMG.DNG").touch()
    (videos / "README").touch()
    (videos / "linked").symlink_to(videos / "deep er")
    found, others, _ = find_files(videos, collection=videos / "none")
    assert others == {".txt": 1, ".dng": 1, "": 1}
    assert [path.name for path in found] == ["a.mp4", "b.avi", "b.mkv", "狗.webm", "photo.jpg"]
    assert list(find_files(videos / "a.mp4", collection=videos)[0]) == [videos / "a.mp4"]
    with pytest.raises(InvalidValueError, match=r"notes\.txt: unsupported file extension; rename it"):
        find_files(videos / "notes.txt", collection=videos)
