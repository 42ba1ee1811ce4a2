"""Command-line options from declared ones (`iptdata.options`): flags, headings, help and parsing of values."""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import MISSING, replace
from typing import Any

import click

from iptdata.errors import IptDataError, printable, shown
from iptdata.options import Option, from_text, options_of

_LONGEST_MESSAGE = 4000
_LONGEST_ARGUMENT = 200
_LAST_ALTERNATIVE = re.compile(
    r", or [^,`]*`([a-z_][a-z0-9_]*)(?:=[^`\s]+)?`[^,`]*$"
)  # of a hint that ends with ", or pass `x=1`"

Completer = Callable[[click.Context, click.Parameter, str], Any]


class DeclaredOption(click.Option):
    """An option under a heading, whose help shows its choices and its default."""

    def __init__(self, item: Option, aliases: Collection[str], **settings: Any) -> None:
        flag = "--" + (item.flag or item.name).replace("_", "-")
        self.heading: str = item.group
        if item.kind is bool and item.default is not False:
            flag = f"{flag}/--no-{flag.removeprefix('--')}"
        required = item.default is MISSING
        super().__init__(
            [flag, *aliases, item.name],
            help=_help(item),
            metavar=_metavar(item),
            required=required,
            **({} if required else {"default": None}),
            multiple=item.kind is tuple,
            type=None if item.kind is bool else _Value(item),
            is_flag=item.kind is bool,
            callback=_joined if item.kind is tuple else None,
            **settings,
        )


class _Value(click.ParamType):
    """Parses a value according to its declaration."""

    def __init__(self, item: Option) -> None:
        self.name = item.metavar or item.name
        self._item = item

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return from_text(self._item, value) if isinstance(value, str) else value


def _joined(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    """The entries of all occurrences of an option, None where it was not given."""
    return tuple(entry for entries in value for entry in entries) or None


def _metavar(item: Option) -> str | None:
    if item.kind is bool:
        return None
    return item.metavar or "|".join(map(str, item.choices)) or item.name.upper()


def _help(item: Option) -> str:
    meanings = "; ".join(f"{value}: {meaning}" for value, meaning in item.choices.items() if meaning)
    parts = [f"{item.help.removesuffix('.')} ({meanings})." if meanings else item.help]
    if item.kind is tuple:
        parts.append("Repeat it, or separate by commas.")
    if default := default_text(item):
        parts.append(f" [default: {default}]")
    return " ".join(parts)


def default_text(item: Option) -> str:
    """The default in words, "" for a required option and for a flag that is off."""
    if item.default_help:
        return item.default_help
    if item.default is MISSING or item.default is None or item.default in ("", ()):
        return ""
    if isinstance(item.default, bool):
        return "on" if item.default else ""
    if isinstance(item.default, float):
        return re.sub(r"e-0(\d)", r"e-\1", f"{item.default:g}")
    return f"{item.default:,}" if isinstance(item.default, int) else str(item.default)


def declared(
    cls: type,
    *,
    only: Collection[str] = (),
    without: Collection[str] = (),
    aliases: Mapping[str, Collection[str]] | None = None,
    complete: Mapping[str, Completer] | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The options that a dataclass declares, as a decorator of a command.

    A value that is not given is None, so that defaults are defined in the declaration only.

    Args:
        cls: The dataclass.
        only: Names of the fields to take, all by default.
        without: Names of the fields to leave out.
        aliases: More flags by field name.
        complete: Shell completion by field name; paths are completed automatically.
        defaults: Defaults of this command that differ from the declared ones, by field name.
    """
    chosen = [item for name, item in options_of(cls).items() if name not in without and (not only or name in only)]
    for name, default in (defaults or {}).items():
        chosen = [replace(item, default=default, default_help="") if item.name == name else item for item in chosen]

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for item in reversed(chosen):
            completer = (complete or {}).get(item.name) or (complete_paths if item.path else None)
            settings = {} if completer is None else {"shell_complete": completer}
            made = DeclaredOption(item, (aliases or {}).get(item.name, ()), **settings)
            existing = function.__dict__.setdefault("__click_params__", [])
            existing.append(made)
        return function

    return decorate


def given(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that were given."""
    return {name: value for name, value in arguments.items() if value is not None}


def complete_paths(ctx: click.Context, param: click.Parameter, incomplete: str) -> Any:
    """Files and folders, which the shell completes itself."""
    from click.shell_completion import CompletionItem  # noqa: PLC0415

    return [CompletionItem(incomplete, type="file")]


class Refusal(click.ClickException):
    """A user error, printed on one line."""

    def __init__(self, message: str, exit_status: int = 2) -> None:
        super().__init__(message)
        self.exit_code = exit_status  # pyright: ignore[reportAttributeAccessIssue] - click declares it for the class

    def show(self, file: Any = None) -> None:
        click.echo(f"iptdata: {printable(self.message, _LONGEST_MESSAGE)}", err=True)


class Command(click.Command):
    """A command whose help groups options by heading, and whose errors name its flags."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        settings = {"max_content_width": 110, "allow_extra_args": True} | (kwargs.pop("context_settings", None) or {})
        super().__init__(*args, context_settings=settings, **kwargs)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        try:
            ctx = super().make_context(*args, **kwargs)
        except IptDataError as error:
            raise self._refusal(error) from error
        if ctx.args and not ctx.resilient_parsing:
            more = f" and {len(ctx.args) - 1:,} more" if ctx.args[1:] else ""
            advice = "Put quotes around a pattern, so that the shell does not expand it"
            raise Refusal(f"unexpected argument {shown(ctx.args[0], _LONGEST_ARGUMENT)}{more}. {advice}.")
        return ctx

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except IptDataError as error:
            raise self._refusal(error) from error

    def _refusal(self, error: IptDataError) -> Refusal:
        last = _LAST_ALTERNATIVE.search(error.hint or "")
        if error.hint is not None and last is not None and all(last[1] != parameter.name for parameter in self.params):
            error.hint = error.hint[: last.start()]  # it needs an argument that only Python has
        return Refusal(error.text(self.spelling), error.exit_status)

    def spelling(self, name: str, value: str | None) -> str:
        """An argument as it is typed: `--batch-size 8`, or the placeholder of a positional one."""
        for parameter in self.params:
            if parameter.name == name and isinstance(parameter, click.Option):
                flag = (parameter.secondary_opts or parameter.opts)[0] if value == "False" else parameter.opts[0]
                return flag if value is None or parameter.is_flag else f"{flag} {value}"
            if parameter.name == name:
                return (parameter.metavar or name.upper()).strip("[].")
        return name if value is None else f"{name}={value}"

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        headings: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
            if record is not None:
                headings.setdefault(getattr(parameter, "heading", ""), []).append(record)
        for name, records in sorted(headings.items(), key=lambda item: not item[0]):
            with formatter.section(name or "Other options"):
                formatter.write_dl(records)
