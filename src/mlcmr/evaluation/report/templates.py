"""The templates of pages: everything is escaped, and a missing value is an error."""

import jinja2

TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("mlcmr", "evaluation/report"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
