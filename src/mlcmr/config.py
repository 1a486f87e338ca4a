"""Settings from plain dictionaries (JSON, YAML), with names and types checked."""

from typing import Any, TypeVar

from jsonargparse import ArgumentError, ArgumentParser

from mlcmr.errors import UserError

Settings = TypeVar("Settings")


def from_dict(settings: type[Settings], content: dict[str, Any]) -> Settings:
    """Builds the dataclass `settings`, nested ones included, from `content`.

    Raises:
        UserError: an unknown name, or a value of another type.
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(settings, "settings")
    try:
        parsed = parser.instantiate_classes(parser.parse_object({"settings": content}))
    except ArgumentError as error:
        raise UserError(str(error).strip().replace("\n", " ")) from error
    return parsed.settings  # type: ignore[no-any-return]
