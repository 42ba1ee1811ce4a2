"""Options under headings, so that `--help` is no wall of text."""

from collections.abc import Callable
from functools import partial
from typing import Any

import click

WIDTH = {"max_content_width": 110}


class _Option(click.Option):
    def __init__(self, *args: Any, section: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.section = section


class SectionedCommand(click.Command):
    """A command whose help lists its options by section, in the order in which sections first occur, the others last."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
            if record is not None:
                sections.setdefault(getattr(parameter, "section", ""), []).append(record)
        for name, records in sorted(sections.items(), key=lambda item: not item[0]):
            with formatter.section(name or "Other options"):
                formatter.write_dl(records)


def section(name: str) -> Callable[..., Callable[[Any], Any]]:
    """`click.option` for options under a heading."""
    return partial(click.option, cls=_Option, section=name)
