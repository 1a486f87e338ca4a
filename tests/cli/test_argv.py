"""Messages name parameters; what a user reads are options of the command that failed."""

import pytest

from mlcmr.cli.argv import with_options, without_other_options


@pytest.mark.parametrize(
    ("message", "options", "shown"),
    [
        ("`batch_size` 0: expected 1", {"batch_size": "--batch_size"}, "--batch-size 0: expected 1"),
        ("another folder (`to`), or", {"to": "--to"}, "another folder (--to), or"),
        ("another folder (`to`), or", {"index": "--index"}, "another folder, or"),
        ("written by people (`parallel`)", {"target": "--target"}, "written by people (`parallel`)"),
        (
            "set it (`text.trained_layers` 2)",
            {"text.trained_layers": "--text.trained_layers"},
            "set it (--text.trained-layers 2)",
        ),
        ("more than 5; lower `rate`", {"rate": "--rate"}, "more than 5; lower --rate"),
        ("more than 5; lower `rate`", {"k": "-k"}, "more than 5"),
        ("`auto_map` of config.json", {"to": "--to"}, "`auto_map` of config.json"),
    ],
)
def test_a_parameter_is_shown_as_the_option_of_the_command(message, options, shown):
    assert without_other_options(with_options(message, options)) == shown
