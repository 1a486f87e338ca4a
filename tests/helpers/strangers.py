"""Model folders that a stranger may have made."""

import json
import zipfile
from pathlib import Path

_CODE = """
import pathlib
pathlib.Path({marker!r}).touch()
from transformers import BertConfig, BertModel, BertTokenizer
class Config(BertConfig):
    model_type = "stranger"
class Model(BertModel):
    config_class = Config
class Tokenizer(BertTokenizer):
    pass
class Processor:
    @classmethod
    def from_pretrained(cls, *_, **__):
        return cls()
"""
_CLASSES = {
    "AutoConfig": "code.Config",
    "AutoModel": "code.Model",
    "AutoModelForSeq2SeqLM": "code.Model",
    "AutoTokenizer": ["code.Tokenizer", None],
    "AutoImageProcessor": "code.Processor",
}


def add_code(folder: Path, marker: Path, *, known_type: bool = False) -> Path:
    """Let the files of a model folder, made if it is not there, ask for Python code that writes `marker`.

    Args:
        folder: The folder.
        marker: The file that shows that the code ran.
        known_type: Keep the type of the model, so that the library has code of its own for it.
    """
    folder.mkdir(exist_ok=True, parents=True)
    (folder / "code.py").write_text(_CODE.format(marker=str(marker)), encoding="utf-8")
    for name in ("config.json", "tokenizer_config.json", "preprocessor_config.json"):
        path = folder / name
        content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        content["auto_map"] = _CLASSES
        if not known_type:
            content["model_type"] = "stranger"
            content.pop("architectures", None)
            content["tokenizer_class"] = "Tokenizer"
            content["image_processor_type"] = "Processor"
        path.write_text(json.dumps(content), encoding="utf-8")
    return folder


def compress(archive: Path) -> None:
    """Compress what PyTorch has stored in a file: it becomes larger when it is read."""
    with zipfile.ZipFile(archive) as stored:
        members = {name: stored.read(name) for name in stored.namelist()}
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as compressed:
        for name, content in members.items():
            compressed.writestr(name, content)


def edit_json(path: Path, **changes: object) -> None:
    """Set values in a JSON file; None takes one away."""
    content = json.loads(path.read_text(encoding="utf-8")) | changes
    path.write_text(json.dumps({key: one for key, one in content.items() if one is not None}))
