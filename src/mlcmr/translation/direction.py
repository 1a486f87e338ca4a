"""How a translation model is told which language to translate into which: each family in its own way."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from mlcmr.data.languages import LANGUAGES
from mlcmr.errors import UserError

FAMILIES = {
    "marian": "Marian",
    "m2m_100": "M2M100 and NLLB",
    "nllb-moe": "NLLB",
    "mbart": "mBART",
    "t5": "T5",
    "mt5": "mT5",
    "umt5": "umT5",
}
"""The model types, as in a model's `config.json`, that can be told; and what people call them."""

# Where a model's code for a language is not the language's own: its commonest variant.
_VARIANTS: dict[str, tuple[str, ...]] = {
    "ar": ("arb_Arab", "arb"),
    "az": ("azj_Latn",),
    "fa": ("pes_Arab", "pes"),
    "ku": ("kmr_Latn",),
    "lv": ("lvs_Latn",),
    "mg": ("plt_Latn",),
    "mn": ("khk_Cyrl",),
    "ms": ("zsm_Latn",),
    "ne": ("npi_Deva",),
    "no": ("nob_Latn", "nob"),
    "or": ("ory_Orya",),
    "ps": ("pbt_Arab",),
    "sq": ("als_Latn",),
    "sw": ("swh_Latn",),
    "uz": ("uzn_Latn",),
    "yi": ("ydd_Hebr",),
    "zh": ("zho_Hans", "cmn_Hans", "cmn"),
}
_NLLB_CODE = re.compile("[a-z]{3}_[A-Z][a-z]{3}")
_MARIAN_CODE = re.compile(">>(.+)<<")
_MADLAD_CODE = re.compile("<2(.+)>")


@dataclass(frozen=True, slots=True)
class Direction:
    """What to give a model so that it translates from one language into another.

    Attributes:
        prefix: Stands before each text.
        source_code: What the tokenizer is told that the texts are in.
        target_code: The token that each translation begins with, given to the decoder.
    """

    prefix: str = ""
    source_code: str | None = None
    target_code: str | None = None


def find_direction(
    family: str,
    tokenizer: Any,
    source: str,
    target: str,
    *,
    source_code: str | None = None,
    target_code: str | None = None,
) -> Direction:
    """Finds a model's codes for two languages.

    Args:
        family: The model's type (see `FAMILIES`).
        tokenizer: Its tokenizer, which knows its codes.
        source: ISO 639 code of the language to translate from.
        target: ISO 639 code of the language to translate into.
        source_code: The model's own code for the source, where it cannot be found; for T5 a name (`German`).
        target_code: The model's own code for the target.

    Raises:
        UserError: the model has no such code; the message lists those that it has.
    """
    if family == "marian":
        return _marian(tokenizer, target, source_code, target_code)
    if family in {"t5", "mt5", "umt5"}:
        return _t5(tokenizer, source, target, source_code, target_code)
    codes = getattr(tokenizer, "lang_code_to_id", None) or _matching(_NLLB_CODE, tokenizer.get_vocab())
    return Direction(
        source_code=_code(codes, source, source_code, "source"),
        target_code=_code(codes, target, target_code, "target"),
    )


def _marian(tokenizer: Any, target: str, source_code: str | None, target_code: str | None) -> Direction:
    codes = _matching(_MARIAN_CODE, tokenizer.get_vocab())
    if source_code is not None or (target_code is not None and not codes):
        which, code = ("source", source_code) if source_code is not None else ("target", target_code)
        raise UserError(
            f"--{which}_code {code}: this Marian model has no codes of {which} languages; leave it out"
        )
    if not codes:
        return Direction()  # trained for one pair of languages
    plain = target_code.removeprefix(">>").removesuffix("<<") if target_code else None
    return Direction(prefix=f">>{_code(codes, target, plain, 'target')}<< ")


def _t5(
    tokenizer: Any, source: str, target: str, source_code: str | None, target_code: str | None
) -> Direction:
    codes = _matching(_MADLAD_CODE, tokenizer.get_vocab())
    if codes:
        return Direction(prefix=f"<2{_code(codes, target, target_code, 'target')}> ")
    names = [
        code or _name(language, which)
        for language, code, which in ((source, source_code, "source"), (target, target_code, "target"))
    ]
    return Direction(prefix=f"translate {names[0]} to {names[1]}: ")


def _name(language: str, which: str) -> str:
    if language not in LANGUAGES:
        raise UserError(f"'{language}': what does the model call it in English? Say it with --{which}_code")
    return LANGUAGES[language][0]


def _matching(pattern: re.Pattern[str], vocabulary: Collection[str]) -> list[str]:
    """The codes in a vocabulary: what the pattern's group matches, or all of it."""
    return sorted(found[found.re.groups] for token in vocabulary if (found := pattern.fullmatch(token)))


def _code(codes: Collection[str], language: str, given: str | None, which: str) -> str:
    if given is not None and given in codes:
        return given
    if given is None:
        three = LANGUAGES.get(language, ("", language))[1]
        for wanted in (*_VARIANTS.get(language, ()), language, three):
            begun = (code for code in sorted(codes) if code.startswith(f"{wanted}_"))
            found = wanted if wanted in codes else next(begun, None)
            if found is not None:
                return found
    what = (
        f"--{which}_code {given}: the model has no such code"
        if given
        else f"no code for '{language}' is known"
    )
    raise UserError(f"{what}; choose a --{which}_code among {', '.join(sorted(codes))}")
