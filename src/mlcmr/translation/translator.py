"""Translation models: texts in one language into texts in another."""

import copy
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from transformers import AutoModelForSeq2SeqLM

from mlcmr.errors import CorruptFileError, InvalidValueError, MissingDependencyError, no_panic, reason
from mlcmr.model.device import enough_memory, on_device
from mlcmr.model.encoders.tokens import break_names, special_names
from mlcmr.model.foreign import open_config, open_foreign_model, open_foreign_tokenizer, read_shapes
from mlcmr.model.hf_errors import opening
from mlcmr.model.hub import find_model
from mlcmr.translation.language_codes import FAMILIES, Direction, find_direction, require_direction

_UNLIMITED = 1_000_000  # tokenizers without a limit hold a very large number


class Translator:
    """A Hugging Face translation model: Marian, NLLB, M2M100, mBART or T5.

    The search uses beams and no sampling: the same batch gives the same translations.

    Args:
        model: Hub id or folder.
        source: ISO 639 code of the language to translate from.
        target: ISO 639 code of the language to translate into.
        source_code: The model's own code for the source language, if it is not found.
        target_code: The model's own code for the target language, if it is not found.
        beams: The number of beams of the search; 1 is the fastest.
        longest: The largest number of tokens of a translation; longer translations are cut.
        device: `cpu`, `cuda` or `auto`.

    Attributes:
        direction: The model's settings for the two languages.
        note: A note for the user, if the model's files do not tell its languages.

    Raises:
        InvalidValueError: If an option is out of range, the model is of another family, was trained for
            another direction or has no code for a language, or the device does not exist.
        MlcmrError: If there is no such model, or the hub cannot be reached.
        MissingDependencyError: If the tokenizer needs a package that is not installed.
    """

    def __init__(
        self,
        model: str,
        source: str,
        target: str,
        *,
        source_code: str | None = None,
        target_code: str | None = None,
        beams: int = 4,
        longest: int = 200,
        device: str = "auto",
    ) -> None:
        for parameter, number in (("beams", beams), ("longest", longest)):
            if number < 1:
                raise InvalidValueError(f"`{parameter}` {number}: expected 1 or more", parameter=parameter)
        model = find_model(model, "model")
        with _opening_translation_model(model):
            config = open_config(model, read_shapes(model))
            self._tokenizer = open_foreign_tokenizer(model)
        family = config.model_type
        if family not in FAMILIES:
            raise InvalidValueError(
                f"model '{model}' is of type '{family}', expected {', '.join(FAMILIES.values())}",
                parameter="model",
            )
        self.direction: Direction = find_direction(
            family, self._tokenizer, source, target, source_code=source_code, target_code=target_code
        )
        self.note = require_direction(
            model, self._tokenizer, family, self.direction, source=source, target=target
        )
        with _opening_translation_model(model):
            opened, missing = open_foreign_model(model, AutoModelForSeq2SeqLM, config)
            self._model: Any = opened.eval()
        if missing:
            raise CorruptFileError(f"model '{model}': weights are missing, such as {min(missing)}")
        self._special_names = special_names(self._tokenizer)
        if self.direction.source_code is not None:
            self._tokenizer.src_lang = self.direction.source_code
        positions = getattr(self._model.config, "max_position_embeddings", _UNLIMITED)
        self._longest_text = min(self._tokenizer.model_max_length, positions)
        self._generation = self._generation_config(beams, min(longest, positions - 2))
        self._model = on_device(self._model, device)
        self._device: torch.device = self._model.device

    def __call__(self, texts: Sequence[str]) -> list[str]:
        """Translate a batch of texts.

        Raises:
            OutOfResourcesError: If there is not enough memory.
        """
        given = [f"{self.direction.prefix}{break_names(text, self._special_names)}" for text in texts]
        failure = f"'{self._tokenizer.name_or_path}': its tokenizer cannot read a text"
        with enough_memory(self._device, "choose a smaller `batch_size`"), no_panic(failure):
            inputs = self._tokenizer(
                given,
                padding=True,
                truncation=self._longest_text < _UNLIMITED,
                max_length=self._longest_text if self._longest_text < _UNLIMITED else None,
                return_tensors="pt",
            ).to(self._device)
            with torch.inference_mode():
                tokens = self._model.generate(
                    input_ids=inputs["input_ids"],
                    attention_mask=inputs["attention_mask"],
                    generation_config=self._generation,
                )
        first = self._generation.forced_bos_token_id  # not a special token for every tokenizer
        rows = [[token for token in row if token != first] for row in tokens.tolist()]
        translations = self._tokenizer.batch_decode(rows, skip_special_tokens=True)
        return [" ".join(translation.split()) for translation in translations]

    def _generation_config(self, beams: int, longest: int) -> Any:
        config = copy.deepcopy(self._model.generation_config)
        config.update(num_beams=beams, do_sample=False, temperature=None, top_k=None, top_p=None)
        config.update(max_length=None, max_new_tokens=longest)
        if beams == 1:
            config.update(early_stopping=False)
        if self.direction.target_code is not None:
            codes = getattr(self._tokenizer, "lang_code_to_id", None)
            code = self.direction.target_code
            first = codes[code] if codes else self._tokenizer.convert_tokens_to_ids(code)
            if first != self._model.config.decoder_start_token_id:
                config.update(forced_bos_token_id=first)
        return config


@contextmanager
def _opening_translation_model(model: str) -> Iterator[None]:
    failure = "no Hugging Face translation model, by hub id or folder"
    with opening(f"model '{model}'", failure), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # Marian recommends a package that it does not need
        try:
            yield
        except ImportError as error:
            raise MissingDependencyError(
                f"model '{model}' needs more packages: pip install 'mlcmr[translate]' ({reason(error)})"
            ) from error
