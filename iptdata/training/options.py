"""Options of a training run: keyword arguments of `train`, keys of a config file, and options of the command line."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from iptdata.errors import TrainError
from iptdata.options import option, validate
from iptdata.training.lr_schedule import rate_after

MODEL, EPOCHS = "ipt-base", 300

_PATHS, _SCHEDULE, _CONTRASTIVE = "Inputs and outputs", "Schedule", "Contrastive loss"
_DATA, _DEVICE, _WATCH = "Data", "Device", "Validation and checkpoints"
_NOT_EMPTY = r"(?s).+"


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Options of a training run; docs/training.md says which defaults are the paper's.

    `model` and `checkpoint` exclude each other, and so do `epochs` and `steps`; where neither is given, `model` is ipt-base and
    `epochs` is 300. `preset` stands for values of other options and is None once these are merged (`config.resolve`).

    Raises:
        TrainError: When a value is not allowed, or options exclude each other.
    """

    shards: tuple[str, ...] = option(
        (),
        help="Corpora, folders, tars, globs or URLs of shards to train on, or TASK=PATH for shards not written by iptdata.",
        group=_PATHS,
        metavar="PATH",
        path=True,
        default_help="none; required for a new run",
    )
    model: str | None = option(
        None,
        help="Preset of the network.",
        group=_PATHS,
        metavar="NAME",
        pattern=_NOT_EMPTY,
        default_help=f"the preset `{MODEL}`",
    )
    network: Mapping[str, Any] = option(
        {},
        help="Fields of the preset to change, such as n_feats.",
        group=_PATHS,
        metavar="FIELD=VALUE",
        expects="fields of the network, `name: value`",
        default_help="the preset as it is",
    )
    preset: Literal["paper", "released-code"] | None = option(
        None,
        help="Values for schedule, loss and augmentation; a config file and other options take precedence over them.",
        group=_PATHS,
        choices={"paper": "what the IPT paper says", "released-code": "what the authors' training code for MindSpore does"},
        default_help="none: the default of each option",
    )
    checkpoint: str | None = option(
        None,
        help="Checkpoint or run to take the first weights from: the body, and heads, tails and queries of the tasks it knows.",
        group=_PATHS,
        metavar="FILE",
        pattern=_NOT_EMPTY,
        path=True,
        default_help="none: random weights",
    )
    freeze: Literal["none", "body"] = option(
        "none",
        help="Part of the network to keep fixed.",
        group=_PATHS,
        choices={"none": "train all weights", "body": "train only heads, tails and task queries"},
    )
    tasks: tuple[str, ...] | None = option(
        None,
        help="Tasks to train, in the order of the network's heads.",
        group=_PATHS,
        flag="task",
        metavar="NAME",
        default_help="all tasks in the shards",
    )
    fraction: float = option(
        1.0,
        help="Share of each task's pairs to train on; a smaller share is a subset of a larger one.",
        group=_DATA,
        metavar="SHARE",
        above=0,
        max=1,
    )
    shuffle: Literal["auto", "global", "window", "none"] = option(
        "auto",
        help="How to shuffle the pairs of a task.",
        group=_DATA,
        choices={
            "auto": "global if the shards are local and fit into 60 % of memory, else window",
            "global": "over all shards",
            "window": "within a few shards at a time, which are read in order",
            "none": "keep the order of the shards",
        },
    )
    verify: Literal["size", "sha256"] = option(
        "size",
        help="How to check a shard against its manifest when it is first used.",
        group=_DATA,
        choices={"size": "its size", "sha256": "also its SHA-256, which reads the whole shard"},
    )
    augment: Literal["all", "flips", "none"] = option(
        "all",
        help="How to augment pairs.",
        group=_DATA,
        choices={
            "all": "random flips and rotations by 90 degrees",
            "flips": "random flips only, for tasks that a rotation changes: rotated rain falls sideways",
            "none": "use pairs as they are",
        },
    )
    seed: int = option(
        0,
        help="Seed of initial weights, order of tasks and pairs, augmentation and sampled tokens.",
        group=_DATA,
        metavar="N",
        min=0,
        max=2**63 - 1,
    )
    batch_size: int = option(256, help="Pairs per step, summed over all GPUs.", group=_SCHEDULE, metavar="N", min=1)
    accumulate: int = option(
        1,
        help="Split each batch into N parts and accumulate their gradients, to save memory. The contrastive loss then compares "
        "only the images within a part.",
        group=_SCHEDULE,
        metavar="N",
        min=1,
    )
    epochs: float | None = option(
        None,
        help="Length of the run in epochs; an epoch is a pass over as many clean patches as one task has.",
        group=_SCHEDULE,
        metavar="N",
        above=0,
        max=1_000_000_000,
        default_help=f"{EPOCHS} epochs, unless steps are given",
    )
    steps: int | None = option(
        None,
        help="Length of the run in steps, instead of epochs.",
        group=_SCHEDULE,
        metavar="N",
        min=1,
        default_help="the length in epochs",
    )
    lr: float = option(
        5e-5, help="Learning rate for the first two thirds of the steps.", group=_SCHEDULE, metavar="RATE", above=0
    )
    lr_after: float | None = option(
        None,
        help="Learning rate for the last third of the steps.",
        group=_SCHEDULE,
        metavar="RATE",
        above=0,
        default_help="0.4 times lr, as in the paper",
    )
    clip: float | None = option(
        None,
        help="Maximum L2 norm of the gradient; larger gradients are scaled down.",
        group=_SCHEDULE,
        metavar="NORM",
        above=0,
        default_help="no clipping",
    )
    clip_per: Literal["network", "tensor"] = option(
        "network",
        help="What the norm of `clip` is taken of.",
        group=_SCHEDULE,
        choices={
            "network": "the gradient of all weights together",
            "tensor": "the gradient of each weight tensor on its own, as in the authors' MindSpore code",
        },
    )
    ema: float | None = option(
        None,
        help="Decay of an exponential moving average of the weights, which is then what is validated and saved.",
        group=_SCHEDULE,
        metavar="DECAY",
        above=0,
        below=1,
        default_help="no average",
    )
    nonfinite: int = option(
        10,
        help="Stop after N steps in a row whose loss or gradient is infinite or NaN; such steps leave the weights unchanged.",
        group=_SCHEDULE,
        metavar="N",
        min=1,
    )
    contrastive: float | None = option(
        None,
        help="Weight of the contrastive loss.",
        group=_CONTRASTIVE,
        metavar="WEIGHT",
        min=0,
        default_help="0.1; 0 for EDSR, which has no tokens",
    )
    contrastive_form: Literal["paper", "supcon"] = option(
        "paper",
        help="Form of the contrastive loss.",
        group=_CONTRASTIVE,
        choices={
            "paper": "equation 5 of the IPT paper",
            "supcon": "supervised contrastive loss, as in the authors' MindSpore code",
        },
    )
    contrastive_temperature: float | None = option(
        None,
        help="Temperature that divides the scalar products of tokens in the contrastive loss.",
        group=_CONTRASTIVE,
        metavar="T",
        min=0.025,
        max=1000,
        default_help="1 for the paper's form, which has none; 0.07 for supcon, as in the authors' MindSpore code",
    )
    contrastive_tokens: int | None = option(
        None,
        help="Compare only K randomly sampled tokens per image.",
        group=_CONTRASTIVE,
        metavar="K",
        min=1,
        default_help="all tokens",
    )
    device: Literal["auto", "cpu", "cuda"] = option(
        "auto",
        help="Device to train on.",
        group=_DEVICE,
        choices={"auto": "a GPU if there is one, else the CPU", "cpu": "the CPU", "cuda": "a GPU"},
    )
    precision: Literal["auto", "fp32", "bf16"] = option(
        "auto",
        help="Precision of the network.",
        group=_DEVICE,
        choices={
            "auto": "bf16 on a GPU that computes in it, else fp32",
            "fp32": "float32",
            "bf16": "bfloat16 autocast; weights stay float32",
        },
    )
    compile: bool | None = option(
        None,
        help="Compile the network with torch.compile.",
        group=_DEVICE,
        default_help="on for a GPU",
    )
    checkpoint_activations: bool = option(
        False,
        help="Keep only the input of each layer of the body for the backward pass, which computes the layer once more: less "
        "memory, more time, the same result.",
        group=_DEVICE,
    )
    save_every: int | None = option(
        None, help="Steps between checkpoints.", group=_WATCH, metavar="N", min=1, default_help="every ten minutes"
    )
    keep: int = option(
        3,
        help="Number of most recent checkpoints to keep; the best one is kept in addition.",
        group=_WATCH,
        metavar="N",
        min=1,
    )
    validate: bool | None = option(
        None,
        help="Measure PSNR on held-out pairs during training, and keep the best checkpoint.",
        group=_WATCH,
        default_help="off",
    )
    split: str = option("val", help="Split that holds the held-out pairs.", group=_WATCH, metavar="NAME", pattern=_NOT_EMPTY)
    validate_every: int = option(1000, help="Steps between validations.", group=_WATCH, metavar="N", min=1)
    validate_pairs: int = option(1000, help="Held-out pairs per task to validate on.", group=_WATCH, metavar="N", min=1)
    picture_every: int = option(
        1000,
        help="Steps between pictures of corrupted, restored and clean patches for TensorBoard.",
        group=_WATCH,
        metavar="N",
        min=1,
    )

    def __post_init__(self) -> None:
        validate(self, TrainError)
        if self.preset is not None:
            raise TrainError(
                f"found {self.preset}, but a preset stands for other options", argument="preset", hint="Pass it to `train`"
            )
        if self.checkpoint is not None and (self.model is not None or self.network):
            raise TrainError(
                "cannot be combined with another network, since a checkpoint has its own",
                argument="checkpoint",
                hint="Leave out `model` and `network`",
            )
        if self.checkpoint is None and self.model is None:
            object.__setattr__(self, "model", MODEL)
        if self.epochs is None and self.steps is None:
            object.__setattr__(self, "epochs", float(EPOCHS))
        if self.epochs is not None and self.steps is not None:
            raise TrainError(f"found both `epochs` ({self.epochs:g}) and `steps` ({self.steps})", hint="Pass only one of them")
        if self.lr_after is None:
            object.__setattr__(self, "lr_after", rate_after(self.lr))
        if self.clip_per == "tensor" and self.clip is None:
            raise TrainError("found tensor, but nothing is clipped", argument="clip_per", hint="Pass `clip` too")

    def plain(self) -> dict[str, Any]:
        """The values by name, in the order of the fields, as a config file holds them."""
        values = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
