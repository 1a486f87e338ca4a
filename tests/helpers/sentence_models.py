"""A stand-in for the library sentence-transformers, whose processors of videos need torchvision.

It has the part of the interface that mlcmr calls. It fails where the library would open a file or an address.
"""

import json
import sys
import types
import zlib
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

SIZE = 24


class SentenceTransformer(torch.nn.Module):
    """Embeds texts by their letters, and pictures by their colours; records what it embeds."""

    def __init__(self, folder, *, device, trust_remote_code, local_files_only):
        super().__init__()
        assert device == "cpu"
        assert local_files_only
        assert not trust_remote_code
        settings = json.loads((Path(folder) / "sentence_bert_config.json").read_text())
        self.kinds = set(settings["modality_config"])
        self.prompts = json.loads((Path(folder) / "config_sentence_transformers.json").read_text())["prompts"]
        self.weight = torch.nn.Parameter(load_file(Path(folder) / "model.safetensors")["weight"])
        self.tokenizer = types.SimpleNamespace(
            added_tokens_decoder={7: types.SimpleNamespace(special=True)},
            all_special_ids=[7],
            unk_token_id=None,
            convert_ids_to_tokens=lambda ids: ["<|image|>" for _ in ids],
        )
        self.seen: list[str] = []
        self.texts: list[str] = []

    @property
    def device(self):
        return self.weight.device

    def supports(self, kind):
        return kind in self.kinds

    def encode_query(self, inputs, **options):
        return self._encode([self._text(one) for one in inputs], **options)

    def encode_document(self, inputs, **options):
        return self._encode([self._picture(one, options) for one in inputs], **options)

    def _text(self, one):
        assert one.keys() == {"text"}, "a bare string may be opened as a file"
        self.texts.append(self.prompts["query"] + one["text"])
        counts = torch.zeros(SIZE)
        for pair in zip(f" {self.texts[-1]}", f"{self.texts[-1]} ", strict=True):
            counts[zlib.crc32("".join(pair).encode()) % SIZE] += 1
        return counts

    def _picture(self, one, options):
        ((kind, value),) = one.items()
        assert self.supports(kind)
        self.seen.append(kind)
        if kind == "image":
            assert isinstance(value, Image.Image)
            frames = np.asarray(value)[None]
        else:
            assert options["processing_kwargs"] == {"video": {"do_sample_frames": False}}
            times, frames = value["video_metadata"], value["array"].transpose(0, 2, 3, 1)
            assert times["frames_indices"] == list(range(len(frames)))
            assert (times["fps"], times["total_num_frames"]) == (2, len(frames))
            assert times["duration"] == len(frames) / 2
        assert frames.dtype == np.uint8
        ends = [np.asarray(Image.fromarray(frames[at]).resize((2, 2))).flatten() for at in (0, -1)]
        return torch.tensor(np.concatenate(ends) / 255 + 0.01, dtype=torch.float32)

    def _encode(
        self,
        rows,
        *,
        batch_size,
        convert_to_tensor,
        normalize_embeddings,
        show_progress_bar,
        processing_kwargs=None,
    ):
        assert convert_to_tensor
        assert normalize_embeddings
        assert not show_progress_bar
        assert batch_size >= len(rows)
        return torch.nn.functional.normalize(torch.stack(rows) @ self.weight.detach(), dim=1)


def install(monkeypatch) -> None:
    """Make `import sentence_transformers` find the stand-in."""
    module = types.ModuleType("sentence_transformers")
    module.SentenceTransformer = SentenceTransformer
    monkeypatch.setitem(sys.modules, "sentence_transformers", module)


def write_sentence_model(folder: Path, kinds=("text", "image", "video")) -> Path:
    """Write a model as the library saves it: a list of modules, the modalities, the prompts, weights."""
    folder.mkdir(parents=True)
    modules = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.base.modules.Transformer"}]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "config.json").write_text(json.dumps({"model_type": "embedding_gemma2"}))
    modalities = {"modality_config": {kind: {} for kind in kinds}}
    (folder / "sentence_bert_config.json").write_text(json.dumps(modalities))
    prompts = {"query": "task: search | query: ", "document": ""}
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": prompts}))
    torch.manual_seed(0)
    save_file({"weight": torch.randn(SIZE, SIZE)}, folder / "model.safetensors")
    return folder
