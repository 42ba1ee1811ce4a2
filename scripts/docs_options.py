"""Write docs/options.md, the table of every option, from the declarations in the code.

make docs-options
"""

from pathlib import Path

import click

from iptdata.builder import BuildOptions
from iptdata.cli import group
from iptdata.cli.options import default_text
from iptdata.evaluation import EvaluateOptions
from iptdata.markdown import table
from iptdata.options import Option, options_of
from iptdata.restoration import RestoreOptions, RestorerOptions
from iptdata.stream.options import StreamOptions
from iptdata.studies import StudyOptions
from iptdata.training import TrainOptions

PAGE = Path(__file__).resolve().parent.parent / "docs" / "options.md"
SECTIONS: tuple[tuple[str, str, type, tuple[str, ...]], ...] = (
    ("build", "`iptdata.build(source, out, recipes, **options)`, `iptdata build`.", BuildOptions, ("build",)),
    (
        "train",
        "`iptdata.train(shards, out, **options)`, `iptdata train`, `iptdata finetune`, `--config` files, `--set`.",
        TrainOptions,
        ("train", "finetune"),
    ),
    ("eval", "`iptdata.evaluate(checkpoint, benchmarks, **options)`, `iptdata eval`.", EvaluateOptions, ("eval",)),
    (
        "restore",
        "`iptdata.restore(inputs, out, checkpoint, task, **options)`, `iptdata restore`.",
        RestoreOptions,
        ("restore",),
    ),
    ("Restorer", "`iptdata.Restorer(checkpoint, task, **options)`.", RestorerOptions, ()),
    ("study", "`iptdata.studies.plan_study(study, out, **options)`, `iptdata study`.", StudyOptions, ("study",)),
    ("stream", "`iptdata.PairStream(paths, **options)`.", StreamOptions, ()),
)
_INTRODUCTION = """\
# Options

Every option is declared once, in a dataclass field; this page, `--help`, the checks of values and the keys of config files
are made from it. `make docs-options` writes this page.

An option whose value is a list repeats on the command line, and takes commas: `--recipe rain,noise30 --recipe sr2`. In
Python it is a list, or a single value. An option without a flag is set by a config file, `--set` or Python only.
"""


def page() -> str:
    """The page as Markdown."""
    parts = [_INTRODUCTION]
    for title, words, cls, commands in SECTIONS:
        parts.append(f"## {title}\n\n{words}\n\n{_table(cls, commands)}\n")
    return "\n".join(parts)


def _table(cls: type, commands: tuple[str, ...]) -> str:
    header = ["option", "default", "allowed", "description"]
    if commands:
        header.insert(1, "flag")
    rows = []
    for name, item in options_of(cls).items():
        row = [f"`{name}`", default_text(item) or ("" if item.default else "off"), _allowed(item), _description(item)]
        if commands:
            row.insert(1, _flag(name, commands))
        rows.append(row)
    return table(header, rows, len(header))


def _flag(name: str, commands: tuple[str, ...]) -> str:
    """The flag of an option, with the command's name if not all commands have it."""
    found = {}
    for command_name in commands:
        command = group.get_command(click.Context(group), command_name)
        assert command is not None
        flags = [parameter.opts[0] for parameter in command.params if parameter.name == name]
        if flags and flags[0].startswith("-"):
            found[command_name] = f"`{flags[0]}`"
    if not found:
        return ""
    only = "" if len(found) == len(commands) else f" ({', '.join(found)})"
    return next(iter(found.values())) + only


def _allowed(item: Option) -> str:
    if item.choices:
        return ", ".join(f"`{value}`" for value in item.choices)
    return item.expected.removeprefix("a whole number ").removeprefix("a number ")


def _description(item: Option) -> str:
    meanings = "; ".join(f"`{value}`: {meaning}" for value, meaning in item.choices.items() if meaning)
    return f"{item.help} {meanings}." if meanings else item.help


if __name__ == "__main__":
    PAGE.write_text(page())
