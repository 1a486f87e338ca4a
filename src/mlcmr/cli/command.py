"""Commands that call one function: the options are the parameters of the function."""

from argparse import Action
from argparse import Namespace as Words
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any, Literal, Protocol, Union, get_args, get_origin

from jsonargparse import ActionConfigFile, ArgumentParser, Namespace

from mlcmr.cli.argv import with_options
from mlcmr.cli.signature import REQUIRED, Parameter, read_signature
from mlcmr.errors import InvalidValueError


class Command(Protocol):
    """The interface of a command: it adds options, calls one function and prints the result."""

    @property
    def purpose(self) -> str:
        """One sentence for the list of commands."""
        ...

    @property
    def examples(self) -> str:
        """Command lines, for the help."""
        ...

    def add_arguments(self, parser: ArgumentParser, *, configured: bool = False) -> None:
        """Add the options to a parser.

        Args:
            parser: The parser of the command.
            configured: Whether a file gives values, so that positional parameters may be left out.
        """
        ...

    def run(self, parser: ArgumentParser, parsed: Namespace) -> int:
        """Run the command; return the exit status."""
        ...


@dataclass(frozen=True)
class FunctionCommand:
    """A command that calls a function and prints the result.

    The purpose of the command is the summary of the function's docstring. Each parameter becomes an option
    with its type, default and text, except `progress`, which shows bars.

    Attributes:
        function: The function, as `package.module:name`.
        examples: Command lines, for the help.
        positional: The parameters that are given by position.
        names: By parameter, the names of the option, if they differ from the parameter or include older ones.
        single: The parameters that take a list, or a file with the list; the command line takes the file.
        repeated: The parameters whose option takes one value and may be given several times for a list.
        skipped: The parameters that are no options.
        groups: By parameter that takes a dataclass, the dataclass; its fields become options.
        show: Prints the result; returns the exit status, or None for 0. By default, the text of the result is
            printed, with options for parameters.
    """

    function: str
    examples: str = ""
    positional: Sequence[str] = ()
    names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    single: Collection[str] = ()
    repeated: Collection[str] = ()
    skipped: Collection[str] = ()
    groups: Mapping[str, str] = field(default_factory=dict)
    show: Callable[[Any, Namespace], int | None] | None = None

    @property
    def purpose(self) -> str:
        """The summary of the function's docstring."""
        return read_signature(self.function).summary

    def add_arguments(self, parser: ArgumentParser, *, configured: bool = False) -> None:
        """Add the options to a parser.

        Args:
            parser: The parser.
            configured: Whether a file gives values, so that the positional ones may be left out.
        """
        add_config(parser)
        for parameter in self.parameters():
            names = self.names.get(parameter.name, (parameter.name,))
            if parameter.name in self.positional:
                add_positional(parser, parameter, optional=configured)
            else:
                add_option(parser, parameter, names, repeated=parameter.name in self.repeated)

    def run(self, _: ArgumentParser, parsed: Namespace) -> int:
        """Call the function and print the result; return the exit status."""
        values = {}
        for parameter in self.parameters():
            value = parsed[parameter.name]
            if _is_required(parameter) and not value:
                raise InvalidValueError(f"the following arguments are required: {parameter.name}")
            if not _is_left_out(parameter, value):
                values[parameter.name] = value
        for group, home in self.groups.items():
            names = read_signature(home).parameters.keys() & values.keys()
            values[group] = _load(home)(**{name: values.pop(name) for name in names})
        result = self._call(values)
        if self.show is None:
            print(with_options(str(result), self.options()))
            return 0
        return self.show(result, parsed) or 0

    def _call(self, values: Mapping[str, Any]) -> Any:
        function = _load(self.function)
        if "progress" not in read_signature(self.function).parameters:
            return function(**values)
        from mlcmr.cli.display import Display

        with Display(options=self.options()) as display:
            return function(**values, progress=display)

    def options(self) -> dict[str, str]:
        """Return the options by parameter."""
        named = [parameter.name for parameter in self.parameters() if parameter.name not in self.positional]
        return {name: f"--{self.names.get(name, (name,))[0]}" for name in named}

    def parameters(self) -> Iterator[Parameter]:
        """Yield the parameters that are options."""
        for name, parameter in read_signature(self.function).parameters.items():
            if name in self.groups:
                yield from read_signature(self.groups[name]).parameters.values()
            elif name in self.single:
                yield replace(parameter, many=False)
            elif name != "progress" and name not in self.skipped:
                yield parameter


def _is_left_out(parameter: Parameter, value: object) -> bool:
    """Return whether a parameter is a list with a default, and the command line gives no item."""
    return parameter.many and parameter.default not in (REQUIRED, None, ()) and not value


def _is_required(parameter: Parameter) -> bool:
    return parameter.default is REQUIRED and None not in parameter.types


def _load(home: str) -> Any:
    module, _, name = home.partition(":")
    return getattr(import_module(module), name)


def add_config(parser: ArgumentParser, text: str = "A YAML file of options.") -> None:
    """Add `--config` and, with it, `--print-config`."""
    parser.add_argument("--config", action=ActionConfigFile, help=text)


def add_option(
    parser: ArgumentParser, parameter: Parameter, names: Sequence[str] = (), *, repeated: bool = False
) -> None:
    """Add the option of a parameter.

    Args:
        parser: The parser.
        parameter: The parameter.
        names: The names of the option; by default that of the parameter.
        repeated: Whether it takes one value and may be given several times.
    """
    options: dict[str, Any] = {"dest": parameter.name, "help": parameter.help.replace("%", "%%")}
    required = parameter.default is REQUIRED
    if names and parameter.name != names[0]:
        options["metavar"] = names[0].upper()
    if parameter.many:
        options["default"] = []  # options extend a list; without any, the function has its own default
        if repeated:  # without a type: jsonargparse would take the list of a file for one value
            parser.add_argument(*_spelled(parameter, names), action="append", **options)
            return
        options |= {"action": "extend", "nargs": "+"}
    elif parameter.types == (bool,) and parameter.default is False:
        options.pop("metavar", None)
        parser.add_argument(*_spelled(parameter, names), action="store_true", **options)
        return
    elif not required:
        options["default"] = parameter.default
    kind = _type(parameter)
    if parameter.many and get_origin(kind) is Literal:  # argparse calls the type of an item
        kind, options["choices"] = str, get_args(kind)
    parser.add_argument(*_spelled(parameter, names), type=kind, required=required, **options)


def add_positional(parser: ArgumentParser, parameter: Parameter, *, optional: bool = False) -> None:
    """Add a parameter that is given by position.

    Args:
        parser: The parser.
        parameter: The parameter.
        optional: Whether it may be left out although the parameter has no default.
    """
    options: dict[str, Any] = {"help": parameter.help.replace("%", "%%")}
    if optional or not _is_required(parameter):
        default = None if parameter.default is REQUIRED else parameter.default
        options |= {"action": _IfGiven, "default": default, "nargs": "*" if parameter.many else "?"}
    elif parameter.many:
        options["nargs"] = "+"
    parser.add_argument(parameter.name, **options)


class _IfGiven(Action):
    """Keep the value of a file where nothing is given by position."""

    def __call__(self, _: object, words: Words, values: Any, __: str | None = None) -> None:
        """Set the value."""
        if values not in (self.default, []) or getattr(words, self.dest, None) is None:
            setattr(words, self.dest, values)


def _spelled(parameter: Parameter, names: Sequence[str]) -> list[str]:
    return [f"-{name}" if len(name) == 1 else f"--{name}" for name in names or (parameter.name,)]


def type_of(parameter: Parameter) -> Any:
    """Return the type of the value of a parameter."""
    kind: Any = _type(parameter)
    return list[kind] if parameter.many else kind


def _type(parameter: Parameter) -> Any:
    types = [kind for kind in parameter.types if not (kind is None and parameter.many)]
    if not types or types == [None]:
        raise TypeError(f"{parameter.name}: no value can be written on a command line")
    return Union[tuple(type(None) if kind is None else kind for kind in types)]  # noqa: UP007
