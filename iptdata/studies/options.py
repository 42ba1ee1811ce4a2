"""Options of a study."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from iptdata.errors import StudyError
from iptdata.options import option, validate


@dataclass(frozen=True, kw_only=True)
class StudyOptions:
    """Inputs of a study, and where and how long its networks are trained.

    Raises:
        StudyError: When a value is not allowed.
    """

    shards: tuple[str, ...] = option((), help="Corpora to train on.", path=True, metavar="PATH", group="Inputs and outputs")
    benchmarks: str | None = option(
        None,
        help="Folder that contains the benchmarks, such as Set5, by name.",
        path=True,
        metavar="DIR",
        group="Inputs and outputs",
    )
    smoke: bool = option(
        False,
        help="Train tiny networks for a few steps; without shards and benchmarks, on the sample photos.",
        group="Trainings",
    )
    length: float = option(
        1.0,
        help="Factor for the length of every training, such as 0.1.",
        above=0,
        max=1_000_000,
        metavar="FACTOR",
        group="Trainings",
    )
    settings: Mapping[str, Any] = option(
        {}, help="Set an option of every training.", flag="set", metavar="KEY=VALUE", group="Trainings"
    )
    workers: int | None = option(
        None,
        help="Trainings that run at the same time.",
        min=1,
        metavar="N",
        default_help="the number of GPUs, or 1",
        group="Machines",
    )
    address: str | None = option(
        None,
        help="Join a running Ray cluster and use all of its GPUs, instead of local workers.",
        metavar="auto|HOST:PORT",
        group="Machines",
    )

    def __post_init__(self) -> None:
        validate(self, StudyError)
