"""The option `profile`, which belongs to a call of `train` and not to the run: a resumed run is not profiled again."""

from dataclasses import dataclass

from iptdata.errors import TrainError
from iptdata.options import option, validate


@dataclass(frozen=True, kw_only=True)
class ProfileOption:
    """How much of a run is profiled.

    Raises:
        TrainError: When the number is not allowed.
    """

    profile: int | None = option(
        None,
        help="Record N steps with PyTorch's profiler after a warm-up: a trace in RUN/profile, and a table of largest kernels.",
        group="Device",
        metavar="N",
        min=1,
        max=100,
        default_help="none",
    )

    def __post_init__(self) -> None:
        validate(self, TrainError)
