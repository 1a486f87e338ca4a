"""`mlcmr index` and `mlcmr search` as they are typed."""

import json

import pytest

from mlcmr.cli import main


def test_commands(place, trained, capsys, monkeypatch):
    monkeypatch.chdir(place)
    assert main(["index", "tiny", "--run", str(trained), "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    assert "36 added" in out
    assert "search:   exact" in out
    assert main(["search", "A dog runs.", "-k", "3", "--device", "cpu"]) == 0
    captured = capsys.readouterr()
    assert "dog_runs-1" in captured.out
    assert "A dog runs." in captured.out
    assert "exact search in 36 segments" in captured.err
    assert (
        main(
            [
                "search",
                "A dog runs.",
                "-k",
                "2",
                "--json",
                "--filter",
                "kind=video",
                "--filter",
                "video!=dog_runs-1",
            ]
        )
        == 0
    )
    hits = json.loads(capsys.readouterr().out)
    assert len(hits) == 2
    assert "dog_runs-1" not in {hit["video"] for hit in hits}
    assert hits[0].keys() == {
        "video", "segment", "score", "path", "start", "end", "duration", "width", "height", "kind",
        "thumbnail", "caption",
    }  # fmt: skip
    assert (
        main(["search", "--similar", "dog_runs-1", "--captions", "--language", "zh", "--json", "-k", "1"])
        == 0
    )
    (caption,) = json.loads(capsys.readouterr().out)
    assert caption["language"] == "zh"
    assert main(["search", "--similar", "dog_runs-1", "--captions"]) == 0
    assert "exact search in 144 captions" in capsys.readouterr().err
    for nothing in ("!!!", "😀", "\u200b"):
        assert main(["search", nothing]) == 2
        error = capsys.readouterr().err
        assert (
            error
            == f"mlcmr: query {nothing!r}: contains nothing that the model can read; enter other words\n"
        )
    assert main(["search", "a dog", "--filter", "duration>5"]) == 0
    assert "nothing found" in capsys.readouterr().out
    assert main(["search", "--filter", "duration>5", "a dog"]) == 0  # its text is not another filter
    assert "nothing found" in capsys.readouterr().out
    assert main(["search", "a dog", "--language", "French"]) == 0
    assert "the model was trained in en, zh; hits for fr may be poor" in capsys.readouterr().err
    assert main(["search", "a dog"]) == 0
    assert "trained" not in capsys.readouterr().err
    assert main(["search", "--similar", "dog_runs-1", "--captions", "--language", "fr"]) == 0
    assert "no such captions in the index; it has captions in en, zh" in capsys.readouterr().out
    assert main(["index", "--remove", "dog_runs-1"]) == 0
    assert "1 removed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["index", "no/such/folder", "--run", "run"], "no/such/folder: no such folder"),
        (["index"], "give videos or a collection, and a model"),
        (["index", ".", "--run", "no/such/run", "--to", "i"], "config.yaml: no such file"),
        (["index", ".", "--run", "a", "--model", "b"], "give only one"),
        (["index", "--run", "a"], "--run is for videos or a collection; give their folder, or leave it out"),
        (["index", "--remove", "p", "--model", "a"], "--model is for"),
        (["index", "--remove", "p", "--encoder", "a"], "--encoder is for"),
        (["index", "--remove", "p", "--feature", "a"], "--feature is for"),
        (["index", "--remove", "p", "--name", "a"], "--name is for"),
        (["index", "--remove", "p", "--prune"], "--prune is for"),
        (["index", "--remove", "p", "--captions", "false"], "--captions is for"),
        (["index", "--remove", "p", "--device", "tpu"], "--device is for"),
        (["index", "--remove", "p", "--batch-size", "3"], "--batch-size is for"),
        (["search"], "a text, --video FILE, or --similar VIDEO"),
        (["search", "dog", "--video", "dog.mp4"], "give one query"),
        (["search", "dog", "--captions"], "--captions finds captions of a video"),
        (["search", "--similar", "a", "--captions", "--filter", "kind=video"], "--filter is for videos"),
        (["search", "dog", "--segment", "0"], "--segment is for --similar"),
        (["search", "--video", "dog.mp4", "--segment", "1"], "--segment is for --similar"),
        (["search", "--similar", "a", "--captions", "--segment", "1"], "without --captions"),
        (["search", "--video", "dog.mp4", "--language", "en"], "--language is for a text"),
        (["search", "--similar", "a", "--language", "en"], "--language is for a text"),
        (["index", ".", "--run", "a", "--feature", "nonsense"], "--feature is for a collection"),
        (["index", ".", "--run", "a", "--batch-size", "0"], "--batch-size is 0, but must be 1 or more"),
        (["search", "dog", "--index", "none"], "none: there is no index in this folder"),
        (["search", "dog", "--filter", "duration<long"], "compared with a number"),
    ],
)
def test_bad_input_is_one_line_and_status_2(words, part, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    error = capsys.readouterr().err
    assert part in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
