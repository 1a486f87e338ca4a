"""Translates the captions of a collection: `mlcmr translate`.

Every batch that is done is written to a journal beside the file that is to be, so that a command that was
killed goes on where it was. The batches are the same each time, and so is the result.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from mlcmr.data.captions import Captions, read_captions, write_captions
from mlcmr.data.collection import SPLITS, Collection, open_collection
from mlcmr.data.languages import language_code
from mlcmr.data.scenario import human_suffix, translation_file
from mlcmr.display import many
from mlcmr.errors import UserError
from mlcmr.files import locked, writing
from mlcmr.translation.translator import Translator

Work = Callable[[str, int, int], AbstractContextManager[Callable[[int], None]]]
"""Begins work of so many items, so many done; yields what is told how many more are (`Display.work`)."""


@dataclass(frozen=True, slots=True)
class TranslatedFile:
    """A file of translations.

    Attributes:
        path: The file.
        captions: How many there are.
        blank: How many came back blank; the original stands instead.
        made: Whether it was made now, rather than found.
    """

    path: Path
    captions: int
    blank: int = 0
    made: bool = True

    def __str__(self) -> str:
        if not self.made:
            return f"{self.path}: {many(self.captions, 'caption')}, translated before; nothing to do"
        blank = f"; {self.blank:,} came back blank: the original stands instead" if self.blank else ""
        return f"{self.path}: {many(self.captions, 'caption')}{blank}"


def translate(
    collection: str | os.PathLike[str],
    *,
    source: str,
    target: str,
    model: str,
    splits: Sequence[str] = (),
    engine: str | None = None,
    source_code: str | None = None,
    target_code: str | None = None,
    batch_size: int = 32,
    beams: int = 4,
    longest: int = 200,
    device: str = "auto",
    work: Work | None = None,
) -> list[TranslatedFile]:
    """Translates captions that people wrote, into the files that training and evaluation read.

    A split whose translations are there already is left alone.

    Args:
        collection: The collection's folder.
        source: The language to translate from.
        target: The language to translate into.
        model: A translation model, by hub id or folder (see `Translator`).
        splits: The splits; all that have captions in `source` by default.
        engine: What the files' names begin with, `<collection><split>_<engine>_enc2zh`; the model's name by
            default. Training and evaluation find them by `--engine`.
        source_code: The model's own code for the source, where it cannot be found.
        target_code: The model's own code for the target.
        batch_size: How many captions are translated together.
        beams: How many partial translations are kept at each step.
        longest: Translations are cut to so many tokens.
        device: `cpu`, `cuda` or `auto`.
        work: Shows how far it is.

    Raises:
        UserError: there are no such captions or no such model; there are translations of other captions; a
            journal was begun with other settings, or another process writes it.
    """
    source, target = language_code(source), language_code(target)
    if source == target:
        raise UserError(f"--from {source} --to {target}: nothing to translate")
    if batch_size < 1:
        raise UserError(f"--batch-size {batch_size}: expected 1 or more")
    engine = _engine(model) if engine is None else engine
    if not re.fullmatch(r"[\w.-]+", engine):
        raise UserError(f"--engine {engine!r}: expected letters, digits, '_', '.' and '-'")
    folder = Path(collection).expanduser().resolve()
    opened = open_collection(folder.parent, folder.name)
    originals = {split: read_captions(path) for split, path in _files(opened, source, splits).items()}
    files = {split: translation_file(opened, split, source, target, engine) for split in originals}
    settings = {
        "model": str(Path(model).resolve()) if Path(model).is_dir() else model,
        "source_code": source_code,
        "target_code": target_code,
        "batch_size": batch_size,
        "beams": beams,
        "longest": longest,
    }
    translator: Translator | None = None
    done = []
    for split, captions in originals.items():
        if files[split].exists():
            done.append(_found(files[split], captions))
            continue
        if translator is None:
            translator = Translator(
                model,
                source,
                target,
                source_code=source_code,
                target_code=target_code,
                beams=beams,
                longest=longest,
                device=device,
            )
        tag = f"{source}c2{target}"
        done.append(_translate_file(captions, files[split], tag, translator, settings, work=work))
    return done


def _engine(model: str) -> str:
    return re.sub(r"[^\w.-]", "_", Path(model).resolve().name if Path(model).is_dir() else Path(model).name)


def _files(collection: Collection, source: str, splits: Sequence[str]) -> dict[str, Path]:
    files = {split: collection.caption_file(split, human_suffix(source)) for split in splits or SPLITS}
    if not splits:
        files = {split: path for split, path in files.items() if path.exists()}
    if not files:
        raise UserError(f"{collection.folder / 'TextData'}: no captions in '{source}'")
    return files


def _found(path: Path, captions: Captions) -> TranslatedFile:
    translations = read_captions(path)
    if set(translations.keys) != set(captions.keys):
        raise UserError(f"{path}: has translations of other captions than {captions.path.name}: remove it")
    _journal_file(path).unlink(missing_ok=True)
    return TranslatedFile(path, len(translations), made=False)


def _translate_file(
    captions: Captions,
    path: Path,
    tag: str,
    translator: Translator,
    settings: dict[str, Any],
    *,
    work: Work | None,
) -> TranslatedFile:
    batches = _batches(captions.texts, settings["batch_size"])
    digest = hashlib.sha256("\n".join(captions.texts).encode()).hexdigest()
    header = {**settings, "captions": digest, "direction": asdict(translator.direction)}
    with _open_journal(_journal_file(path), header) as journal:
        translation_of: dict[str, str] = {}
        for batch, texts in zip(batches, journal.done, strict=False):
            translation_of |= zip(batch, texts, strict=True)
        left = batches[len(journal.done) :]
        total, done = sum(map(len, batches)), len(translation_of)
        with work(path.name, total, done) if work else nullcontext(lambda _: None) as advance:
            for batch in left:
                texts = translator(batch)
                journal.add(texts)
                translation_of |= zip(batch, texts, strict=True)
                advance(len(batch))
        blank = {text for text, translation in translation_of.items() if not translation}
        translation_of |= {text: text for text in blank}
        ids = (key.rpartition("#") for key in captions.keys)
        write_captions(
            path,
            (
                (f"{video}#{tag}#{number}", translation_of.get(text, ""))
                for (video, _, number), text in zip(ids, captions.texts, strict=True)
            ),
        )
        with writing(_journal_file(path)):
            _journal_file(path).unlink()
    return TranslatedFile(path, len(captions), sum(text in blank for text in captions.texts))


def _batches(texts: Sequence[str], size: int) -> list[list[str]]:
    """Each text once, the longest first: if memory is too small, it shows at once."""
    each = sorted({text for text in texts if text.strip()}, key=lambda text: (-len(text), text))
    return [each[start : start + size] for start in range(0, len(each), size)]


# ─── the journal ─────────────────────────────────────────────────────────────────────────────────────────


def _journal_file(path: Path) -> Path:
    return path.with_name(f".{path.name}.journal")


class _Journal:
    """The translations so far: a line of settings, then a line per batch.

    Attributes:
        done: The batches that were translated before, in order.
    """

    def __init__(self, path: Path, file: IO[bytes], header: dict[str, Any]) -> None:
        self._path = path
        self._file = file
        file.seek(0)
        lines = file.read().split(b"\n")
        # What follows the last line end was being written when the process was killed.
        file.truncate(sum(len(line) + 1 for line in lines[:-1]))
        if lines[:-1] and (different := _different(json.loads(lines[0]), header)):
            raise UserError(
                f"{path}: was begun with other settings ({different}): use those, or remove it to begin anew"
            )
        self.done: list[list[str]] = [json.loads(line) for line in lines[1:-1]]
        if not lines[:-1]:
            self.add(header)

    def add(self, content: Any) -> None:
        """Adds a line that outlives whatever happens next."""
        with writing(self._path):
            self._file.write(json.dumps(content, ensure_ascii=False).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())


@contextmanager
def _open_journal(path: Path, header: dict[str, Any]) -> Iterator[_Journal]:
    """Opens a journal, and keeps other processes out of it meanwhile."""
    with locked(path, f"{path}: another process translates this; wait until it is done") as file:
        try:
            with writing(path):
                journal = _Journal(path, file, header)
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}: damaged: remove it to begin anew") from error
        yield journal


def _different(before: dict[str, Any], now: dict[str, Any]) -> str:
    names = [name for name in now if before.get(name) != now[name]]
    return ", ".join(f"{name}: {before.get(name)}, now {now[name]}" for name in names)
