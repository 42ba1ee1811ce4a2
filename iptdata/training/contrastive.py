"""The contrastive losses of IPT over the body's output tokens, block by block, in memory linear in the number of tokens.

With f_j^a the unit vector of token a of image j, B images, N tokens each, and d the scalar product:

`paper` (Chen et al., CVPR 2021, equation 5, where the temperature t is 1), averaged over j, a, b:
    -log( exp(d(f_j^a, f_j^b) / t) / sum_{k != j} exp(d(f_j^a, f_k^b) / t) )

`supcon` (Khosla et al., "Supervised Contrastive Learning", NeurIPS 2020, as the authors' training code for MindSpore has it,
with t = 0.07), averaged over tokens i and then over their positives p, the other tokens of the same image:
    -log( exp(d(f_i, f_p) / t) / sum_{q != i} exp(d(f_i, f_q) / t) )

The numerators need no matrix: the sum of d over all pairs of tokens of an image is |sum_a f_j^a|^2. The denominators are
sums over blocks of the matrix of all scalar products (`contrastive_blocks`). The gradient is computed together with the value,
and the backward pass only scales it. With several ranks each gathers the tokens of all, in the precision of the products, and
computes its share of the blocks.
"""

import functools
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch.nn.functional import normalize

from iptdata.errors import ModelError
from iptdata.model.compiled import compile_error
from iptdata.training.contrastive_blocks import (
    compiled_block,
    paper_block,
    shift,
    supcon_sums,
    supcon_weights,
    upper_blocks,
)
from iptdata.training.ranks import Ranks

Form = Literal["paper", "supcon"]
TEMPERATURES: dict[Form, float] = {"paper": 1.0, "supcon": 0.07}  # default of each form
_SINGLE = Ranks()


def contrastive_loss(
    tokens: torch.Tensor,
    form: Form = "paper",
    ranks: Ranks = _SINGLE,
    images: Sequence[int] | None = None,
    temperature: float | None = None,
    *,
    compiled: bool | None = None,
) -> torch.Tensor:
    """The contrastive loss of a batch.

    Args:
        tokens: (B, N, E), any floating type: tokens of this rank's images. Products are in the type of autocast, float32
            without it; sums are float32.
        form: Which of the two losses.
        ranks: The ranks that the batch is spread over.
        images: Number of images of each rank; all in this process by default.
        temperature: t in the formulas, at least 0.025, so that exp(-2 / t) is a normal float32; by default that of the form.
        compiled: Whether what is done to a block after its product is compiled; by default on a GPU, if `torch.compile` works.

    Returns:
        A scalar, float32, the same on all ranks. Its gradient is that of the loss of the whole batch.

    Raises:
        ModelError: When there are fewer than 2 images ("paper") or 2 tokens per image ("supcon").
    """
    counts = [len(tokens)] if images is None else list(images)
    check_size(form, sum(counts), tokens.shape[1])
    t = TEMPERATURES[form] if temperature is None else temperature
    kind = tokens.device.type
    precision = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else torch.float32
    if compiled is None:
        compiled = kind == "cuda" and _compiles(tokens.device)
    with torch.autocast(kind, enabled=False):
        unit = normalize(tokens.float(), dim=-1)
        batch = _Batch(ranks, counts, t, precision, compiled)
        return _Blockwise.apply(unit, form, batch)  # pyright: ignore[reportReturnType]


@functools.cache
def _compiles(device: torch.device) -> bool:
    """Whether `torch.compile` works, tried once, since every step asks."""
    return compile_error(device) is None


def check_size(form: Form, images: int, tokens: int) -> None:
    """Check that a batch is large enough for a loss.

    Args:
        form: Which of the two losses.
        images: Number of images of all ranks.
        tokens: Number of tokens per image.

    Raises:
        ModelError: When there are fewer than 2 images ("paper") or 2 tokens per image ("supcon").
    """
    if form == "paper" and images < 2:
        raise ModelError(
            f"found {images} image in a batch or a part of it, but the contrastive loss compares at least 2",
            hint="Pass a larger `batch_size`, a smaller `accumulate` or `contrastive_form=supcon`",
        )
    if form == "supcon" and tokens < 2:
        raise ModelError(
            f"found {tokens} token per image, but the supcon loss compares at least 2",
            hint="Pass a larger `contrastive_tokens`",
        )


class _Batch(NamedTuple):
    """What a loss needs in addition to the tokens of this rank's images.

    Attributes:
        ranks: The ranks that the batch is spread over.
        counts: Number of images of each rank.
        t: The temperature.
        precision: Type of the operands of products.
        compiled: Whether blocks are compiled.
    """

    ranks: Ranks
    counts: list[int]
    t: float
    precision: torch.dtype
    compiled: bool


class _Blockwise(torch.autograd.Function):
    """A loss whose gradient is computed together with its value, for the images of all ranks."""

    @staticmethod
    def forward(ctx: Any, own: torch.Tensor, form: Form, batch: _Batch) -> torch.Tensor:
        compute = _paper if form == "paper" else _supcon
        value, gradient = compute(own, batch, weighted=ctx.needs_input_grad[0])
        ctx.save_for_backward(*([] if gradient is None else [gradient]))
        return value

    @staticmethod
    def backward(ctx: Any, *outputs: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * outputs[0], None, None


def _paper(own: torch.Tensor, batch: _Batch, *, weighted: bool) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Value of the paper's form, and its gradient (B, N, E) with respect to the unit vectors of this rank's images."""
    ranks, counts, t, precision, compiled = batch
    of_block = compiled_block(paper_block) if compiled else paper_block
    _, count, width = own.shape
    images = sum(counts)
    terms = images * count * count
    sums = own.sum(1)  # B, E
    rows = ranks.rows(own.to(precision), counts)
    flat = rows.transpose(0, 1).reshape(count * images, width)  # token by token, so that a block is one product of matrices
    slope = torch.zeros(flat.shape, device=own.device) if weighted else None
    blocks = list(upper_blocks(count, images, own.device, ranks))
    # Not a list: small tensors that stay between blocks can keep a CPU's allocator from using the memory of a block again.
    logarithms = torch.zeros(len(blocks), device=own.device)
    for index, (first, second) in enumerate(blocks):
        products = torch.mm(flat[first], flat[second].T)
        of_rows, weights = of_block(products, images, t, diagonal=first == second, weighted=weighted)
        logarithms[index] = of_rows
        if slope is not None and weights is not None:
            _add_weighted(slope, weights, flat, first, second)
    value = ranks.add((logarithms.sum() - (sums * sums).sum() / t) / terms) + shift(t)
    if slope is None:
        return value, None
    gradient = ranks.own_sum(slope.view(count, images, width).transpose(0, 1), counts)
    return value, (gradient - 2 * sums[:, None]) / (t * terms)


def _supcon(own: torch.Tensor, batch: _Batch, *, weighted: bool) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Value of the supervised contrastive form, and its gradient (B, N, E) as in `_paper`."""
    ranks, counts, t, precision, compiled = batch
    of_sums, of_weights = supcon_sums, supcon_weights
    if compiled:
        of_sums, of_weights = compiled_block(of_sums), compiled_block(of_weights)
    _, count, width = own.shape
    total, positives = sum(counts) * count, count - 1
    sums = own.sum(1)  # B, E
    flat = ranks.rows(own.to(precision), counts).reshape(total, width)
    denominators = torch.zeros(total, device=own.device)
    for first, second in upper_blocks(total, 1, own.device, ranks):
        of_rows, of_columns = of_sums(torch.mm(flat[first], flat[second].T), t, diagonal=first == second)
        denominators[first].add_(of_rows)
        if of_columns is not None:
            denominators[second].add_(of_columns)
    ranks.add(denominators)
    numerators = ranks.add(((sums * sums).sum() - (own * own).sum()) / (t * positives * total))
    value = denominators.log().mean() + shift(t) - numerators
    if not weighted:
        return value, None
    slope = torch.zeros(flat.shape, device=own.device)
    inverse = denominators.reciprocal()
    for first, second in upper_blocks(total, 1, own.device, ranks):
        products = torch.mm(flat[first], flat[second].T)
        weights = of_weights(products, inverse[first], inverse[second], t, diagonal=first == second)
        _add_weighted(slope, weights, flat, first, second)
    gradient = ranks.own_sum(slope.view(-1, count, width), counts)
    return value, (gradient - 2 / positives * (sums[:, None] - own)) / (t * total)


def _add_weighted(slope: torch.Tensor, weights: torch.Tensor, flat: torch.Tensor, first: slice, second: slice) -> None:
    """Add the gradient of a block; the weights of a block on the diagonal are symmetric and hold both directions."""
    slope[first].add_(torch.mm(weights, flat[second]))
    if first != second:
        slope[second].add_(torch.mm(weights.T, flat[first]))
