"""Shell completion of options and arguments."""

import click
from click.shell_completion import CompletionItem

from iptdata.cli.options import complete_paths

MODELS = ("ipt-base", "ipt-small", "ipt-tiny", "edsr-base", "edsr-tiny")


def complete_recipes(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Shipped recipes and suites, or files if no name matches."""
    from iptdata.recipe import shipped  # noqa: PLC0415

    found = [CompletionItem(name) for name in sorted(shipped()) if name.startswith(incomplete)]
    return found or complete_paths(ctx, param, incomplete)


def complete_studies(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Shipped studies, or files if no name matches."""
    from iptdata.studies.study import shipped_studies  # noqa: PLC0415

    found = [CompletionItem(name) for name in shipped_studies() if name.startswith(incomplete)]
    return found or complete_paths(ctx, param, incomplete)


def complete_methods(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Methods that have published figures, in upper or lower case."""
    from iptdata.evaluation.published import methods  # noqa: PLC0415

    return [CompletionItem(name) for name in methods() if name.lower().startswith(incomplete.lower())]


def complete_models(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Presets of networks."""
    return [CompletionItem(name) for name in MODELS if name.startswith(incomplete)]


def complete_sorts(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Values of `--sort` that every corpus has."""
    return [CompletionItem(name) for name in ("psnr", "-psnr", "random", "key") if name.startswith(incomplete)]
