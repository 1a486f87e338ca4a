"""Files of a reader of the documentation: models under their hub ids, collections, tables, clips.

The models lie in the hub's cache: tiny ones of the real classes, with the files that the real ones have.
"""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
from tokenizers import BertWordPieceTokenizer
from transformers import BertConfig, BertModel, BertTokenizerFast, SiglipConfig, SiglipModel
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from mlcmr.search.default_model import DEFAULT_MODEL  # noqa: E402
from tests.helpers.models import CORPUS, TEXT, VISION, write_clip  # noqa: E402
from tests.helpers.tiny import COLLECTION, FEATURE, write_collection  # noqa: E402
from tests.helpers.translators import make, pieces  # noqa: E402


def write_models(home: Path) -> None:
    """Write tiny models into the hub's cache, under the names that the documentation uses."""
    write_clip(cached(home, "openai/clip-vit-base-patch16"))
    write_siglip(cached(home, DEFAULT_MODEL))
    write_bert(cached(home, "bert-base-multilingual-cased"))
    write_bert(cached(home, "xlm-roberta-base"))
    nllb = cached(home, "facebook/nllb-200-distilled-600M")
    nllb.rmdir()
    make("nllb", nllb)


def cached(home: Path, name: str) -> Path:
    """Make the folder of a model in the hub's cache."""
    model = home / ".cache/huggingface/hub" / f"models--{name.replace('/', '--')}"
    (model / "refs").mkdir(parents=True)
    (model / "refs/main").write_text("0" * 40)
    snapshot = model / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    return snapshot


def write_siglip(folder: Path) -> None:
    """Write a SigLIP whose vocabulary is a SentencePiece model without `tokenizer.json`, as published."""
    pieces(folder / "spiece.model", pad_id=-1, bos_id=-1, eos_id=1, unk_id=2)
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "SiglipTokenizer", "model_max_length": 16, "pad_token": "</s>"})
    )
    text = {**TEXT, "vocab_size": 200, "max_position_embeddings": 16, "projection_size": 32}
    SiglipModel(SiglipConfig(text_config=text, vision_config=VISION)).save_pretrained(folder)
    SiglipImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)


def write_bert(folder: Path) -> None:
    """Write a BERT of two layers that reads characters."""
    backend = BertWordPieceTokenizer(lowercase=False)
    backend.train_from_iterator(CORPUS, vocab_size=400, show_progress=False)
    BertTokenizerFast(tokenizer_object=backend._tokenizer).save_pretrained(folder)
    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 8, "num_attention_heads": 4}
    BertModel(BertConfig(vocab_size=backend.get_vocab_size(), **size)).save_pretrained(folder)


def write_collections(home: Path) -> None:
    """Write tiny collections in the place of the published ones."""
    collections = {"VisualSearch/vatex": "i3d_kinetics", "elsewhere/other": "i3d_kinetics"}
    collections["VisualSearch/msrvtt10k"] = "resnext101-resnet152"
    for path, feature in collections.items():
        folder = home / path
        folder.parent.mkdir(parents=True, exist_ok=True)
        write_collection(folder.parent).rename(folder)
        (folder / "FeatureData" / FEATURE).rename(folder / "FeatureData" / feature)
        for file in list((folder / "TextData").iterdir()):
            german = file.name.replace("_zh.", "_de.")
            if german != file.name:
                text = file.read_text().replace("#zh#", "#de#")
                file.with_name(german.replace(COLLECTION, folder.name, 1)).write_text(text)
            file.rename(file.with_name(file.name.replace(COLLECTION, folder.name, 1)))


def write_1ka(folder: Path) -> None:
    """Write MSR-VTT's annotations in one file, and the lists of its 1k-A protocol."""
    sentences = [{"video_id": f"video{i}", "caption": f"a man {n}"} for i in range(10) for n in range(2)]
    videos = [{"video_id": f"video{i}", "split": "train"} for i in range(10)]
    (folder / "MSRVTT_data.json").write_text(json.dumps({"videos": videos, "sentences": sentences}))
    (folder / "MSRVTT_train.9k.csv").write_text(
        "\n".join(["video_id", *(f"video{i}" for i in range(7))]) + "\n"
    )
    rows = [f"ret{i},msr{i},video{i},a man {i % 2}" for i in range(7, 10)]
    (folder / "MSRVTT_JSFUSION_test.csv").write_text(
        "\n".join(["key,vid_key,video_id,sentence", *rows]) + "\n"
    )


def write_page_folder(folder: Path, home: Path) -> None:
    """Write the files that the commands of a page name: recipes, tables, arrays, a clip."""
    folder.mkdir()
    shutil.copytree(ROOT / "configs", folder / "configs")
    shutil.copy(ROOT / "do_all.sh", folder)
    clips = sorted(path.stem for path in (home / "Videos").glob("*.mp4"))
    texts = {"en": "A shape {} moves {}.", "zh": "图形{}移动{}。"}
    rows = ["video,language,text"]
    for i, clip in enumerate(clips):
        rows += [f"{clip},{code},{text.format(i, n)}" for n in range(2) for code, text in texts.items()]
    (folder / "captions.csv").write_text("\n".join(rows) + "\n")
    (folder / "arrays").mkdir()
    for clip in clips:
        np.save(folder / "arrays" / f"{clip}.npy", np.random.default_rng(0).random((4, 16), np.float32))
    vatex = [
        {"videoID": f"{i:011d}_000000_000010", "enCap": ["A man."], "chCap": ["男人。"]} for i in range(20)
    ]
    (folder / "vatex_training_v1.0.json").write_text(json.dumps(vatex[:15]))
    (folder / "vatex_validation_v1.0.json").write_text(json.dumps(vatex[15:]))
    for name, first, split in (("train_val", 0, "train"), ("test", 10, "test")):
        ids = [f"video{i}" for i in range(first, first + 10)]
        splits = [split] * 8 + ["validate" if split == "train" else "test"] * 2
        content = {
            "videos": [{"video_id": video, "split": split} for video, split in zip(ids, splits, strict=True)],
            "sentences": [{"video_id": video, "caption": "a man"} for video in ids],
        }
        (folder / f"{name}_videodatainfo.json").write_text(json.dumps(content))
    write_1ka(folder)
    shutil.copy(next((home / "Videos").glob("*.mp4")), folder / "clip.mp4")


def copy_tutorial(tutorial: Path, folder: Path) -> None:
    """Copy the run and the index of the tutorial into the folder of another page."""
    (folder / "runs").mkdir()
    shutil.copytree(tutorial / "runs/sample-parallel", folder / "runs/sample-parallel")
    shutil.copytree(tutorial / "index", folder / "films")


def copy_collections(readme: Path, folder: Path) -> None:
    """Copy the collection that the page `readme` makes into the folder of another page, under two names."""
    made = readme / "VisualSearch/mine"
    for name in ("mine", "few"):
        collection = folder / "VisualSearch" / name
        for part in ("FeatureData/clip-vit-base-patch16", "TextData"):
            shutil.copytree(made / part, collection / part)
