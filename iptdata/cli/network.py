"""Options of commands that run a network on images."""

from collections.abc import Callable
from typing import Any

import click

from iptdata.cli.sections import section

_how = section("How")
_OPTIONS = [
    _how("--overlap", type=int, metavar="PIXELS", help="Pixels that tiles share at least.  [default: 10]"),
    _how("--self-ensemble", is_flag=True, help="The mean over eight flips and rotations; eight times the work."),
    _how("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True, help="Where to compute."),
    _how(
        "--batch-size", type=click.IntRange(1), metavar="N", help="Tiles at once.  [default: 64 of 48x48 on a GPU, 8 elsewhere]"
    ),
]


def network_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options, as a decorator."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def for_network(options: dict[str, Any]) -> dict[str, Any]:
    """The options that were given, as `Restorer` takes them."""
    chosen = {name: options[name] for name in ("device", "overlap", "self_ensemble", "batch_size")}
    return {name: value for name, value in chosen.items() if value is not None}
