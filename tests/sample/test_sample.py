"""The sample collection: what is drawn, what is said of it, and the files."""

import itertools
import re
import subprocess
import sys
from collections import Counter
from dataclasses import astuple, replace
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlcmr.data.captions import read_captions
from mlcmr.data.collection import Collection, open_collection
from mlcmr.errors import CorruptFileError, InvalidValueError, MlcmrError, OutOfResourcesError
from mlcmr.extraction.encoders.histogram import DIMENSION, compute_histograms
from mlcmr.sample import (
    SampleSettings,
    SampleSummary,
    chinese,
    english,
    german,
    machine,
    make_sample,
    spanish,
)
from mlcmr.sample import make as making
from mlcmr.sample.caption_plan import FORMS, CaptionPlan, plan_captions
from mlcmr.sample.draw import FRAMES, SIDE, draw
from mlcmr.sample.video import FPS, read_video, write_video
from mlcmr.sample.world import (
    ALONE,
    COLOURS,
    GROUNDS,
    OF_TWO,
    RESIZING,
    SHAPES,
    SIZES,
    Scene,
    Thing,
    is_possible,
    near_duplicates,
)
from tests.helpers.progress import RecordedProgress

VIDEOS = 20
DRAWN = settings(max_examples=8)
TOLD = settings(max_examples=100)
TRAIN, VAL, TEST = 14, 2, 4
HUMAN = {"": "enc", "_zh": "zh", "_de": "de", "_es": "es"}
MACHINE = {"_google_enc2zh": "enc2zh", "_google_zhc2en": "zhc2en"}


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> SampleSummary:
    return make_sample(tmp_path_factory.mktemp("root"), videos=VIDEOS)


@pytest.fixture(scope="module")
def collection(summary: SampleSummary) -> Collection:
    return open_collection(summary.folder.parent, "sample")


@st.composite
def scenes(draw: st.DrawFn, **fixed: object) -> Scene:
    action = draw(st.sampled_from(ALONE + OF_TWO))
    thing = st.builds(
        Thing,
        fixed.get("shape", st.sampled_from(SHAPES)),
        st.sampled_from(COLOURS),
        st.none() if action in RESIZING else st.sampled_from(SIZES),
    )
    things = draw(st.lists(thing, min_size=1 + (action in OF_TWO), max_size=1 + (action in OF_TWO)))
    scene = Scene(action, tuple(things), draw(st.sampled_from(GROUNDS)))
    return scene if is_possible(scene) else Scene("rest", scene.things[:1], scene.ground)


@st.composite
def told(draw: st.DrawFn, **fixed: object) -> CaptionPlan:
    planned = plan_captions(draw(scenes(**fixed)), len(FORMS), str(draw(st.integers(0, 999))))
    return draw(st.sampled_from(planned))


# ─── files ───────────────────────────────────────────────────────────────────────────────────────────────


def test_layout_is_complete_and_consistent(summary, collection):
    features = collection.open_features(summary.feature)
    assert set(features.videos) == {path.stem for path in (summary.folder / "VideoData").glob("*.mp4")}
    assert summary.videos == {"train": TRAIN, "val": VAL, "test": TEST}
    assert sum(summary.videos.values()) == len(features) == VIDEOS
    assert features.dimension == summary.dimension == DIMENSION
    assert summary.feature == f"hues{DIMENSION}"
    seen = set()
    for split, count in summary.videos.items():
        english_captions = read_captions(collection.caption_file(split))
        assert len(set(english_captions.videos)) == count
        assert seen.isdisjoint(english_captions.videos)
        seen.update(english_captions.videos)
        for suffix, tag in (HUMAN | MACHINE).items():
            captions = read_captions(collection.caption_file(split, suffix))
            assert captions.keys == english_captions.keys
            assert {caption_id.split("#")[1] for caption_id in captions.ids} == {tag}
            assert summary.captions[captions.path.name] == len(captions) == 5 * count
            assert all(text.strip() for text in captions.texts)
            assert all(video in features and len(features[video]) == FRAMES for video in captions.videos)
    on_disk = {path.name for path in (summary.folder / "TextData").iterdir()}
    assert on_disk == set(summary.captions)


def test_half_has_each_video_in_one_language(collection):
    half = read_captions(collection.caption_file("train", "_half"))
    languages = {video: set() for video in half.videos}
    for video, language in zip(half.videos, half.languages, strict=True):
        languages[video].add(language)
    assert Counter(map(tuple, languages.values())) == {("en",): TRAIN / 2, ("zh",): TRAIN / 2}
    whole = {
        caption_id: text
        for suffix in ("", "_zh")
        for captions in [read_captions(collection.caption_file("train", suffix))]
        for caption_id, text in zip(captions.ids, captions.texts, strict=True)
    }
    assert all(whole[caption_id] == text for caption_id, text in zip(half.ids, half.texts, strict=True))


def test_clips_decode_and_features_are_those_of_their_pixels(summary, collection):
    features = collection.open_features(summary.feature)
    for video in features.videos[:5]:
        frames = read_video(summary.folder / "VideoData" / f"{video}.mp4")
        assert frames.shape == (FRAMES, SIDE, SIDE, 3)
        np.testing.assert_array_equal(features[video], compute_histograms(frames))
    everything = features.matrix
    assert np.isfinite(everything).all()
    assert np.abs(everything).max() < 10


def test_the_same_seed_makes_the_same_bytes_whatever_the_workers(summary, tmp_path):
    again = make_sample(tmp_path, videos=VIDEOS, workers=1)
    for path in sorted(summary.folder.rglob("*")):
        if path.is_file() and not path.name.endswith(".cache.npz"):
            assert (again.folder / path.relative_to(summary.folder)).read_bytes() == path.read_bytes(), path


@pytest.mark.parametrize("codecs", [{"libx264", "mpeg4"}, {"mpeg4"}])
def test_a_video_is_encoded_the_same_each_time(tmp_path, monkeypatch, codecs):
    monkeypatch.setattr(av, "codecs_available", codecs & av.codecs_available)
    path = tmp_path / "clip.mp4"
    for scene in itertools.chain(*itertools.islice(near_duplicates(3), 2)):
        frames = draw(scene, "any")
        written = set()
        for _ in range(6):
            write_video(path, frames)
            written.add(path.read_bytes())
        assert len(written) == 1
        assert np.abs(read_video(path).astype(int) - frames).mean() < 4
        with av.open(str(path)) as container:
            assert container.streams.video[0].average_rate == FPS


def test_another_seed_makes_another_world():
    first, second = (making.plan_clips(SampleSettings(videos=200, seed=seed)) for seed in (0, 1))
    assert {clip.scene for clip in first} != {clip.scene for clip in second}


def test_progress_counts_the_videos(tmp_path):
    progress = RecordedProgress()
    make_sample(tmp_path, videos=VIDEOS, captions=1, progress=progress)
    assert progress.changes == [("drawing", done, VIDEOS) for done in range(1, VIDEOS + 1)]


def test_a_finished_sample_is_left_alone(summary):
    before = {path: path.stat().st_mtime_ns for path in summary.folder.rglob("*")}
    found = make_sample(summary.folder.parent, videos=VIDEOS)
    assert not found.made
    assert (found.videos, found.captions) == (summary.videos, summary.captions)
    assert {path: path.stat().st_mtime_ns for path in summary.folder.rglob("*")} == before
    assert "nothing to do" in str(found)


def test_other_settings_are_refused(summary):
    with pytest.raises(
        InvalidValueError, match="made with other settings, videos 20, captions 5, seed 0; remove it"
    ):
        make_sample(summary.folder.parent, videos=VIDEOS, seed=1)


def test_a_damaged_sample_is_refused(tmp_path):
    folder = make_sample(tmp_path, videos=VIDEOS, captions=1).folder
    with (folder / "TextData" / "sampleval.caption.txt").open("a") as file:
        file.write("x")
    with pytest.raises(CorruptFileError, match=r"TextData/sampleval\.caption\.txt is missing or damaged"):
        make_sample(tmp_path, videos=VIDEOS, captions=1)


@pytest.mark.parametrize(
    "manifest", [None, "", "[]", '{"settings": {"videos": 3}}', '{"settings": {"a": 1}}']
)
def test_a_folder_that_is_no_sample_is_refused_and_kept(tmp_path, manifest):
    (tmp_path / "sample").mkdir()
    (tmp_path / "sample" / "mine.txt").write_text("mine")
    if manifest is not None:
        (tmp_path / "sample" / "manifest.json").write_text(manifest)
    with pytest.raises(InvalidValueError, match="exists already and is not a sample; remove it"):
        make_sample(tmp_path, videos=VIDEOS)
    assert (tmp_path / "sample" / "mine.txt").read_text() == "mine"


def test_a_file_in_the_way_is_refused(tmp_path):
    (tmp_path / "sample").write_text("")
    with pytest.raises(InvalidValueError, match="exists already"):
        make_sample(tmp_path, videos=VIDEOS)
    with pytest.raises(MlcmrError, match="cannot be written"):
        make_sample(tmp_path / "sample" / "below", videos=VIDEOS)


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "sample").mkdir()
    assert make_sample(tmp_path, videos=VIDEOS, captions=1).made


def test_an_interrupted_sample_does_not_look_complete_and_can_be_made_again(tmp_path, monkeypatch):
    drawn = itertools.count()

    def fails(path: Path, frames: np.ndarray) -> None:
        if next(drawn) == 7:
            raise OSError(28, "No space left on device")
        write_video(path, frames)

    with monkeypatch.context() as patch:
        patch.setattr(making, "write_video", fails)
        with pytest.raises(OutOfResourcesError, match="No space left on device"):
            make_sample(tmp_path, videos=VIDEOS, captions=1)
    assert not list(tmp_path.iterdir())
    assert make_sample(tmp_path, videos=VIDEOS, captions=1).made
    assert [path.name for path in tmp_path.iterdir()] == ["sample"]


def test_two_at_a_time_leave_each_other_alone(tmp_path, monkeypatch):
    def fails(path: Path, frames: np.ndarray) -> None:
        raise OSError(28, "No space left on device")

    def meanwhile(path: Path, frames: np.ndarray) -> None:
        monkeypatch.setattr(making, "write_video", fails)
        with pytest.raises(OutOfResourcesError, match="No space left on device"):
            make_sample(tmp_path, videos=VIDEOS, captions=1)
        monkeypatch.setattr(making, "write_video", write_video)
        write_video(path, frames)

    monkeypatch.setattr(making, "write_video", meanwhile)
    assert make_sample(tmp_path, videos=VIDEOS, captions=1, workers=1).made
    assert not make_sample(tmp_path, videos=VIDEOS, captions=1).made  # it is whole
    assert [path.name for path in tmp_path.iterdir()] == ["sample"]


@pytest.mark.parametrize("wrong", [{"videos": 21}, {"videos": 0}, {"videos": 10**6}, {"captions": 0}])
def test_numbers_out_of_range_are_refused(tmp_path, wrong):
    with pytest.raises(InvalidValueError, match="expected"):
        make_sample(tmp_path, **{"videos": VIDEOS, **wrong})
    assert not list(tmp_path.iterdir())


def test_without_pyav_the_user_is_told_what_to_install():
    code = "import sys; sys.modules['av'] = None\nimport mlcmr.sample"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == (
        "mlcmr.errors.MissingDependencyError: videos need PyAV: pip install 'mlcmr[video]'"
    )


# ─── the world ───────────────────────────────────────────────────────────────────────────────────────────


def attributes(scene: Scene) -> list[object]:
    return [scene.action, scene.ground, *itertools.chain(*map(astuple, scene.things))]


def test_descriptions_are_unique_and_near_duplicates_differ_in_one_attribute():
    clips = making.plan_clips(SampleSettings())
    assert len({clip.scene.description for clip in clips}) == len(clips) == 2000
    assert Counter(clip.split for clip in clips) == {"train": 1400, "val": 200, "test": 400}
    changed = Counter()
    for first, second in zip(clips[::2], clips[1::2], strict=True):
        assert first.split == second.split
        pairs = zip(attributes(first.scene), attributes(second.scene), strict=True)
        (difference,) = [(one, other) for one, other in pairs if one != other]
        changed.update(next(name for name, values in FAMILIES.items() if difference[0] in values).split())
    assert set(changed) == set(FAMILIES)
    assert {clip.scene.action for clip in clips} == set(ALONE + OF_TWO)


FAMILIES = {"action": ALONE + OF_TWO, "shape": SHAPES, "colour": COLOURS, "size": SIZES}


def salient(frames: np.ndarray) -> list[np.ndarray]:
    """The pixels of each frame that stand out: (n, 2), x and y."""
    ground = np.median(frames.reshape(len(frames), -1, 3), axis=1)[:, None, None]
    return [np.argwhere(out)[:, ::-1] for out in np.abs(frames - ground).max(-1) > 40]


def only(frames: np.ndarray, channel: int) -> list[np.ndarray]:
    """The pixels of each frame that are mostly of one channel."""
    others = np.delete(frames.astype(int), channel, axis=3).max(-1)
    return [np.argwhere(out)[:, ::-1] for out in frames[..., channel].astype(int) - others > 60]


@DRAWN
@given(kind=st.sampled_from(SHAPES), seed=st.integers(0, 99), size=st.sampled_from(SIZES))
def test_what_moves_moves_where_it_is_said_to(kind, seed, size):
    for action, (axis, sign) in {"left": (0, -1), "right": (0, 1), "up": (1, -1), "down": (1, 1)}.items():
        path = salient(draw(Scene(action, (Thing(kind, "red", size),), "light"), str(seed)))
        centres = np.array([points.mean(0) for points in (path[1], path[-2])])
        moved = centres[1] - centres[0]
        assert sign * moved[axis] > 30
        assert abs(moved[1 - axis]) < 3


@DRAWN
@given(kind=st.sampled_from(SHAPES), seed=st.integers(0, 99))
def test_what_is_big_grows_or_blinks_does_so(kind, seed):
    def areas(action: str, size: str | None) -> list[int]:
        return [
            len(points)
            for points in salient(draw(Scene(action, (Thing(kind, "blue", size),), "dark"), str(seed)))
        ]

    assert np.mean(areas("rest", "big")) > 2 * np.mean(areas("rest", "small"))
    growing, shrinking = areas("grow", None), areas("shrink", None)
    assert growing[-1] > 3 * growing[0]
    assert shrinking[0] > 3 * shrinking[-1]
    assert 0 < sum(area == 0 for area in areas("blink", "big")) < FRAMES


@DRAWN
@given(
    kinds=st.tuples(*2 * [st.sampled_from(SHAPES)]),
    sizes=st.tuples(*2 * [st.sampled_from(SIZES)]),
    seed=st.integers(0, 99),
)
def test_two_things_are_where_they_are_said_to_be(kinds, sizes, seed):
    def centres(action: str) -> np.ndarray:
        """FRAMES × (first, second) × (x, y)."""
        things = Thing(kinds[0], "red", sizes[0]), Thing(kinds[1], "blue", sizes[1])
        frames = draw(Scene(action, things, "light"), str(seed))
        return np.array(
            [[p.mean(0) for p in both] for both in zip(only(frames, 0), only(frames, 2), strict=True)]
        )

    above, left_of = centres("above"), centres("left_of")
    assert (above[:, 0, 1] < above[:, 1, 1] - 10).all()
    assert (left_of[:, 0, 0] < left_of[:, 1, 0] - 10).all()
    followed = centres("follow_right"), centres("follow_left")
    assert (followed[0][:, 0, 0] < followed[0][:, 1, 0]).all()
    assert (followed[1][:, 0, 0] > followed[1][:, 1, 0]).all()
    passing = np.subtract(*centres("pass_right").swapaxes(0, 1))[:, 0]
    assert passing[0] < -8
    assert passing[-1] > 8
    distance = {
        action: np.linalg.norm(np.subtract(*centres(action).swapaxes(0, 1)), axis=1)
        for action in ("approach", "leave")
    }
    assert distance["approach"][0] > distance["approach"][-1] + 20
    assert distance["leave"][-1] > distance["leave"][0] + 20


# ─── the captions ────────────────────────────────────────────────────────────────────────────────────────


def stems(module: object, thing: Thing) -> tuple[list[str], list[str]]:
    """Return the stems for the kind and for the colour; a caption must have one of each, inflected or not."""
    nouns = [getattr(noun, "word", noun).lower() for noun in module.NOUNS[thing.shape]]
    return nouns, [
        word.removesuffix("o") if module is spanish else word for word in module.COLOURS[thing.colour]
    ]


@TOLD
@given(told())
def test_every_caption_names_each_kind_and_colour(plan):
    for module in (english, chinese, german, spanish):
        caption = module.write_caption(plan).lower()
        for thing in plan.scene.things:
            for words in stems(module, thing):
                assert any(word in caption for word in words), (caption, words)


@TOLD
@given(told())
def test_captions_are_sentences(plan):
    for module in (english, german, spanish):
        caption = module.write_caption(plan)
        assert re.fullmatch(r"[A-ZÁÉÍÓÚ][^.{}/]*[^ .]\.", caption), caption
        assert "  " not in caption
    assert re.fullmatch(r"[\u4e00-\u9fff，]+。", chinese.write_caption(plan))


@TOLD
@given(told())
def test_the_same_telling_is_told_the_same(plan):
    again = replace(plan)
    for module in (english, chinese, german, spanish):
        assert module.write_caption(plan) == module.write_caption(again)


@TOLD
@given(told())
def test_sizes_are_told_where_they_are_to_be(plan):
    sizes = {thing.size for thing in plan.scene.things} - {None}
    words = set(re.findall(r"\w+", english.write_caption(plan)))
    for size in sizes:
        compared = {"bigger", "smaller"} if plan.form == "facts" else set()
        assert words & (
            set(english.SIZES[size]) | compared | {word.capitalize() for word in english.SIZES[size]}
        )
    if not sizes and plan.scene.action not in RESIZING:
        assert not words & {"small", "little", "big", "large", "Small", "Little", "Big", "Large"}


@TOLD
@given(told())
def test_english_articles_fit(plan):
    for article, word in re.findall(r"\b(an?) (\w)", english.write_caption(plan), re.IGNORECASE):
        assert (article.lower() == "an") == (word in "aeiou")


GERMAN_ENDINGS = {  # after which article, for which genders, adjectives end how
    "ein": ({"m": "er", "n": "es"}),
    "eine": ({"f": "e"}),
    "einen": ({"m": "en"}),
    "einem": ({"m": "en", "n": "en"}),
    "einer": ({"f": "en"}),
}


@TOLD
@given(told())
def test_german_agrees(plan):
    gender = {
        noun.in_case(case): noun.gender
        for nouns in german.NOUNS.values()
        for noun in nouns
        for case in ("nominative", "dative")
    }
    pattern = rf"\b(ein\w*) ((?:\w+ ){{1,2}})({'|'.join(gender)})\b"
    caption = german.write_caption(plan)
    found = re.findall(pattern, caption, re.IGNORECASE)
    assert len(found) == {"title": 0, "facts": 2 if len(plan.scene.things) == 2 else 0}.get(
        plan.form, len(plan.scene.things)
    )
    for article, adjectives, noun in found:
        ending = GERMAN_ENDINGS[article.lower()][gender[noun]]
        for adjective in adjectives.split():
            assert adjective in {"lila", "rosa"} or adjective.endswith(ending), caption
    for noun, pronoun in re.findall(r"(\w+), (der|die|das) ", caption):
        assert {"m": "der", "f": "die", "n": "das"}[gender[noun]] == pronoun


@TOLD
@given(st.data(), st.sampled_from(["m", "f"]))
def test_spanish_agrees(data, gender):
    kinds = [kind for kind, nouns in spanish.NOUNS.items() if {noun.gender for noun in nouns} == {gender}]
    caption = spanish.write_caption(data.draw(told(shape=st.sampled_from(kinds))))
    caption = re.sub(r"el vídeo|un fondo \w+|de un lado a otro|hacia la|a la|de tamaño", "", caption.lower())
    masculine = {
        "un",
        "el",
        "rojo",
        "anaranjado",
        "amarillo",
        "morado",
        "rosado",
        "pequeño",
        "quieto",
        "ambos",
    }
    feminine = {
        "una",
        "la",
        "roja",
        "anaranjada",
        "amarilla",
        "morada",
        "rosada",
        "pequeña",
        "quieta",
        "ambas",
    }
    assert not set(re.findall(r"\w+", caption)) & (masculine if gender == "f" else feminine), caption


def test_captions_of_a_video_differ():
    for clip in making.plan_clips(SampleSettings(videos=200)):
        for module in (english, chinese, german, spanish):
            assert len({module.write_caption(plan) for plan in clip.plans}) == 5


@TOLD
@given(told())
def test_machine_translation_leaves_nothing_untranslated(plan):
    to_chinese = machine.english_to_chinese(english.write_caption(plan))
    to_english = machine.chinese_to_english(chinese.write_caption(plan))
    assert re.fullmatch(r"[\u4e00-\u9fff，；。]+", to_chinese)
    assert re.fullmatch(r"[A-Za-z ,.]+", to_english)
    assert machine.english_to_chinese(english.write_caption(plan)) == to_chinese
    left_over = re.sub(machine._CHINESE_PHRASE, "", chinese.write_caption(plan))
    assert not left_over
    assert not re.sub(machine._ENGLISH_PHRASE, "", english.write_caption(plan).lower()).strip()
