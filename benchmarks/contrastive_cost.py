"""Work out the cost of a contrastive step on a GPU: launches, operations, bytes, and the floor that they give its time.

    python benchmarks/train.py --parts contrastive-cost

Nothing is measured, and no GPU is needed. The loss runs at full size on tensors without data, in blocks of the size that a GPU
gets. Operations outside compiled blocks are counted as they are called, one launch each. The kernels of a compiled block are
those that Inductor generates for a small one on this machine's CPU: for a GPU it may fuse or split them otherwise.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from unittest import mock

import torch
from torch._inductor import metrics
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from iptdata.training import contrastive
from iptdata.training.contrastive import Form, contrastive_loss
from iptdata.training.contrastive_blocks import BLOCK_ELEMENTS, compiled_block, paper_block, supcon_sums, supcon_weights

RATE, BANDWIDTH = 690e12, 3.35e12  # of bf16 products of this size on an H100, measured; bytes/s of its memory, as specified
# How often the elements of a block are read or written, off the diagonal and on it, in the code that Inductor generates for an
# H100: exponentials are computed anew each time, and the sums over rows together with the weights.
PASSES = {"paper_block": (3, 3), "supcon_sums": (2, 1), "supcon_weights": (2, 2)}
WITHOUT_LAUNCH = {"device", "empty", "empty_like", "new_empty", "new_empty_strided", "detach", "_unsafe_view"}


@dataclass
class Cost:
    """What a step costs so far.

    Attributes:
        products: Number of matrix products.
        kernels: Number of kernels of compiled blocks.
        others: Number of other operations.
        blocks: Number of calls of functions of blocks.
        operations: Operations of products, 2 per multiply-add.
        moved: Bytes that are read and written.
        seconds: Sum over launches of the time of their operations or of their bytes, the longer one.
    """

    products: int = 0
    kernels: int = 0
    others: int = 0
    blocks: int = 0
    operations: float = 0
    moved: float = 0
    seconds: float = 0

    def add(self, operations: float, moved: float) -> None:
        self.operations += operations
        self.moved += moved
        self.seconds += max(operations / RATE, moved / BANDWIDTH)


class Counted(TorchDispatchMode):
    """Adds up what is called, except within `paused`."""

    def __init__(self) -> None:
        super().__init__()
        self.cost = Cost()
        self._active = True

    @contextmanager
    def paused(self) -> Iterator[None]:
        self._active = False
        try:
            yield
        finally:
            self._active = True

    def __torch_dispatch__(
        self, operation: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = operation(*args, **(kwargs or {}))
        name = operation.overloadpacket.__name__
        if not self._active or operation.is_view or name in WITHOUT_LAUNCH:
            return result
        moved = sum(x.numel() * x.element_size() for x in tree_leaves((args, kwargs, result)) if torch.is_tensor(x))
        if name == "mm":
            self.cost.products += 1
            self.cost.add(2 * args[0].shape[0] * args[0].shape[1] * args[1].shape[1], moved)
        else:
            self.cost.others += 1
            self.cost.add(0, moved)
        return result


def cost(form: Form, images: int, tokens: int, width: int) -> Cost:
    """The cost of value and gradient of a loss, in bf16 and compiled."""
    counted = Counted()
    blocks = [paper_block] if form == "paper" else [supcon_sums, supcon_weights]
    kernels = {(block.__name__, diagonal): kernels_of(block, diagonal) for block in blocks for diagonal in (False, True)}

    def stand_in(block: Callable[..., Any], products: torch.Tensor, *arguments: Any, diagonal: bool, **options: Any) -> Any:
        counted.cost.blocks += 1
        counted.cost.kernels += kernels[block.__name__, diagonal]
        counted.cost.add(0, PASSES[block.__name__][diagonal] * products.numel() * products.element_size())
        with counted.paused():
            return block(products, *arguments, diagonal=diagonal, **options)

    patches: dict[str, Any] = {block.__name__: partial(stand_in, block) for block in blocks}
    size = {"cpu": BLOCK_ELEMENTS["cuda"]}
    with mock.patch.multiple(contrastive, **patches), mock.patch.dict(BLOCK_ELEMENTS, size), FakeTensorMode():
        sample = torch.empty(images, tokens, width, dtype=torch.bfloat16, requires_grad=True)
        with torch.autocast("cpu", torch.bfloat16), counted:
            contrastive_loss(sample, form).backward()
    return counted.cost


def kernels_of(block: Callable[..., Any], diagonal: bool) -> int:
    """Number of kernels that Inductor generates for a function of a block."""
    products, denominators = torch.rand(64, 64, dtype=torch.bfloat16), torch.rand(64)
    arguments: dict[str, tuple[Any, ...]] = {
        "paper_block": (products, 16, 1.0),
        "supcon_sums": (products, 0.07),
        "supcon_weights": (products, denominators, denominators, 0.07),
    }
    options = {"weighted": True} if block is paper_block else {}
    metrics.reset()
    with torch.no_grad():
        compiled_block(block)(*arguments[block.__name__], diagonal=diagonal, **options)
    return metrics.generated_kernel_count


def report_cost(images: int, tokens: int, width: int) -> None:
    print(f"\ncontrastive loss of {images} x {tokens} tokens of {width} on a GPU: computed, not measured")
    titles = ("blocks", "launches", "products", "in blocks", "others", "TFLOP", "GB", "floor")
    print(f"{'':<8}" + "".join(f"{title:>11}" for title in titles))
    for form in ("paper", "supcon"):
        found = cost(form, images, tokens, width)
        launches = found.products + found.kernels + found.others
        print(
            f"{form:<8}{found.blocks:>11}{launches:>11}{found.products:>11}{found.kernels:>11}{found.others:>11}"
            f"{found.operations / 1e12:>11.2f}{found.moved / 1e9:>11.1f}{found.seconds * 1e3:>8.1f} ms",
            flush=True,
        )
