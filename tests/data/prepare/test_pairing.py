"""Any captions: nothing is lost, and captions of one place in several languages stay pairs."""

import json
import tempfile
from collections import Counter, defaultdict
from contextlib import suppress
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mlcmr.data.captions import read_captions
from mlcmr.data.collection import open_collection
from mlcmr.data.prepare import prepare
from mlcmr.data.scenarios import Scenario, ScenarioKind, read_training_pairs
from mlcmr.errors import MlcmrError
from tests.helpers.annotations import contents, problems, write, write_table

# Marks and characters without ink alone are blank, and `['a', 'b']` is a list: tests of their own.
words = st.text(
    st.characters(exclude_categories=["C", "M"], exclude_characters="[\u115f\u1160\u2800\u3164\uffa0"),
    max_size=12,
)
annotations = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from(["en", "zh", "de"]), words), min_size=6, max_size=40
)


@settings(max_examples=60)
@given(annotations, st.booleans())
def test_whatever_the_captions_check_is_clean_and_nothing_is_lost(rows, pair):
    expected = {(f"clip_{video}", lang, " ".join(text.split())) for video, lang, text in rows}
    expected = {row for row in expected if row[2]}
    with tempfile.TemporaryDirectory() as folder:
        lines = [
            json.dumps({"clip": f"clip {video}.mp4", "text": text, "lang": lang})
            for video, lang, text in rows
        ]
        table = write(Path(folder) / "t.jsonl", "\n".join(lines))
        mine = Path(folder) / "mine"
        if len({video for video, *_ in expected}) < 3:
            unpaired = "|with a counterpart in another language" if pair else ""
            with pytest.raises(MlcmrError, match=rf"no captions in it|too few{unpaired}"):
                prepare([table], mine, pair=pair)
            return
        try:
            summary = prepare([table], mine, pair=pair)
        except MlcmrError:
            assume(not pair)  # else all captions of a video may be left out, and the rest be too few
            raise
        assert problems(mine) == []
        written = [
            (video, language, text)
            for path in (mine / "TextData").iterdir()
            if "_half" not in path.name
            for captions in [read_captions(path)]
            for video, language, text in zip(captions.videos, captions.languages, captions.texts, strict=True)
        ]
        half = mine / "TextData" / "minetrain_half.caption.txt"
        of_one = read_captions(half) if half.exists() else None
        of_all = [read_captions(path).ids for path in (mine / "TextData").glob("minetrain*") if path != half]
    if of_one:  # every video once, in one language, with all its captions in that
        assert set(of_one.videos) == {one.partition("#")[0] for ids in of_all for one in ids}
        spoken = dict(zip(of_one.videos, of_one.languages, strict=True))
        tags = {video: "enc" if language == "en" else language for video, language in spoken.items()}
        assert set(of_one.ids) == {
            one for ids in of_all for one in ids if tags[one.split("#")[0]] == one.split("#")[1]
        }
        assert Counter(spoken.values()) == Counter({k: v for k, v in summary.halves.items() if v})
    else:
        assert len(of_all) == 1
        assert not summary.halves
    assert set(written) <= expected
    assert set(written) == expected or pair
    assert len(rows) == len(written) + summary.blank + summary.duplicates + summary.without_counterpart
    assert pair or not summary.without_counterpart


few_words = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(["en", "zh", "de"]), st.sampled_from(["a", "b", "c", ""])),
    min_size=6,
    max_size=40,
)


@settings(max_examples=150)
@given(
    few_words,
    st.booleans(),
    st.sampled_from([["en", "zh", "de"], ["en", "zh+de"], ["zh", "de+en"], ["en+zh+de"]]),
)
def test_a_pair_stands_in_rows_of_the_same_place_whatever_is_left_out(rows, pair, commands):
    """Blank captions and duplicates of one language do not shift its captions against another's."""
    rows_of = defaultdict(list)
    for video, language, text in rows:
        rows_of[f"v{video}", language].append(text)
    with tempfile.TemporaryDirectory() as folder:
        mine = Path(folder) / "mine"
        for languages in commands:
            chosen = [row for row in rows if row[1] in languages]
            lines = [json.dumps({"video": f"v{v}", "text": t, "lang": lang}) for v, lang, t in chosen]
            with suppress(MlcmrError):  # no captions in this language, or all of them there already
                prepare([write(Path(folder) / "t.jsonl", "\n".join(lines))], mine, split=["train"], pair=pair)
        written = defaultdict(dict)
        for path in (mine / "TextData").glob("minetrain*"):
            if "_half" not in path.name:
                captions = read_captions(path)
                for key, text in zip(captions.keys, captions.texts, strict=True):
                    written[key][captions.languages[0]] = text
        for key, texts in written.items():
            video = key.partition("#")[0]
            for one, other in combinations(texts, 2):
                both = list(zip(rows_of[video, one], rows_of[video, other], strict=False))
                assert (texts[one], texts[other]) in both


def test_a_duplicate_in_one_language_shifts_no_pairs(tmp_path):
    texts = {"en": ["a", "a", "b", "c"], "zh": ["甲", "乙", "丙", "丙"]}
    rows = [{"video": "v", "text": text, "lang": lang} for lang, many in texts.items() for text in many]
    table = write_table(tmp_path / "t.csv", rows)
    summary = prepare([table], tmp_path / "c", split=["train"])
    pairs = read_training_pairs(open_collection(tmp_path, "c"), Scenario(ScenarioKind.PARALLEL))
    found = list(zip(pairs.captions["en"].texts, pairs.captions["zh"].texts, strict=True))
    assert found == list(zip(*texts.values(), strict=True))
    assert (summary.duplicates, summary.without_counterpart, summary.unpaired) == (0, 0, [])


def test_a_language_pairs_with_an_earlier_one_that_lost_a_duplicate(tmp_path):
    texts = {"en": ["a", "a", "b", "c"], "zh": ["甲", "乙", "丙", "丁"]}
    for language, many in texts.items():
        rows = [{"video": "v", "text": text, "lang": language} for text in many]
        summary = prepare([write_table(tmp_path / "t.csv", rows)], tmp_path / "c", split=["train"])
    assert contents(tmp_path / "c")["ctrain.caption.txt"] == "v#enc#0 a\nv#enc#2 b\nv#enc#3 c\n"
    assert contents(tmp_path / "c")["ctrain_zh.caption.txt"] == "v#zh#0 甲\nv#zh#2 丙\nv#zh#3 丁\n"
    assert (summary.without_counterpart, summary.unpaired) == (1, [])
