"""Output of a profile: the kernels that take most of the time, and where the trace is."""

import re

from rich import box
from rich.markup import escape
from rich.table import Table

from iptdata.cli.console import console
from iptdata.errors import printable
from iptdata.training.events import ProfileRecord

_FIGURES = 38  # columns of the terminal that calls, time and share take
_NOISE = re.compile(r"^void |at::native::|\(anonymous namespace\)::")


def print_profile(profile: ProfileRecord) -> None:
    """Print the largest kernels on standard error; long names are cut where the terminal ends."""
    last = profile.first_step + profile.steps - 1
    steps = f"Step {last:,}" if profile.steps == 1 else f"Steps {profile.first_step:,} to {last:,}"
    kind, where = ("kernel", "GPU") if profile.on_gpu else ("operator, without those that it calls", "CPU")
    time = f"{profile.seconds * 1e3:,.1f} ms a step while profiled"
    console().print(f"{steps}: {time}; largest on the {where}:", markup=False, soft_wrap=True)
    table = Table(box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    table.add_column(kind, no_wrap=True, overflow="ellipsis", max_width=max(20, console().width - _FIGURES))
    for name in ("calls a step", "ms a step", "share"):
        table.add_column(name, justify="right", no_wrap=True)
    for kernel in profile.kernels:
        name = escape(printable(_NOISE.sub("", kernel.name)))
        table.add_row(name, f"{kernel.calls:,.1f}".removesuffix(".0"), f"{kernel.seconds * 1e3:,.2f}", f"{kernel.share:.1%}")
    console().print(table)
    console().print(f"Trace, for https://ui.perfetto.dev or TensorBoard: {profile.path}", markup=False, soft_wrap=True)
