"""Blocks of the matrix of all scalar products, which the contrastive losses are sums over.

The matrix is symmetric, so only blocks on and above its diagonal are computed. What is done to a block after its product is one
function without side effects, which runs as it is or compiled to a few kernels that do not write what lies between.
"""

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch

from iptdata.training.ranks import Ranks

# A CPU wants a block in its cache. On a GPU a block must hide the time of its launches: 2^22 took 9 times as long on an H100.
BLOCK_ELEMENTS = {"cpu": 1 << 21, "cuda": 1 << 26}
_BLOCKS_PER_RANK = 4  # at least, so that none waits long for the one that has a block more
# Whole or last slice on either side, on the diagonal or not, with gradient or not, for the two sizes of parts of a batch: 16.
_SHAPES = 32

Function = TypeVar("Function", bound=Callable[..., object])


def upper_blocks(count: int, inner: int, device: torch.device, ranks: Ranks) -> Iterator[tuple[slice, slice]]:
    """Pairs of slices of 0..count-1, the second not before the first.

    Args:
        count: Number of rows of blocks, each of `inner` rows of the matrix.
        inner: Side of what is not divided: the images for `paper`, 1 for `supcon`.
        device: Where blocks are computed, which their size depends on.
        ranks: Each pair is given to one of these, in turn.

    Returns:
        Slices of the rows of the matrix. A block has at most `BLOCK_ELEMENTS` elements, or inner x inner where that is more.
    """
    side = int((BLOCK_ELEMENTS[device.type] / (inner * inner)) ** 0.5)
    if ranks.size > 1:
        side = min(side, int(count / (2 * _BLOCKS_PER_RANK * ranks.size) ** 0.5))  # n slices have n (n + 1) / 2 blocks
    side = max(1, side)
    slices = [slice(start * inner, min(start + side, count) * inner) for start in range(0, count, side)]
    pairs = ((first, second) for index, first in enumerate(slices) for second in slices[index:])
    return itertools.islice(pairs, ranks.rank, None, ranks.size)


def compiled_block(function: Function) -> Function:
    """A function of this file, compiled anew for each shape of a block, of which a run has few."""
    return _compiled(function)


@functools.cache
def _compiled(function: Callable[..., object]) -> Any:
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, _SHAPES)
    return torch.compile(function, dynamic=False)


def shift(t: float) -> float:
    """What exponents are reduced by, so that none overflows; nothing for t = 1, where exp(1) cannot, which saves two passes."""
    return 0.0 if t == 1 else 1 / t


def paper_block(
    products: torch.Tensor, images: int, t: float, *, diagonal: bool, weighted: bool
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Logarithms of a block's denominators, and what its tokens are weighted with in the gradient.

    For tokens a and b the products of all images are a matrix (B, B), which holds whole denominators: those of (a, b) are sums
    over its rows, those of (b, a) over its columns. A block on the diagonal is symmetric: the sums over its rows
    are those over its columns, and those of all its pairs.

    Args:
        products: (a * B, b * B), scalar products of all images for a and b tokens; overwritten if float32.
        images: B.
        t: The temperature.
        diagonal: Whether rows and columns are the same tokens.
        weighted: Whether weights are needed.

    Returns:
        The sum of the logarithms, a float32 scalar; and weights of the shape and dtype of `products`, None if not `weighted`.
    """
    exponentials = _exponentials(products, t).view(products.shape[0] // images, images, -1, images)
    if torch.compiler.is_compiling():
        image = torch.arange(images, device=products.device)
        exponentials = exponentials.masked_fill(image[:, None, None] == image, 0.0)
    else:
        exponentials.diagonal(dim1=1, dim2=3).zero_()
    rows = exponentials.sum(3)  # a, B, b
    across = rows.permute(2, 0, 1) if diagonal else exponentials.sum(1)  # a, b, B
    logarithms = rows.log() if diagonal else rows.log() + across.transpose(1, 2).log()
    if not weighted:
        return logarithms.sum(), None
    weights = exponentials.mul_(rows.reciprocal()[..., None] + across.reciprocal()[:, None])
    return logarithms.sum(), weights.view(products.shape).to(products.dtype)


def supcon_sums(products: torch.Tensor, t: float, *, diagonal: bool) -> tuple[torch.Tensor, torch.Tensor | None]:
    """A block's part of denominators, the sums over its rows and over its columns of exp(d / t - shift).

    Args:
        products: (a, b), scalar products of tokens, overwritten if float32.
        t: The temperature.
        diagonal: Whether rows and columns are the same tokens; a token is then not compared with itself.

    Returns:
        (a,) and (b,), float32; None for the columns of a block on the diagonal, which are its rows.
    """
    exponentials = _of_other_tokens(products, t, diagonal)
    return exponentials.sum(1), None if diagonal else exponentials.sum(0)


def supcon_weights(
    products: torch.Tensor, first: torch.Tensor, second: torch.Tensor, t: float, *, diagonal: bool
) -> torch.Tensor:
    """What the tokens of a block are weighted with in the gradient, of the shape and dtype of `products`.

    Args:
        products: (a, b), scalar products of tokens, overwritten if float32.
        first: (a,), reciprocals of the denominators of the rows' tokens.
        second: (b,), those of the columns' tokens.
        t: The temperature.
        diagonal: Whether rows and columns are the same tokens.
    """
    weights = _of_other_tokens(products, t, diagonal).mul_(first[:, None] + second)
    return weights.to(products.dtype)


def _of_other_tokens(products: torch.Tensor, t: float, diagonal: bool) -> torch.Tensor:
    """exp(d / t - shift) of the tokens of a block, 0 for a token with itself."""
    exponentials = _exponentials(products, t)
    if not diagonal:
        return exponentials
    if torch.compiler.is_compiling():
        token = torch.arange(len(products), device=products.device)
        return exponentials.masked_fill(token[:, None] == token, 0.0)
    return exponentials.fill_diagonal_(0.0)


def _exponentials(products: torch.Tensor, t: float) -> torch.Tensor:
    """exp(d / t - shift) of products d <= 1, float32, in place where they are float32."""
    exponents = products.float()
    return exponents.exp_() if t == 1 else exponents.sub_(1).div_(t).exp_()
