"""A translation model: texts in one language to texts in another."""

import copy
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from mlcmr.errors import UserError, reason
from mlcmr.model.device import enough_memory, on_device
from mlcmr.model.hub import find_model
from mlcmr.model.opening import opening
from mlcmr.translation.direction import FAMILIES, Direction, find_direction

_UNLIMITED = 1_000_000  # tokenizers without a limit say a very large number


class Translator:
    """Any Hugging Face model of the families Marian, NLLB, M2M100, mBART and T5.

    It searches with beams and draws nothing by chance: the same batch gives the same texts.

    Args:
        model: Hub id or folder.
        source: ISO 639 code of the language to translate from.
        target: ISO 639 code of the language to translate into.
        source_code: The model's own code for the source, where it cannot be found.
        target_code: The model's own code for the target.
        beams: How many partial translations are kept at each step; 1 is the fastest.
        longest: Translations are cut to so many tokens.
        device: `cpu`, `cuda` or `auto`.

    Attributes:
        direction: What the model is told.

    Raises:
        UserError: there is no such model, the hub cannot be reached, the model is of another family or has no
            code for a language, or the device is not there.
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
        if beams < 1 or longest < 1:
            raise UserError(f"--beams {beams}, --longest {longest}: expected 1 or more")
        model = find_model(model, "--model")
        with _opening(model):
            self._tokenizer: Any = AutoTokenizer.from_pretrained(model)
            self._model: Any = AutoModelForSeq2SeqLM.from_pretrained(model, dtype=torch.float32).eval()
        family = self._model.config.model_type
        if family not in FAMILIES:
            raise UserError(f"model '{model}' is of type '{family}', expected {', '.join(FAMILIES.values())}")
        self.direction: Direction = find_direction(
            family, self._tokenizer, source, target, source_code=source_code, target_code=target_code
        )
        if self.direction.source_code is not None:
            self._tokenizer.src_lang = self.direction.source_code
        positions = getattr(self._model.config, "max_position_embeddings", _UNLIMITED)
        self._longest_text = min(self._tokenizer.model_max_length, positions)
        self._generation = self._generation_config(beams, min(longest, positions - 2))
        self._model = on_device(self._model, device)
        self._device: torch.device = self._model.device

    def __call__(self, texts: Sequence[str]) -> list[str]:
        """Translates a batch of texts.

        Raises:
            UserError: there is not enough memory.
        """
        given = [f"{self.direction.prefix}{text}" for text in texts]
        with enough_memory(self._device, "choose a smaller --batch-size"):
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
        first = self._generation.forced_bos_token_id  # not every tokenizer takes it for a special one
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
            config.update(forced_bos_token_id=first)
        return config


@contextmanager
def _opening(model: str) -> Iterator[None]:
    failure = f"model '{model}': no Hugging Face translation model, by hub id or folder"
    with opening(failure), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of a package that Marian can do without
        try:
            yield
        except ImportError as error:
            raise UserError(
                f"model '{model}' needs more packages: pip install 'mlcmr[translate]' ({reason(error)})"
            ) from error
