"""The documentation: `make docs`, or `sphinx-build -W --keep-going -b html docs docs/_build`."""

import re
from importlib.metadata import version as installed
from importlib.util import find_spec
from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.domains.python import PyObject

from mlcmr.cli.reference import render

project = "mlcmr"
author = "The mlcmr developers"
copyright = author
release = version = installed("mlcmr")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build"]

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

# Docstrings write code as `code`, and say attributes and shapes in words.
default_role = "literal"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_class_signature = "mixed"
python_maximum_signature_line_length = 80
python_use_unqualified_type_names = True
# The documentation also builds where the extra `video` is not installed.
autodoc_mock_imports = [name for name in ("av",) if find_spec(name) is None]
viewcode_line_numbers = True

html_math_renderer = "mathml"
html_theme = "furo"
html_title = f"mlcmr {release}"
html_static_path = ["_static"]
html_css_files = ["mlcmr.css"]
html_show_sphinx = False

_ARRAY = re.compile(r"~?numpy\.ndarray\[tuple\[~?typing\.Any, \.\.\.\], ~?numpy\.dtype\[([^\]]+)\]\]")


def _named_arrays(*event: Any) -> tuple[str | None, ...]:
    """`NDArray[float32]` as it stands in the source, instead of all that it is short for."""
    signature, returned = event[-2:]
    return tuple(text and _ARRAY.sub(r"NDArray[\1]", text) for text in (signature, returned))


def _no_addresses(*event: Any) -> None:
    """R@10 is not an e-mail address."""
    lines = event[-1]
    lines[:] = [line.replace("R@", r"R\@") for line in lines]


def _insert_commands(app: Any, page: str, source: list[str]) -> None:  # noqa: ARG001
    """Put the help of all commands, as their parsers have it, into the page about commands."""
    if page == "reference/commands":
        source[0] = source[0].replace("<!-- commands -->", render())


def _write_formula(translator: Any, node: nodes.Element) -> None:
    """Write a formula as MathML, which browsers show without a script and without a network."""
    formula = tex2mathml(node.astext(), as_block=isinstance(node, nodes.math_block))
    translator.body.append(formula)
    raise nodes.SkipNode


def setup(app: Any) -> None:
    app.add_html_math_renderer("mathml", (_write_formula, None), (_write_formula, None))
    app.connect("source-read", _insert_commands)
    app.connect("autodoc-process-signature", _named_arrays)
    app.connect("autodoc-process-docstring", _no_addresses)
    for field in PyObject.doc_field_types:
        if field.name == "variable":
            field.label = "Attributes"
