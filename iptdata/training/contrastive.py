"""The contrastive losses of IPT over the body's output tokens, block by block, in memory linear in the number of tokens.

With f_j^a the unit vector of token a of image j, B images, N tokens each, and d the scalar product:

`paper` (Chen et al., CVPR 2021, equation 5, where the temperature t is 1), averaged over j, a, b:
    -log( exp(d(f_j^a, f_j^b) / t) / sum_{k != j} exp(d(f_j^a, f_k^b) / t) )

`supcon` (Khosla et al., "Supervised Contrastive Learning", NeurIPS 2020, as the authors' training code for MindSpore has it,
with t = 0.07), averaged over tokens i and then over their positives p, the other tokens of the same image:
    -log( exp(d(f_i, f_p) / t) / sum_{q != i} exp(d(f_i, f_q) / t) )

The numerators need no matrix: the sum of d over all pairs of tokens of an image is |sum_a f_j^a|^2. The denominators are
sums over blocks of the matrix of all scalar products, which is symmetric, so only one half is computed. The gradient is
computed together with the value, and the backward pass only scales it. With several ranks each gathers the tokens of all and
computes its share of the blocks.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import torch
from torch.nn.functional import normalize

from iptdata.errors import ModelError
from iptdata.training.ranks import Ranks

Form = Literal["paper", "supcon"]
TEMPERATURES: dict[Form, float] = {"paper": 1.0, "supcon": 0.07}  # default of each form
_BLOCK_ELEMENTS = 1 << 22
_SINGLE = Ranks()

Compute = Callable[[torch.Tensor, torch.Tensor | None, Ranks, float], torch.Tensor]


def contrastive_loss(
    tokens: torch.Tensor,
    form: Form = "paper",
    ranks: Ranks = _SINGLE,
    images: Sequence[int] | None = None,
    temperature: float | None = None,
) -> torch.Tensor:
    """The contrastive loss of a batch.

    Args:
        tokens: (B, N, E), any floating type: tokens of this rank's images. Sums are float32, and so are products except on a
            GPU under bf16 autocast.
        form: Which of the two losses.
        ranks: The ranks that the batch is spread over.
        images: Number of images of each rank; all in this process by default.
        temperature: t in the formulas, at least 0.025, so that exp(-2 / t) is a normal float32; by default that of the form.

    Returns:
        A scalar, float32, the same on all ranks. Its gradient is that of the loss of the whole batch.

    Raises:
        ModelError: When there are fewer than 2 images ("paper") or 2 tokens per image ("supcon").
    """
    counts = [len(tokens)] if images is None else list(images)
    check_size(form, sum(counts), tokens.shape[1])
    unit = normalize(tokens.float(), dim=-1)
    compute = _paper if form == "paper" else _supcon
    t = TEMPERATURES[form] if temperature is None else temperature
    return _Blockwise.apply(unit, compute, ranks, counts, t)  # pyright: ignore[reportReturnType]


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


class _Blockwise(torch.autograd.Function):
    """A loss whose gradient is computed together with its value, for the images of all ranks."""

    @staticmethod
    def forward(ctx: Any, own: torch.Tensor, compute: Compute, ranks: Ranks, counts: Sequence[int], t: float) -> torch.Tensor:
        unit = ranks.rows(own, counts)
        gradient = torch.zeros_like(unit) if ctx.needs_input_grad[0] else None
        value = compute(unit, gradient, ranks, t)
        start = sum(counts[: ranks.rank])
        ctx.save_for_backward(*([] if gradient is None else [gradient[start : start + len(own)].clone()]))
        return value

    @staticmethod
    def backward(ctx: Any, *outputs: torch.Tensor) -> tuple[torch.Tensor, None, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * outputs[0], None, None, None, None


def _paper(unit: torch.Tensor, gradient: torch.Tensor | None, ranks: Ranks, t: float) -> torch.Tensor:
    """Value of the paper's form; adds its gradient to `gradient`, (B, N, E).

    For tokens a and b the products of all images are a matrix (B, B), which holds whole denominators: those of (a, b) are sums
    over its rows, those of (b, a) over its columns.
    """
    images, count, _ = unit.shape
    terms = images * count * count
    sums = unit.sum(1)  # B, E
    if gradient is not None:
        gradient -= 2 / (t * terms) * sums[:, None]
    columns = unit.transpose(0, 1).contiguous()  # N, B, E
    slope = None if gradient is None else torch.zeros_like(columns)
    value = unit.new_zeros(())
    own = torch.eye(images, dtype=torch.bool, device=unit.device)
    for first, second in _upper_blocks(count, images, ranks):
        products = torch.einsum("aje,bke->abjk", columns[first], columns[second])
        exponentials = _scaled_exponentials(products, t).masked_fill_(own, 0.0)
        if first == second:  # both (a, b) and (b, a) are in the block
            rows = exponentials.sum(-1, keepdim=True)
            value += rows.log().sum() / terms
            weights = exponentials.div_(rows)
        else:
            rows, across = exponentials.sum(-1, keepdim=True), exponentials.sum(-2, keepdim=True)
            value += (rows.log().sum() + across.log().sum()) / terms
            weights = exponentials.mul_(rows.reciprocal() + across.reciprocal())
        if slope is not None:
            slope[first] += torch.einsum("abjk,bke->aje", weights, columns[second]) / (t * terms)
            slope[second] += torch.einsum("abjk,aje->bke", weights, columns[first]) / (t * terms)
    if gradient is not None and slope is not None:
        gradient += ranks.add(slope).transpose(0, 1)
    return ranks.add(value) + _shift(t) - (sums * sums).sum() / (t * terms)


def _supcon(unit: torch.Tensor, gradient: torch.Tensor | None, ranks: Ranks, t: float) -> torch.Tensor:
    """Value of the supervised contrastive form; adds its gradient to `gradient`, (B, N, E)."""
    images, count, width = unit.shape
    total, positives = images * count, count - 1
    sums = unit.sum(1)
    value = -((sums * sums).sum() - (unit * unit).sum()) / (t * positives * total)
    flat = unit.reshape(total, width)
    denominators = torch.zeros(total, device=unit.device)
    for first, second in _upper_blocks(total, 1, ranks):
        exponentials = _of_other_tokens(flat, first, second, t)
        denominators[first] += exponentials.sum(1)
        if first != second:
            denominators[second] += exponentials.sum(0)
    ranks.add(denominators)
    value = value + (denominators.log() + _shift(t)).mean()
    if gradient is not None:
        gradient -= 2 / (t * positives * total) * (sums[:, None] - unit)
        slope = torch.zeros_like(flat)
        inverse = denominators.reciprocal()
        for first, second in _upper_blocks(total, 1, ranks):
            weights = _of_other_tokens(flat, first, second, t)
            weights.mul_(inverse[first, None] + (0 if first == second else inverse[second]))
            slope[first] += weights @ flat[second]
            slope[second] += weights.T @ flat[first]
        gradient += ranks.add(slope).view_as(unit) / (t * total)
    return value


def _of_other_tokens(flat: torch.Tensor, first: slice, second: slice, t: float) -> torch.Tensor:
    """exp(d / t - shift) of the tokens of two blocks, 0 for a token with itself."""
    exponentials = _scaled_exponentials(torch.mm(flat[first], flat[second].T), t)
    return exponentials.fill_diagonal_(0.0) if first == second else exponentials


def _scaled_exponentials(products: torch.Tensor, t: float) -> torch.Tensor:
    """exp(d / t - shift) of products d <= 1, float32, in place where they are float32."""
    exponents = products.float()
    return exponents.exp_() if t == 1 else exponents.sub_(1).div_(t).exp_()


def _shift(t: float) -> float:
    """What exponents are reduced by, so that none overflows; nothing for t = 1, where exp(1) cannot, which saves two passes."""
    return 0.0 if t == 1 else 1 / t


def _upper_blocks(count: int, inner: int, ranks: Ranks) -> Iterator[tuple[slice, slice]]:
    """Pairs of slices of 0..count-1, the second not before the first, of at most `_BLOCK_ELEMENTS` entries of inner x inner.

    Each pair is given to one rank, in turn.
    """
    side = max(1, int((_BLOCK_ELEMENTS / (inner * inner)) ** 0.5))
    slices = [slice(start, min(start + side, count)) for start in range(0, count, side)]
    pairs = ((first, second) for index, first in enumerate(slices) for second in slices[index:])
    return itertools.islice(pairs, ranks.rank, None, ranks.size)
