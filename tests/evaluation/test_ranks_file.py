"""ranks.npz and results.json: what is written is read back, and anything else is one clear line."""

import json
import zipfile
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from mlcmr.errors import CorruptFileError, MlcmrError, NotFoundError
from mlcmr.evaluation.intervals import compute_intervals
from mlcmr.evaluation.metrics import chance_metrics, metrics_of_ranks
from mlcmr.evaluation.ranks import compute_ranks, first_videos
from mlcmr.evaluation.ranks_file import StoredRanks, digest_ids, read_ranks, write_ranks
from mlcmr.evaluation.results import EvaluationResults
from mlcmr.evaluation.stored_results import read_results
from mlcmr.evaluation.target_results import NormalisedResults, TargetResults
from mlcmr.evaluation.text_to_text import TextToTextResults

SCHEMA = Path(__file__).parents[2] / "docs/reference/results.schema.json"
OWNERS = np.array([0, 2, 1, 2, 0, 3])


def draw_stored(seed: int = 0) -> StoredRanks:
    scores = np.random.default_rng(seed).random((6, 4))
    return StoredRanks(compute_ranks(scores, OWNERS), OWNERS, first_videos(scores))


def example_results(**others) -> TargetResults:
    ranks = draw_stored().ranks
    stated = {
        "collection": "vatex", "feature": "i3d", "split": "test", "target": "zh", "scenario": "parallel",
        "queries": 6, "videos": 4, "captions_per_video": 1.5,
        "target_only": metrics_of_ranks(ranks), "chance": chance_metrics(OWNERS, 4),
    }  # fmt: skip
    return TargetResults(**stated | others)


def test_ranks_are_read_as_they_were_written(tmp_path):
    written = {"zh": draw_stored(), "en": draw_stored(1)}
    write_ranks(tmp_path, written)
    for target, expected in written.items():
        found = read_ranks(tmp_path, target, captions=6, videos=4)
        assert found.video_of_caption.tolist() == OWNERS.tolist()
        assert found.first.tolist() == expected.first.tolist()
        for direction in ("t2v", "v2t"):
            one, other = getattr(found.ranks, direction), getattr(expected.ranks, direction)
            assert one.values.tolist() == other.values.tolist()
            assert one.relevant.tolist() == other.relevant.tolist()
            assert one.candidates == other.candidates
    with zipfile.ZipFile(tmp_path / "ranks.npz") as archive:
        assert {member.compress_type for member in archive.infolist()} == {zipfile.ZIP_STORED}


RIGHT = {"video_of_caption": OWNERS, "t2v": np.ones(6), "v2t": np.array([1, 2, 3, 4, 5, 6])}


@pytest.mark.parametrize(
    ("name", "values", "part"),
    [
        ("t2v", np.ones(5), "'zh/t2v' is not 6 numbers of type uint32"),
        ("t2v", np.ones((6, 1)), "'zh/t2v' is not 6 numbers"),
        ("t2v", np.zeros(6), "'zh/t2v' has a number that is not from 1 to 4"),
        ("t2v", np.full(6, 5), "not from 1 to 4"),
        ("v2t", np.full(6, 7), "not from 1 to 6"),
        ("v2t", np.ones(6), "'zh/v2t' does not ascend within each video"),
        ("video_of_caption", np.full(6, 4), "not from 0 to 3"),
        ("video_of_caption", OWNERS % 3, "'zh/video_of_caption' does not have all 4 videos"),
        ("v2t", None, "no 'zh/v2t'"),
        ("first", np.full(6, 4), "'zh/first' has a number that is not from 0 to 3"),
        ("first", np.zeros(5), "'zh/first' is not 6 numbers"),
    ],
)
def test_ranks_that_cannot_be(tmp_path, name, values, part):
    arrays = {key: value for key, value in (RIGHT | {name: values}).items() if value is not None}
    np.savez(tmp_path / "ranks.npz", **{f"zh/{key}": np.uint32(value) for key, value in arrays.items()})
    with pytest.raises(CorruptFileError, match=f"{part}.*; run mlcmr evaluate .* again$"):
        read_ranks(tmp_path, "zh", captions=6, videos=4)


def test_a_number_of_videos_that_memory_cannot_hold(tmp_path):
    write_ranks(tmp_path, {"zh": draw_stored()})
    with pytest.raises(CorruptFileError, match="does not have all 2,000,000,000 videos"):
        read_ranks(tmp_path, "zh", captions=6, videos=2_000_000_000)


def test_ranks_of_another_type(tmp_path):
    np.savez(tmp_path / "ranks.npz", **{f"zh/{key}": value.astype(float) for key, value in RIGHT.items()})
    with pytest.raises(CorruptFileError, match="not 6 numbers of type uint32"):
        read_ranks(tmp_path, "zh", captions=6, videos=4)


@pytest.mark.parametrize("damage", [b"", b"PK", b"x" * 1000])
def test_a_file_that_is_no_archive(tmp_path, damage):
    (tmp_path / "ranks.npz").write_bytes(damage)
    with pytest.raises(CorruptFileError, match=r"ranks\.npz: .*; run mlcmr evaluate .* again$"):
        read_ranks(tmp_path, "zh", captions=6, videos=4)


def test_a_run_without_ranks(tmp_path):
    with pytest.raises(NotFoundError, match=r"ranks\.npz: no such file; run mlcmr evaluate .* again$"):
        read_ranks(tmp_path, "zh", captions=6, videos=4)


def test_digests_tell_other_queries_apart():
    same = digest_ids(["v1#zh#0"], ["v1", "v2"])
    assert digest_ids(["v1#zh#0"], ["v1", "v2"]) == same
    assert same not in (
        digest_ids(["v1#zh#1"], ["v1", "v2"]),
        digest_ids(["v1#zh#0"], ["v2", "v1"]),
        digest_ids(["v1#zh#0", "v1"], ["v2"]),
    )


def test_results_follow_their_schema(tmp_path):
    schema = json.loads(SCHEMA.read_text())
    full = example_results(
        fused=metrics_of_ranks(draw_stored(1).ranks), fusion_weight=0.85, published=chance_metrics(OWNERS, 4),
        intervals=compute_intervals(draw_stored().ranks, OWNERS), queries_digest=digest_ids([], []), seed=3,
        run="r", trained_on="vatex", validated_on="val", versions={"numpy": "2.4.6"},
        fusion_weight_chosen_on="val",
        normalised=[
            NormalisedResults("inverted-softmax", 20.0, "val", 8, 4, metrics_of_ranks(draw_stored(2).ranks)),
            NormalisedResults("sinkhorn", 5.0, None, None, None, metrics_of_ranks(draw_stored(3).ranks)),
        ],
    )  # fmt: skip
    assert len(full.to_dict()["normalised"]) == len(full.to_dict()["uses_all_test_queries"]) == 1
    for results in (full, example_results()):
        stored = EvaluationResults([results]).to_dict()
        jsonschema.validate(stored, schema)
        assert schema["$defs"]["evaluation"]["properties"].keys() == stored["evaluations"][0].keys()
        (tmp_path / "results.json").write_text(json.dumps(stored))
        found = read_results(tmp_path)["zh"]
        assert (found.queries, found.videos, found.split) == (6, 4, "test")
        assert found.sum_recalls == results.sum_recalls
        assert found.queries_digest == results.queries_digest
    texts = TextToTextResults(("en", "zh"), (6, 6), (0, 1), 4, full.target_only, full.chance, full.intervals)
    both = EvaluationResults([full, example_results(target="en")], None, [texts]).to_dict()
    jsonschema.validate(both, schema)
    assert schema["properties"].keys() == both.keys()
    assert both["all_targets"]["worst"]["target"] in ("zh", "en")


def test_results_of_an_earlier_version_are_read(tmp_path):
    stored = EvaluationResults([example_results()]).to_dict()
    later = ("fusion_weight_chosen_on", "normalised", "uses_all_test_queries")
    for name in ("queries_digest", "intervals", *later):
        del stored["evaluations"][0][name]
    del stored["all_targets"], stored["text_to_text"]
    jsonschema.validate(stored, json.loads(SCHEMA.read_text()))
    (tmp_path / "results.json").write_text(json.dumps(stored))
    assert read_results(tmp_path)["zh"].queries_digest is None


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (None, r"no such file; run mlcmr evaluate .* first"),
        ("{", "not JSON"),
        ('{"format": 2, "evaluations": []}', "format is 2, but must be 1"),
        ('{"format": 1, "evaluations": []}', "evaluations"),
        ('{"format": 1, "evaluations": [{"target": "zh"}]}', r"evaluations\.0\.collection is missing"),
    ],
)
def test_results_that_cannot_be_read(tmp_path, content, part):
    if content is not None:
        (tmp_path / "results.json").write_text(content)
    with pytest.raises(MlcmrError, match=rf"results\.json: .*{part}"):
        read_results(tmp_path)
