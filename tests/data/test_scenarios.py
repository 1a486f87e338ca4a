"""Each scenario reads its files, pairs captions by video and number, and says what is missing."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcmr.data.collection import Collection, open_collection, same_collection
from mlcmr.data.config import DataConfig
from mlcmr.data.scenarios import (
    MIXED,
    ExampleCaptions,
    Scenario,
    ScenarioKind,
    read_bank,
    read_queries,
    read_training_pairs,
    read_validation,
    training_files,
)
from mlcmr.errors import CorruptFileError, InvalidValueError, NotFoundError

PARALLEL = Scenario(ScenarioKind.PARALLEL)
TO_ZH = Scenario(ScenarioKind.PSEUDO_PARALLEL, target="zh")
TO_EN = Scenario(ScenarioKind.PSEUDO_PARALLEL, target="en")
UNPARALLEL = Scenario(ScenarioKind.UNPARALLEL)
KEYS = [("v1", "0"), ("v1", "1"), ("v-2_x", "0")]


def lines(tag: str, keys: Sequence[tuple[str, str]] = KEYS) -> list[str]:
    return [f"{video}#{tag}#{number} {tag} of {video} {number}" for video, number in keys]


def texts(tag: str, keys: Sequence[tuple[str, str]] = KEYS) -> list[str]:
    return [line.split(" ", 1)[1] for line in lines(tag, keys)]


@pytest.fixture
def collection(tmp_path) -> Collection:
    return Collection(tmp_path / "toy", "toy")


def write(collection: Collection, split: str, suffix: str, content: Sequence[str], end: str = "\n") -> Path:
    path = collection.caption_file(split, suffix)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(line + end for line in content).encode())
    return path


# ─── training ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("scenario", "files"),
    [
        (PARALLEL, {"en": "toytrain", "zh": "toytrain_zh"}),
        (TO_ZH, {"en": "toytrain", "zh": "toytrain_google_enc2zh"}),
        (TO_EN, {"en": "toytrain_google_zhc2en", "zh": "toytrain_zh"}),
        (UNPARALLEL, {MIXED: "toytrain_half"}),
        (Scenario(ScenarioKind.PARALLEL, ("de", "en")), {"de": "toytrain_de", "en": "toytrain"}),
        (Scenario(ScenarioKind.PARALLEL, ("zh",)), {"zh": "toytrain_zh"}),
        (
            Scenario(ScenarioKind.PSEUDO_PARALLEL, ("en", "fr"), target="fr", engine="deepl"),
            {"en": "toytrain", "fr": "toytrain_deepl_enc2fr"},
        ),
        (
            Scenario(ScenarioKind.PSEUDO_PARALLEL, ("en", "zh", "fr"), target="fr"),
            {"en": "toytrain", "zh": "toytrain_zh", "fr": "toytrain_google_enc2fr"},
        ),
        (
            Scenario(ScenarioKind.PARALLEL, ("en", "zh", "de", "it", "fr", "es", "ja")),
            {"en": "toytrain"} | {one: f"toytrain_{one}" for one in ("zh", "de", "it", "fr", "es", "ja")},
        ),
    ],
)
def test_training_files(collection, scenario, files):
    found = training_files(collection, scenario)
    assert {name: path.name for name, path in found.items()} == {
        name: f"{stem}.caption.txt" for name, stem in files.items()
    }
    assert list(found) == list(files)
    for stem in files.values():
        suffix = stem.removeprefix("toytrain")
        write(collection, "train", suffix, lines(suffix.rpartition("_")[2] or "enc"))
    pairs = read_training_pairs(collection, scenario)
    assert list(pairs.captions) == list(files)
    assert pairs.videos == [video for video, _ in KEYS]
    assert pairs.skipped == 0


def test_pseudo_parallel_texts(collection):
    write(collection, "train", "", lines("enc"))
    write(collection, "train", "_google_enc2zh", lines("enc2zh"))
    pairs = read_training_pairs(collection, TO_ZH)
    assert pairs.captions == {
        "en": ExampleCaptions(texts("enc"), ["en"] * 3),
        "zh": ExampleCaptions(texts("enc2zh"), ["zh"] * 3),
    }


def test_translations_without_the_mark_are_found_too(collection):
    write(collection, "train", "", lines("en"))
    write(collection, "train", "_google_en2zh", lines("en2zh"))
    assert read_training_pairs(collection, TO_ZH).captions["zh"].texts == texts("en2zh")
    write(collection, "train", "_google_enc2zh", lines("enc2zh"))
    assert read_training_pairs(collection, TO_ZH).captions["zh"].texts == texts("enc2zh")


def test_unparallel_keeps_the_language_of_each(collection):
    half = [*lines("enc", KEYS[:2]), *lines("zh", KEYS[2:])]
    write(collection, "train", "_half", half)
    (column,) = read_training_pairs(collection, UNPARALLEL).captions.values()
    assert column.languages == ["en", "en", "zh"]
    assert column.texts == [*texts("enc", KEYS[:2]), *texts("zh", KEYS[2:])]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_line_ends(collection, end):
    write(collection, "train", "", lines("enc"), end)
    write(collection, "train", "_zh", lines("zh"), end)
    pairs = read_training_pairs(collection, PARALLEL)
    assert pairs.captions["en"].texts == texts("enc")
    assert pairs.captions["zh"].texts == texts("zh")


@given(order=st.permutations(range(6)), data=st.data())
def test_pairs_by_video_and_number(tmp_path_factory, order, data):
    """Whatever the order of the second file, and also when it has more."""
    keys = [(f"v{i // 2}", str(i % 2)) for i in range(6)]
    first = keys[: data.draw(st.integers(1, 6))]
    collection = Collection(tmp_path_factory.mktemp("pairs"), "toy")
    write(collection, "train", "", lines("enc", first))
    write(collection, "train", "_zh", lines("zh", [keys[i] for i in order]))
    pairs = read_training_pairs(collection, PARALLEL)
    assert pairs.videos == [video for video, _ in first]
    assert pairs.captions["en"].texts == texts("enc", first)
    assert pairs.captions["zh"].texts == texts("zh", first)
    assert pairs.skipped == 0


def test_endings_of_video_names_do_not_count(collection):
    write(collection, "train", "", ["v1.mp4#enc#0 a"])
    write(collection, "train", "_zh", ["v1#zh#0 b"])
    assert read_training_pairs(collection, PARALLEL).videos == ["v1"]


def test_missing_counterpart(collection):
    write(collection, "train", "", lines("enc"))
    path = write(collection, "train", "_zh", lines("zh", KEYS[1:]))
    with pytest.raises(CorruptFileError) as caught:
        read_training_pairs(collection, PARALLEL)
    assert str(caught.value) == (
        f"{path}: no caption for 'v1#0' of toytrain.caption.txt, and 1 of 3 examples are incomplete; "
        "complete the file, or set `missing_captions` to skip (leave them out) or keep (train on the "
        "captions that exist)"
    )
    pairs = read_training_pairs(collection, PARALLEL, "skip")
    assert pairs.skipped == 1
    assert pairs.videos == ["v1", "v-2_x"]
    assert pairs.captions == {
        "en": ExampleCaptions(texts("enc", KEYS[1:]), ["en"] * 2),
        "zh": ExampleCaptions(texts("zh", KEYS[1:]), ["zh"] * 2),
    }


def test_missing_counterparts_in_several_languages(collection):
    scenario = Scenario(ScenarioKind.PARALLEL, ("en", "zh", "de"))
    write(collection, "train", "", lines("enc"))
    write(collection, "train", "_zh", lines("zh", KEYS[:2]))
    write(collection, "train", "_de", lines("de", KEYS[1:]))
    pairs = read_training_pairs(collection, scenario, "skip")
    assert pairs.skipped == 2
    assert pairs.captions["de"].texts == texts("de", KEYS[1:2])
    with pytest.raises(
        CorruptFileError, match=r"_zh\.caption\.txt: no caption for 'v-2_x#0'.* 2 of 3 examples"
    ):
        read_training_pairs(collection, scenario)


def test_examples_with_the_captions_that_exist(collection):
    """Every video and number of any language is an example; those of the first language come first."""
    scenario = Scenario(ScenarioKind.PARALLEL, ("en", "zh", "de"))
    write(collection, "train", "", lines("enc", KEYS[:2]))
    write(collection, "train", "_zh", lines("zh", [("v9", "4"), *KEYS[1:]]))
    write(collection, "train", "_de", lines("de", [*KEYS, ("v9", "4")]))
    pairs = read_training_pairs(collection, scenario, "keep")
    assert pairs.videos == ["v1", "v1", "v9", "v-2_x"]
    assert pairs.skipped == 0
    assert pairs.captions == {
        "en": ExampleCaptions(texts("enc", KEYS[:2]), ["en"] * 2, [0, 1]),
        "zh": ExampleCaptions(texts("zh", [KEYS[1], ("v9", "4"), KEYS[2]]), ["zh"] * 3, [1, 2, 3]),
        "de": ExampleCaptions(texts("de", [*KEYS[:2], ("v9", "4"), KEYS[2]]), ["de"] * 4),
    }
    assert pairs.gaps() == [
        "en: 1 of 3 videos have captions, 2 of 4 examples",
        "zh: 3 of 3 videos have captions, 3 of 4 examples",
    ]


@pytest.mark.parametrize("scenario", [PARALLEL, TO_ZH, UNPARALLEL], ids=lambda one: one.kind)
def test_without_gaps_it_does_not_matter_what_happens_to_gaps(collection, scenario):
    write(collection, "train", "", lines("enc"))
    write(collection, "train", "_zh", lines("zh", KEYS[::-1]))
    write(collection, "train", "_google_enc2zh", lines("enc2zh"))
    write(collection, "train", "_half", [*lines("enc", KEYS[:1]), *lines("zh", KEYS)])
    pairs = read_training_pairs(collection, scenario, "keep")
    assert pairs == read_training_pairs(collection, scenario, "skip")
    assert pairs == read_training_pairs(collection, scenario)
    assert pairs.gaps() == []


def test_a_language_without_any_captions(collection):
    write(collection, "train", "", lines("enc"))
    write(collection, "train", "_zh", [])
    with pytest.raises(CorruptFileError, match=r"toytrain_zh\.caption\.txt: no captions"):
        read_training_pairs(collection, PARALLEL, "keep")


def test_nothing_left_is_an_error_in_any_case(collection):
    write(collection, "train", "", lines("enc"))
    write(collection, "train", "_zh", lines("zh", [("other", "0")]))
    with pytest.raises(CorruptFileError, match="none of its captions has a counterpart in zh"):
        read_training_pairs(collection, PARALLEL, "skip")


def test_empty_file(collection):
    for suffix in ("", "_zh"):
        write(collection, "train", suffix, [])
    with pytest.raises(CorruptFileError, match=r"toytrain\.caption\.txt: no captions"):
        read_training_pairs(collection, PARALLEL)
    write(collection, "val", "", [])
    with pytest.raises(CorruptFileError, match=r"toyval\.caption\.txt: no captions"):
        read_validation(collection, PARALLEL, "val")


@pytest.mark.parametrize(
    ("scenario", "missing"),
    [
        (PARALLEL, "toytrain_zh"),
        (TO_ZH, "toytrain_google_enc2zh"),
        (TO_EN, "toytrain_google_zhc2en"),
        (UNPARALLEL, "toytrain_half"),
    ],
)
def test_missing_file(collection, scenario, missing):
    write(collection, "train", "", lines("enc"))
    with pytest.raises(NotFoundError) as caught:
        read_training_pairs(collection, scenario)
    assert str(caught.value) == (
        f"{collection.folder / 'TextData' / missing}.caption.txt: no such file; the {scenario.kind} scenario "
        "with languages en, zh needs it; there is toytrain.caption.txt"
    )


def test_a_renamed_collection_is_named(collection):
    write(collection, "train", "", lines("enc"))
    renamed = Collection(collection.folder.rename(collection.folder.with_name("mine")), "mine")
    said = "no such file; .*the caption files begin with 'toy', but a folder called 'mine' should have"
    with pytest.raises(NotFoundError, match=said):
        read_training_pairs(renamed, PARALLEL)
    for target in ("en", "de"):
        with pytest.raises(NotFoundError, match=said):
            read_queries(renamed, PARALLEL, "test", target)


def test_missing_folder(collection):
    with pytest.raises(NotFoundError, match="there is no caption file"):
        read_training_pairs(collection, PARALLEL)


def test_malformed_line(collection):
    write(collection, "train", "", [*lines("enc"), "v3#enc a dog"])
    with pytest.raises(
        CorruptFileError, match=r"toytrain\.caption\.txt:4: caption id 'v3#enc' has 2 parts"
    ) as caught:
        read_training_pairs(collection, PARALLEL)
    assert caught.value.line == 4


def test_a_caption_in_another_language_than_its_file(collection):
    """A caption tagged as English would be cleaned as English, to letters and digits only."""
    for split in ("train", "val", "test"):
        write(collection, split, "", lines("enc"))
        write(collection, split, "_zh", [*lines("zh", KEYS[:1]), *lines("enc", KEYS[1:])])
    said = r"_zh\.caption\.txt:2: caption 'v1#enc#1' is in 'en', the file's name says 'zh'$"
    with pytest.raises(CorruptFileError, match=f"toytrain{said}"):
        read_training_pairs(collection, PARALLEL)
    with pytest.raises(CorruptFileError, match=f"toyval{said}"):
        read_validation(collection, PARALLEL, "val")
    write(collection, "test", "_zh", lines("zh"))
    write(collection, "test", "_google_zhc2en", lines("enc2zh"))
    with pytest.raises(CorruptFileError, match=r"_zhc2en\.caption\.txt:1: caption 'v1#enc2zh#0' is in 'zh'"):
        read_queries(collection, PARALLEL, "test", "zh")


@pytest.mark.parametrize(
    ("kind", "languages", "target", "message"),
    [
        (ScenarioKind.PARALLEL, (), None, "name each language once"),
        (ScenarioKind.PARALLEL, ("en", "en"), None, "name each language once"),
        (ScenarioKind.PSEUDO_PARALLEL, ("en", "zh"), None, "needs a target among"),
        (ScenarioKind.PSEUDO_PARALLEL, ("en", "zh"), "fr", "not 'fr'"),
        (ScenarioKind.PSEUDO_PARALLEL, ("zh",), "zh", "another language"),
        (ScenarioKind.PARALLEL, ("en", "zh"), "zh", "'zh' is for the pseudo-parallel scenario only"),
        (ScenarioKind.UNPARALLEL, ("en", "zh"), "zh", "this one is unparallel"),
    ],
)
def test_impossible_scenarios(kind, languages, target, message):
    with pytest.raises(InvalidValueError, match=message):
        Scenario(kind, languages, target)


# ─── queries ─────────────────────────────────────────────────────────────────────────────────────────────


def test_validation_is_human_in_every_language(collection):
    write(collection, "val", "", lines("enc"))
    write(collection, "val", "_zh", lines("zh"))
    write(collection, "val", "_google_enc2zh", lines("enc2zh"))
    english, chinese = read_validation(collection, TO_ZH, "val")
    assert english.captions.texts == texts("enc")
    assert chinese.captions.texts == texts("zh")
    assert english.translations is chinese.translations is None


@pytest.mark.parametrize(
    ("target", "suffix", "tag", "translated", "other"),
    [("zh", "_zh", "zh", "zhc2en", "en"), ("en", "", "enc", "enc2zh", "zh")],
)
@pytest.mark.parametrize("scenario", [PARALLEL, TO_ZH, TO_EN, UNPARALLEL], ids=lambda one: one.kind)
def test_queries_and_their_translations(collection, scenario, target, suffix, tag, translated, other):
    """The translations are matched by video and number; their order does not matter."""
    write(collection, "test", suffix, lines(tag))
    assert read_queries(collection, scenario, "test", target).translations is None
    write(collection, "test", f"_google_{translated}", lines(translated, [*KEYS[::-1], ("more", "0")]))
    queries = read_queries(collection, scenario, "test", target)
    assert queries.captions.texts == texts(tag)
    assert queries.language == target
    assert queries.translations == texts(translated)
    assert queries.translation_language == other
    assert read_queries(collection, scenario, "test", target, translations=False).translations is None


def test_translations_of_another_engine(collection):
    scenario = Scenario(ScenarioKind.PARALLEL, engine="deepl")
    write(collection, "test", "_zh", lines("zh"))
    write(collection, "test", "_google_zhc2en", lines("zhc2en"))
    assert read_queries(collection, scenario, "test", "zh").translations is None
    write(collection, "test", "_deepl_zhc2en", lines("zhc2en"))
    assert read_queries(collection, scenario, "test", "zh").translations == texts("zhc2en")


def test_query_without_its_translation(collection):
    write(collection, "test", "_zh", lines("zh"))
    write(collection, "test", "_google_zhc2en", lines("zhc2en", KEYS[:2]))
    with pytest.raises(
        CorruptFileError, match=r"_google_zhc2en.caption.txt: no translation of 'v-2_x#0' of toytest_zh"
    ):
        read_queries(collection, PARALLEL, "test", "zh")


def test_queries_in_a_language_that_is_not_there(collection):
    write(collection, "test", "", lines("enc"))
    with pytest.raises(NotFoundError, match=r"toytest_fr\.caption\.txt: no such file"):
        read_queries(collection, PARALLEL, "test", "fr")


@pytest.mark.parametrize(
    ("scenario", "target", "suffix", "tag"),
    [
        (PARALLEL, "zh", "_zh", "zh"),
        (TO_ZH, "zh", "_google_enc2zh", "enc2zh"),
        (TO_ZH, "en", "", "enc"),
        (PARALLEL, "de", "_de", "de"),
    ],
)
def test_a_bank_is_what_the_scenario_trains_on(collection, scenario, target, suffix, tag):
    """In a language that the scenario lacks, it is what people wrote."""
    write(collection, "train", suffix, lines(tag))
    bank = read_bank(collection, scenario, target, 10)
    assert (bank.captions.texts, bank.language, bank.translations) == (texts(tag), target, None)


def test_a_bank_of_unparallel_captions_has_one_language(collection):
    write(collection, "train", "_half", [*lines("enc", KEYS[:2]), *lines("zh", KEYS[2:])])
    bank = read_bank(collection, UNPARALLEL, "zh", 10)
    assert bank.captions.texts == texts("zh", KEYS[2:])
    assert bank.captions.videos == ["v-2_x"]
    with pytest.raises(CorruptFileError, match=r"toytrain_half\.caption\.txt: no captions in 'de'"):
        read_bank(collection, UNPARALLEL, "de", 10)


def test_a_bank_has_all_captions_of_some_videos(collection):
    """As many videos as fit, at least one; their captions in the order of the file; always the same."""
    keys = [(f"v{video}", str(number)) for number in range(3) for video in range(20)]
    write(collection, "train", "", lines("enc", keys))
    for size, videos in ((1, 1), (3, 1), (29, 9), (30, 10), (60, 20), (99, 20)):
        bank = read_bank(collection, PARALLEL, "en", size).captions
        chosen = set(bank.videos)
        assert len(chosen) == videos
        kept = [key for key in keys if key[0] in chosen]
        assert bank.texts == texts("enc", kept)
        assert bank == read_bank(collection, PARALLEL, "en", size).captions
    assert set(read_bank(collection, PARALLEL, "en", 30).captions.videos) != {f"v{n}" for n in range(10)}


def test_a_bank_without_training_captions(collection):
    with pytest.raises(NotFoundError, match=r"toytrain_zh\.caption\.txt: no such file"):
        read_bank(collection, PARALLEL, "zh", 10)


def test_published_fusion_weights():
    assert [one.fusion_weight for one in (PARALLEL, TO_ZH, TO_EN, UNPARALLEL)] == [0.85, 0.55, 0.55, 0.55]


def test_published_captions(reference_data):
    """The files as they are published: queries, and their translations."""
    for name, count in (("vatex", 15_000), ("msrvtt10kyu", None)):
        collection = open_collection(reference_data("data/published-captions"), name)
        for target, other in (("zh", "en"), ("en", "zh")):
            queries = read_queries(collection, TO_ZH, "test", target)
            assert queries.translation_language == other
            assert queries.translations is not None
            assert len(queries.translations) == len(queries.captions) == (count or len(queries.captions))
            assert set(queries.captions.languages) == {target}


# ─── the collection ──────────────────────────────────────────────────────────────────────────────────────

VATEX = ("vatex", "VATEX")
MSRVTT = ("msrvtt10kyu", "msrvtt10k", "msrvtt")


@pytest.mark.parametrize(
    ("asked", "folder", "prefix"),
    [
        (asked, folder, prefix)
        for names in (VATEX, MSRVTT)
        for asked in names
        for folder in names
        for prefix in names
    ],
)
def test_names_of_published_collections(tmp_path, asked, folder, prefix):
    """Whichever folder is there, and whichever name its files begin with."""
    write(Collection(tmp_path / folder, prefix), "test", "_zh", lines("zh"))
    collection = open_collection(tmp_path, asked)
    assert collection == Collection(tmp_path / folder, prefix)
    assert read_queries(collection, PARALLEL, "test", "zh").captions.texts == texts("zh")
    assert same_collection(asked, folder)


def test_the_exact_name_comes_first(tmp_path):
    for folder in (*VATEX, *MSRVTT):
        write(Collection(tmp_path / folder, folder), "val", "", lines("enc"))
    for name in (*VATEX, *MSRVTT):
        assert open_collection(tmp_path, name) == Collection(tmp_path / name, name)


def test_other_collections_have_one_name(tmp_path):
    (tmp_path / "Mine/TextData").mkdir(parents=True)
    (tmp_path / "not_one").mkdir()
    assert open_collection(tmp_path, "Mine") == Collection(tmp_path / "Mine", "Mine")
    with pytest.raises(NotFoundError, match=r"mine: no such collection; there is Mine in .*"):
        open_collection(tmp_path, "mine")
    with pytest.raises(NotFoundError, match="there is none in"):
        open_collection(tmp_path / "nowhere", "mine")
    assert not same_collection("vatex", "msrvtt")


def test_missing_feature_names_those_there_are(tmp_path):
    collection = Collection(tmp_path, "toy")
    with pytest.raises(NotFoundError, match=r"i3d: no such feature; there is none$") as caught:
        collection.open_features("i3d")
    assert (caught.value.path, caught.value.parameter) == (str(tmp_path / "FeatureData/i3d"), "feature")
    for name in ("clip", "resnet", ".hidden"):
        (tmp_path / "FeatureData" / name).mkdir(parents=True)
    with pytest.raises(NotFoundError, match=r"i3d: no such feature; there is clip, resnet$"):
        collection.open_features("i3d")


def test_settings_make_the_scenario():
    config = DataConfig(scenario="pseudo-parallel", target="en", languages=["en", "fr"], engine="deepl")
    assert config.as_scenario() == Scenario(ScenarioKind.PSEUDO_PARALLEL, ("en", "fr"), "en", "deepl")
    with pytest.raises(InvalidValueError, match="needs a target"):
        DataConfig(scenario="pseudo-parallel").as_scenario()
