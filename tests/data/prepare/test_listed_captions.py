"""Lists that name the captions of a split."""

import pytest

from mlcmr.cli import main
from mlcmr.data.prepare import prepare
from mlcmr.errors import InvalidValueError
from tests.helpers.annotations import contents, msrvtt, problems, write, write_table


def test_the_protocol_of_msrvtt_1ka(tmp_path, capsys):
    videos = [(f"video{i}", "train") for i in range(4)]
    data = msrvtt(videos)
    data["sentences"] += [{"video_id": "video3", "caption": "a dog", "sen_id": 900}]
    json_file = write(tmp_path / "MSRVTT_data.json", data)
    train = write(tmp_path / "MSRVTT_train.9k.csv", "video_id\nvideo0\nvideo1\n")
    test = write(
        tmp_path / "MSRVTT_JSFUSION_test.csv",
        "key,vid_key,video_id,sentence\nret0,msr3,video3,a dog\nret1,msr2,video2,a sentence of its own\n",
    )
    words = ["prepare", str(json_file), "--split-lists", f"train={train}", f"test={test}", "--collection"]
    assert main([*words, str(tmp_path / "all")]) == 0
    told = "MSRVTT_JSFUSION_test.csv has captions of its own: --list-captions takes these alone"
    assert told in capsys.readouterr().out
    assert contents(tmp_path / "all")["alltest.caption.txt"].count("\n") == 5
    assert main([*words, str(tmp_path / "1kA"), "--list-captions"]) == 0
    assert "left out: captions that their list does not have: 4" in capsys.readouterr().out
    assert contents(tmp_path / "1kA") == {
        "1kAtest.caption.txt": "video2#enc#2 a sentence of its own\nvideo3#enc#2 a dog\n",
        "1kAtrain.caption.txt": contents(tmp_path / "all")["alltrain.caption.txt"],
    }
    assert problems(tmp_path / "1kA") == []
    with pytest.raises(
        InvalidValueError, match="`list_captions`: no file of `split_lists` has a column with captions"
    ):
        prepare([json_file], tmp_path / "no", split_lists={"train": train}, list_captions=True)


def test_listed_captions_keep_their_counterparts_in_other_languages(tmp_path):
    rows = [
        {"video": video, "text": f"{lang} {n}", "lang": lang}
        for video in ("v", "w", "x") for lang in ("en", "zh") for n in range(3)
    ]  # fmt: skip
    table = write_table(tmp_path / "t.csv", rows)
    lists = {
        "train": write(tmp_path / "train.txt", "x"),
        "test": write(tmp_path / "test.csv", "video_id,sentence\nv,en 1\nw,en 0\n"),
    }
    summary = prepare([table], tmp_path / "c", split_lists=lists, list_captions=True)
    assert contents(tmp_path / "c")["ctest.caption.txt"] == "v#enc#1 en 1\nw#enc#0 en 0\n"
    assert contents(tmp_path / "c")["ctest_zh.caption.txt"] == "v#zh#1 zh 1\nw#zh#0 zh 0\n"
    assert (summary.replaced, summary.without_counterpart, summary.unpaired) == (4, 4, [])
    assert problems(tmp_path / "c") == []


def test_listed_captions_keep_those_at_their_place_in_a_language_that_makes_no_pairs(tmp_path):
    rows = [
        {"video": video, "text": f"{lang} {n}", "lang": lang}
        for video in ("v", "x") for lang, captions in (("en", 4), ("zh", 3)) for n in range(captions)
    ]  # fmt: skip
    lists = {
        "train": write(tmp_path / "train.txt", "x"),
        "test": write(tmp_path / "test.csv", "video_id,sentence\nv,en 1\n"),
    }
    table = write_table(tmp_path / "t.csv", rows)
    summary = prepare([table], tmp_path / "c", split_lists=lists, list_captions=True)
    files = contents(tmp_path / "c")
    assert summary.unpaired == ["zh"]
    assert files["ctest.caption.txt"] == "v#enc#1 en 1\n"
    assert files["ctest_zh.caption.txt"] == "v#zh#3 zh 1\n"
    assert files["ctrain_zh.caption.txt"] == "x#zh#4 zh 0\nx#zh#5 zh 1\nx#zh#6 zh 2\n"
