"""`iptdata finetune`."""

from typing import Any

import click

from iptdata.cli.train import run_training, shared_options

_DEFAULTS = {"lr": 2e-5, "lr_after": 2e-5, "epochs": 30}


@click.command(name="finetune", context_settings={"max_content_width": 110})
@click.option("--checkpoint", required=True, metavar="FILE", help="What to begin with: a checkpoint of ours.")
@click.option("--task", required=True, metavar="NAME", help="Recipe to train; a new one gets a fresh head and tail.")
@click.option("--freeze", type=click.Choice(["none", "body"]), help="Leave the body as it is.  [default: none]")
@shared_options
def command(task: str, **arguments: Any) -> None:
    """Train a pre-trained network further on one task: 30 epochs at 2e-5. Other heads, tails and queries are dropped.

    \b
    Examples:
      iptdata finetune --checkpoint runs/ipt-base-1/best.pt --task sr3 --shards corpus
      iptdata finetune --checkpoint ipt.pt --task noise70 --shards new --freeze body
    """
    run_training(arguments | {"tasks": (task,)}, _DEFAULTS)
