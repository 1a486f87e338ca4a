"""The codes by which translation models of each family name their languages."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlcmr.data.languages import language_code, language_name, three_letter_code
from mlcmr.errors import InvalidValueError, MlcmrError
from mlcmr.model.foreign import CONFIG, read_model_settings

FAMILIES = {
    "marian": "Marian",
    "m2m_100": "M2M100 or NLLB",
    "nllb-moe": "NLLB-MoE",
    "mbart": "mBART",
    "t5": "T5",
    "mt5": "mT5",
    "umt5": "umT5",
}
"""The supported model types, as in a model's `config.json`, and their usual names."""

# The most common variants of languages for which a model may have no code of the language itself.
_VARIANTS: dict[str, tuple[str, ...]] = {
    "ar": ("arb_Arab", "arb"),
    "az": ("azj_Latn",),
    "fa": ("pes_Arab", "pes"),
    "fil": ("fil", "tgl_Latn", "tl"),
    "ku": ("kmr_Latn",),
    "lv": ("lvs_Latn",),
    "mg": ("plt_Latn",),
    "mn": ("khk_Cyrl",),
    "ms": ("zsm_Latn",),
    "nb": ("nb", "nob_Latn", "no"),
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
_ANY = "mul"
"""The code for any language, one of `_GROUPS`."""
_OPUS_NAME = re.compile(r"opus-mt-(?:tc-(?:big|base)-)?(\w+)-(\w+)")
# Codes of language groups (ISO 639-5), which Marian models use besides those of languages.
_GROUPS = {
    "aav", "afa", "alg", "alv", "apa", "aqa", "aql", "art", "ath", "auf", "aus", "awd", "azc", "bad", "bai",
    "bat", "ber", "bih", "bnt", "btk", "cai", "cau", "cba", "ccn", "ccs", "cdc", "cdd", "cel", "cmc", "cpe",
    "cpf", "cpp", "crp", "csu", "cus", "day", "dmn", "dra", "egx", "esx", "euq", "fiu", "fox", "gem", "gme",
    "gmq", "gmw", "grk", "him", "hmx", "hok", "hyx", "iir", "ijo", "inc", "ine", "ira", "iro", "itc", "jpx",
    "kar", "kdo", "khi", "kro", "map", "mkh", "mno", "mul", "mun", "myn", "nah", "nai", "ngf", "nic", "nub",
    "omq", "omv", "oto", "paa", "phi", "plf", "poz", "pqe", "pqw", "pra", "qwe", "roa", "sai", "sal", "sdv",
    "sem", "sgn", "sio", "sit", "sla", "smi", "son", "sqj", "ssa", "syd", "tai", "tbq", "trk", "tup", "tut",
    "tuw", "urj", "wak", "wen", "xgn", "xnd", "ypk", "zhx", "zle", "zls", "zlw", "znd",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Direction:
    """The settings with which a model translates from one language into another.

    Attributes:
        prefix: The beginning of each text for the encoder.
        source_code: The tokenizer's source language.
        target_code: The first token of each translation, for the decoder.
    """

    prefix: str = ""
    source_code: str | None = None
    target_code: str | None = None


def require_direction(
    name: str, tokenizer: Any, family: str, direction: Direction, *, source: str, target: str
) -> str | None:
    """Refuse a direction for which a model was not trained, if its files tell its languages.

    Args:
        name: The model's hub id or folder.
        tokenizer: The model's tokenizer.
        family: The model's type (see `FAMILIES`).
        direction: The direction; see `find_direction`.
        source: ISO 639 code of the language to translate from.
        target: ISO 639 code of the language to translate into.

    Returns:
        A note for the user if the files do not tell the model's languages, or name a group of languages.

    Raises:
        InvalidValueError: If the model was trained to translate from or into another language.
    """
    languages = _marian_codes if family == "marian" else _multilingual_codes
    codes = languages(name, tokenizer, direction)
    for side, code, wanted in zip(("from", "into"), codes, (source, target), strict=True):
        trained = _languages(code)
        if trained and not trained & {wanted, *_languages(wanted)}:
            known = " or ".join(f"'{language}'" for language in sorted(trained))
            raise InvalidValueError(
                f"model '{name}' translates {side} {known} only, not {side} '{wanted}'; choose another "
                "`model`",
                parameter="model",
            )
    if all(code == _ANY or _languages(code) for code in codes):
        return None
    return f"model '{name}' does not tell its languages: assumed to translate from {source} into {target}"


def _marian_codes(name: str, tokenizer: Any, direction: Direction) -> tuple[str, str]:
    """Return the codes of a Marian model's source and target language; empty if its files do not tell."""
    codes = [getattr(tokenizer, f"{side}_lang", None) or "" for side in ("source", "target")]
    if (match := _OPUS_NAME.fullmatch(Path(name).name)) and not all(codes):
        codes = [given or named for given, named in zip(codes, match.groups(), strict=True)]
    return codes[0], _ANY if direction.prefix else codes[1]  # a prefix names one of several targets


def _multilingual_codes(name: str, tokenizer: Any, direction: Direction) -> tuple[str, str]:
    """Return the codes of the source and target language of a multilingual model."""
    words = Path(name).name  # only the name tells that mBART's one-to-many models translate from English
    fixed = _fixed_target(name, tokenizer)
    target = _ANY if fixed in {None, direction.target_code} else str(fixed)
    return ("en" if "one-to-many" in words else _ANY), ("en" if "many-to-one" in words else target)


def _fixed_target(name: str, tokenizer: Any) -> str | None:
    """Return the code of the only target language, if the model's files name one."""
    codes = {number: code for code, number in (getattr(tokenizer, "lang_code_to_id", None) or {}).items()}
    settings = [read_model_settings(name, file) for file in ("generation_config.json", CONFIG)]
    for key in ("forced_bos_token_id", "decoder_start_token_id"):
        for number in [file[key] for file in settings if isinstance(file.get(key), int)]:
            code = str(codes.get(number) or tokenizer.convert_ids_to_tokens(number))
            if number in codes or _NLLB_CODE.fullmatch(code):
                return code
    return None


def _languages(code: str) -> set[str]:
    """Return the ISO 639 codes in the code that a model uses for a language; none for a group (`ROMANCE`).

    `de_en` names two languages. The region of `pt_br` and `zh_cn` may be mistaken for a second language.
    """
    first, *others = re.split("[-_]", code)
    words = [first.lower(), *others]
    known = {word for word in words if re.fullmatch("[a-z]{2,3}", word)} - _GROUPS
    return set() if words[0] in _GROUPS else set(filter(None, map(_language, known)))


def _language(word: str) -> str | None:
    """Return the ISO 639 code of a language, given the code of a variant; None if the code is unknown."""
    macro = (code for code, variants in _VARIANTS.items() if word in {variant[:3] for variant in variants})
    try:
        return next(macro, None) or language_code(word)
    except MlcmrError:
        return None


def find_direction(
    family: str,
    tokenizer: Any,
    source: str,
    target: str,
    *,
    source_code: str | None = None,
    target_code: str | None = None,
) -> Direction:
    """Find a model's codes for two languages.

    Args:
        family: The model's type (see `FAMILIES`).
        tokenizer: The model's tokenizer, whose vocabulary holds the codes.
        source: ISO 639 code of the language to translate from.
        target: ISO 639 code of the language to translate into.
        source_code: The model's own code for the source language, if it is not found; for T5 a name, such as
            `German`.
        target_code: The model's own code for the target language, if it is not found.

    Raises:
        InvalidValueError: If the model has no such code. The message lists the model's codes.
    """
    if family == "marian":
        return _marian(tokenizer, target, source_code, target_code)
    if family in {"t5", "mt5", "umt5"}:
        return _t5(tokenizer, source, target, source_code, target_code)
    codes = getattr(tokenizer, "lang_code_to_id", None) or _matching(_NLLB_CODE, tokenizer.get_vocab())
    return Direction(
        source_code=_choose_code(codes, source, source_code, "source"),
        target_code=_choose_code(codes, target, target_code, "target"),
    )


def _marian(tokenizer: Any, target: str, source_code: str | None, target_code: str | None) -> Direction:
    codes = _matching(_MARIAN_CODE, tokenizer.get_vocab())
    if source_code is not None or (target_code is not None and not codes):
        side, code = ("source", source_code) if source_code is not None else ("target", target_code)
        raise InvalidValueError(
            f"`{side}_code` {code}: this Marian model has no codes of {side} languages; leave it out",
            parameter=f"{side}_code",
        )
    if not codes:
        return Direction()  # trained for one pair of languages
    plain = target_code.removeprefix(">>").removesuffix("<<") if target_code else None
    return Direction(prefix=f">>{_choose_code(codes, target, plain, 'target')}<< ")


def _t5(
    tokenizer: Any, source: str, target: str, source_code: str | None, target_code: str | None
) -> Direction:
    codes = _matching(_MADLAD_CODE, tokenizer.get_vocab())
    if codes:
        return Direction(prefix=f"<2{_choose_code(codes, target, target_code, 'target')}> ")
    names = [
        code or _name(language, side)
        for language, code, side in ((source, source_code, "source"), (target, target_code, "target"))
    ]
    return Direction(prefix=f"translate {names[0]} to {names[1]}: ")


def _name(language: str, side: str) -> str:
    name = language_name(language)
    if name is None:
        raise InvalidValueError(
            f"'{language}': no English name of this language is known; give the model's own as `{side}_code`",
            parameter=f"{side}_code",
        )
    return name


def _matching(pattern: re.Pattern[str], vocabulary: Collection[str]) -> list[str]:
    """Return the codes in a vocabulary: the pattern's group in each token, or the whole token."""
    return sorted(match[match.re.groups] for token in vocabulary if (match := pattern.fullmatch(token)))


def _choose_code(codes: Collection[str], language: str, given: str | None, side: str) -> str:
    """Return a model's code for a language: the given code, or the code of the language or a variant.

    Raises:
        InvalidValueError: If the model has no such code.
    """
    if given is not None and given in codes:
        return given
    if given is None:
        for wanted in (*_VARIANTS.get(language, ()), language, three_letter_code(language)):
            if wanted in codes:
                return wanted
            with_region = (code for code in sorted(codes) if code.startswith(f"{wanted}_"))
            if code := next(with_region, None):
                return code
    reason = (
        f"`{side}_code` {given}: the model has no such code"
        if given
        else f"no code for '{language}' is known"
    )
    raise InvalidValueError(
        f"{reason}; choose a `{side}_code` among {', '.join(sorted(codes))}", parameter=f"{side}_code"
    )
