"""`mlcmr translate`: translate the captions of a collection.

Each finished batch is written to a journal beside the file of translations, so that a killed command can
continue. The batches are the same each time, and so is the result.
"""

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from mlcmr.arguments import check_arguments
from mlcmr.data.captions import Captions, read_captions, write_captions
from mlcmr.data.collection import SPLITS, Collection, open_collection
from mlcmr.data.languages import language_among, translation_tag
from mlcmr.data.scenarios import human_caption_file, translation_file
from mlcmr.errors import CorruptFileError, InvalidValueError, NotFoundError, require_list
from mlcmr.files import writing
from mlcmr.paths import folder_or_id, user_path
from mlcmr.progress import SILENT, Progress
from mlcmr.text import plural
from mlcmr.translation.journal import journal_file, open_journal
from mlcmr.translation.translator import Translator


@dataclass(frozen=True, slots=True)
class TranslatedFile:
    """A file of translations.

    Attributes:
        path: The file.
        captions: The number of captions.
        blank: The number of captions with a blank translation, for which the original stands.
        is_new: Whether this call translated the captions; False if the file existed before.
    """

    path: Path
    captions: int
    blank: int = 0
    is_new: bool = True

    def __str__(self) -> str:
        if not self.is_new:
            return f"{self.path}: {plural(self.captions, 'caption')}, translated before; nothing to do"
        blank = f"; {self.blank:,} came back blank: the original stands instead" if self.blank else ""
        return f"{self.path}: {plural(self.captions, 'caption')}{blank}"


@dataclass(frozen=True, slots=True)
class TranslationSummary:
    """The summary of a translation; its text is what `mlcmr translate` prints.

    Attributes:
        files: The files of translations, one per split.
    """

    files: tuple[TranslatedFile, ...]

    def __str__(self) -> str:
        return "\n".join(map(str, self.files))

    def to_dict(self) -> dict[str, Any]:
        """Return the summary as a dictionary of plain values, for JSON."""
        return {"files": [asdict(file) | {"path": str(file.path)} for file in self.files]}


@check_arguments
def translate(
    collection: str | os.PathLike[str],
    *,
    from_: str,
    to: str,
    model: str,
    split: Sequence[str] = (),
    engine: str | None = None,
    source_code: str | None = None,
    target_code: str | None = None,
    batch_size: int = 32,
    beams: int = 4,
    longest: int = 200,
    device: str = "auto",
    progress: Progress = SILENT,
) -> TranslationSummary:
    """Translate the captions of a collection by machine.

    An interrupted translation continues with the next call. Splits that are already translated are skipped.

    Args:
        collection: The collection's folder, `<rootpath>/<collection>`.
        from_: The language to translate from.
        to: The language to translate into.
        model: A Marian, NLLB, M2M100, mBART or T5 model, by hub id or folder.
        split: The splits; by default all with captions in that language.
        engine: The name of the translations in file names, `<collection><split>_<engine>_enc2zh`; by default
            the model's name. Training and evaluation find the files by the same name.
        source_code: The model's own code for the first language, if it is not found.
        target_code: The model's own code for the second language, if it is not found.
        batch_size: The number of captions translated together.
        beams: The number of beams of the search; 1 is the fastest.
        longest: The largest number of tokens of a translation; longer translations are cut.
        device: `cpu`, `cuda` or `auto`.
        progress: Receives the progress, and a message if the model does not tell its languages.

    Returns:
        The summary.

    Raises:
        InvalidValueError: If an option is out of range, the model does not translate in this direction, or
            the translation was started with other settings.
        NotFoundError: If there are no such captions, or no such model.
        CorruptFileError: If a file holds translations of other captions.
        InUseError: If another process translates the same captions.
        OutOfResourcesError: If there is not enough memory.
    """
    require_list(split, "split")
    folder = user_path(collection).resolve()
    opened = open_collection(folder.parent, folder.name)
    known = set(chain.from_iterable(map(opened.languages, SPLITS)))
    source, target = language_among(known, from_), language_among(known, to)
    if source == target:
        raise InvalidValueError(f"`from_` {source}, `to` {target}: nothing to translate", parameter="to")
    if batch_size < 1:
        raise InvalidValueError(f"`batch_size` {batch_size}: expected 1 or more", parameter="batch_size")
    engine = _file_name_part(model) if engine is None else engine
    if not re.fullmatch(r"[\w.-]+", engine):
        raise InvalidValueError(
            f"`engine` {engine!r}: expected letters, digits, '_', '.' and '-'", parameter="engine"
        )
    sources = _caption_files(opened, source, split)
    if not sources:
        text, why = folder / "TextData", f"; {opened.renaming}" if opened.renaming else ""
        raise NotFoundError(f"{text}: no captions in '{source}'{why}", path=text)
    originals = {name: read_captions(path) for name, path in sources.items()}
    files = {name: translation_file(opened, name, source, target, engine) for name in originals}
    settings = {
        "model": folder_or_id(model),
        "source_code": source_code,
        "target_code": target_code,
        "batch_size": batch_size,
        "beams": beams,
        "longest": longest,
    }
    translator: Translator | None = None
    done = []
    for name, captions in originals.items():
        if files[name].exists():
            done.append(_existing_file(files[name], captions))
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
            if translator.note:
                progress.message(translator.note)
        tag = translation_tag(source, target)
        done.append(_translate_file(captions, files[name], tag, translator, settings, progress=progress))
    return TranslationSummary(tuple(done))


def _file_name_part(model: str) -> str:
    """Return a model's name as a part of a file name."""
    return re.sub(r"[^\w.-]", "_", Path(folder_or_id(model)).name)


def _caption_files(collection: Collection, language: str, splits: Sequence[str]) -> dict[str, Path]:
    """Return the human captions in a language by split: of the given splits, or of all that have captions."""
    files = {split: human_caption_file(collection, split, language) for split in splits or SPLITS}
    return files if splits else {split: path for split, path in files.items() if path.exists()}


def _existing_file(path: Path, captions: Captions) -> TranslatedFile:
    """Return a file of translations that exists already.

    Raises:
        CorruptFileError: If it holds translations of other captions.
    """
    translations = read_captions(path)
    if set(translations.keys) != set(captions.keys):
        raise CorruptFileError(
            f"{path}: has translations of other captions than {captions.path.name}: remove it", path=path
        )
    journal_file(path).unlink(missing_ok=True)
    return TranslatedFile(path, len(translations), is_new=False)


def _translate_file(
    captions: Captions,
    path: Path,
    tag: str,
    translator: Translator,
    settings: dict[str, Any],
    *,
    progress: Progress,
) -> TranslatedFile:
    """Translate captions into a file.

    Args:
        captions: The captions.
        path: The file of translations.
        tag: The tag of the translations, such as `enc2zh`.
        translator: The translation model.
        settings: The settings on which the translations depend.
        progress: Receives the progress.
    """
    batches = _batches(captions.texts, settings["batch_size"])
    digest = hashlib.sha256("\n".join(captions.texts).encode()).hexdigest()
    header = {**settings, "captions": digest, "direction": asdict(translator.direction)}
    with open_journal(journal_file(path), header, list(map(len, batches))) as journal:
        translation_of: dict[str, str] = {}
        for batch, texts in zip(batches, journal.finished, strict=False):
            translation_of |= zip(batch, texts, strict=True)
        total, done = sum(map(len, batches)), len(translation_of)
        with progress.task(path.name, total, done) as task:
            for batch in batches[len(journal.finished) :]:
                texts = translator(batch)
                journal.add(texts)
                translation_of |= zip(batch, texts, strict=True)
                task.advance(len(batch))
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
        with writing(journal_file(path)):
            journal_file(path).unlink()
    return TranslatedFile(path, len(captions), sum(text in blank for text in captions.texts))


def _batches(texts: Sequence[str], size: int) -> list[list[str]]:
    """Return batches of the distinct texts, the longest first, so that a lack of memory shows at once."""
    distinct = sorted({text for text in texts if text.strip()}, key=lambda text: (-len(text), text))
    return [distinct[start : start + size] for start in range(0, len(distinct), size)]
