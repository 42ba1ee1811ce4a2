"""One training step: losses, gradients, and the update of the weights."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import nn

from iptdata import rng
from iptdata.errors import ModelError, shown
from iptdata.model.weights import matched, tensors_of
from iptdata.stream.device import DeviceBatch
from iptdata.stream.share import Share
from iptdata.training.clipping import Per, clip_gradients
from iptdata.training.contrastive import Form, contrastive_loss
from iptdata.training.ranks import Ranks
from iptdata.training.reduction import Reduction
from iptdata.training.state import optimizer_state


class Losses(NamedTuple):
    """Losses of a step over the whole batch, scalars on the device.

    Attributes:
        l1: Mean absolute error on 0..255.
        contrastive: Contrastive loss before it is weighted.
        finite: 1, or 0 if the step was skipped.
    """

    l1: torch.Tensor
    contrastive: torch.Tensor
    finite: torch.Tensor


class Contrast(NamedTuple):
    """The contrastive part of the loss.

    Attributes:
        weight: Factor of the contrastive loss; 0 leaves it out.
        form: Which of the losses of `contrastive`.
        tokens: How many randomly sampled tokens per image are compared; None for all.
        seed: Seed of the sample.
        temperature: Temperature of the loss; None for that of the form.
        compiled: Whether its blocks are compiled; None for the default of `contrastive_loss`.
    """

    weight: float
    form: Form
    tokens: int | None
    seed: int
    temperature: float | None = None
    compiled: bool | None = None


class Learner:
    """A network in training: L1 on 0..255 plus the weighted contrastive loss, Adam(0.9, 0.999).

    Loss and gradient equal those of one process with the whole batch. A step whose loss or gradient is not finite leaves the
    weights unchanged. With `accumulate` above 1 a batch is split into that many parts; the contrastive loss then compares the
    images within a part.

    Args:
        model: The network, on the device of `ranks`.
        heads: Index of each task's head.
        ranks: The ranks that train together.
        batch_size: Pairs per step over all ranks.
        accumulate: Number of parts of a batch.
        contrast: The contrastive part of the loss.
        bf16: Whether to run the network under bf16 autocast.
        clip: Maximum L2 norm of the gradient; None for no clipping.
        clip_per: What has this norm: the gradient of the whole network, or of each of its tensors.
        ema: Decay of the running mean of the weights; None for no mean.

    Attributes:
        model: The network.
        heads: Index of each task's head.
        bf16: Whether the network runs under bf16 autocast.
        contrast: The contrastive part of the loss.
        optimizer: The optimizer of the trained weights.
        mean: Running mean of the weights; None without `ema`.
    """

    def __init__(
        self,
        model: nn.Module,
        heads: Mapping[str, int],
        ranks: Ranks,
        *,
        batch_size: int,
        accumulate: int,
        contrast: Contrast,
        bf16: bool,
        clip: float | None,
        ema: float | None,
        clip_per: Per = "network",
    ) -> None:
        self.model = model
        self.heads: dict[str, int] = dict(heads)
        self.bf16 = bf16
        self._ranks = ranks
        self._share = Share(batch_size=batch_size, rank=ranks.rank, world_size=ranks.size)
        self._parts = parts_of(batch_size, ranks.size, accumulate)
        self.contrast = contrast
        self._clip = clip
        self._clip_per: Per = clip_per
        self._reduction = Reduction(model, ranks)
        self._trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.optimizer: torch.optim.Adam = torch.optim.Adam(self._trained, betas=(0.9, 0.999), fused=True)
        self.mean: WeightAverage | None = None if ema is None else WeightAverage(model, ema)

    def autocast(self) -> AbstractContextManager[Any]:
        """The context in which the network runs."""
        return torch.autocast(self._ranks.device.type, torch.bfloat16, enabled=self.bf16)

    def weights(self) -> dict[str, torch.Tensor]:
        """The weights to use, by name: the running mean if there is one."""
        return self.model.state_dict() | ({} if self.mean is None else self.mean.weights)

    def state_dict(self) -> dict[str, Any]:
        """State that is needed to resume, in addition to `weights`."""
        return {"optimizer": self.optimizer.state_dict(), "trained": None if self.mean is None else self.model.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from a state; the network must have the `weights` already.

        Raises:
            ModelError: When it is not the state of this network.
        """
        own = self.optimizer.state_dict()
        means = optimizer_state(state.get("optimizer"), self._trained)
        self.optimizer.load_state_dict(own | {"state": means})  # options such as betas are ours, not those of a file
        if (trained := state.get("trained")) is not None:
            where = "the weights in training are damaged"
            found = tensors_of(trained, where)
            if found is None:
                raise ModelError(f"{where}: found {shown(trained)}, expected tensors by name")
            self.model.load_state_dict(matched(found, self.model.state_dict(), where))

    def restore(self, corrupted: torch.Tensor, task: str) -> torch.Tensor:
        """Restore (N, 3, h, w) on 0..255 to (N, 3, H, W) on 0..255 with the weights in training."""
        with torch.no_grad(), self.autocast(), torch.compiler.set_stance("force_eager"):
            return self.model(corrupted, self.heads[task])[0].float()

    def step(self, batch: DeviceBatch, step_index: int, lr: float) -> Losses:
        """Train on this rank's rows of a batch.

        Args:
            batch: This rank's rows.
            step_index: Index of the step, from 0, which the sample of tokens depends on.
            lr: Learning rate.
        """
        self.optimizer.zero_grad(set_to_none=True)
        sampled = self._sampled_tokens(step_index)
        sums = torch.zeros(2, device=self._ranks.device)
        for part_index, counts in enumerate(self._parts):
            with self._reduction.paused() if part_index + 1 < len(self._parts) else nullcontext():
                sums += self._part(batch, part_index, counts, sampled)
        self._reduction.finish()
        l1, contrastive = self._ranks.add(sums[0].clone()), sums[1]
        return Losses(l1, contrastive, self._update(lr, l1 + contrastive))

    def _part(self, batch: DeviceBatch, part_index: int, counts: Sequence[int], sampled: torch.Tensor | None) -> torch.Tensor:
        """Add the gradient of a part of the batch.

        Returns:
            (2,): the part's share of L1, of this rank's rows, and its share of the contrastive loss.
        """
        rank = self._ranks.rank
        start = sum(earlier[rank] for earlier in self._parts[:part_index])
        rows = slice(start, start + counts[rank])
        clean = batch.clean[rows]
        with self.autocast():
            restored, tokens = self._reduction.network(batch.corrupted[rows], self.heads[batch.task])
        l1 = (restored.float() - clean).abs().sum() / (self._share.batch_size * clean[0].numel())
        contrastive = l1.new_zeros(())
        if self.contrast.weight:
            if sampled is not None:
                tokens = tokens.gather(1, sampled[rows, :, None].expand(-1, -1, tokens.shape[-1]))
            with torch.autocast(tokens.device.type, torch.bfloat16, enabled=self.bf16 and tokens.is_cuda):
                form, temperature, compiled = self.contrast.form, self.contrast.temperature, self.contrast.compiled
                contrastive = contrastive_loss(tokens, form, self._ranks, counts, temperature, compiled=compiled)
            contrastive = contrastive * (sum(counts) / self._share.batch_size)
        loss = l1 + self.contrast.weight * contrastive
        (self._ranks.size * loss).backward()  # gradients are averaged over the ranks, and each has a part of the sum
        return torch.stack([l1, contrastive]).detach()

    def _update(self, lr: float, loss: torch.Tensor) -> torch.Tensor:
        """Clip the gradient and update the weights, unless gradient or loss is not finite.

        The optimizer gets the flag on the device, so that the host does not wait for the result.

        Returns:
            A scalar on the device, 1 if both are finite, else 0.
        """
        norm = clip_gradients(self._trained, self._clip, self._clip_per)
        finite = (norm + loss).isfinite().float()
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        cast(Any, self.optimizer).found_inf = 1 - finite
        self.optimizer.step()
        if self.mean is not None:
            self.mean.update()
        return finite

    def _sampled_tokens(self, step_index: int) -> torch.Tensor | None:
        """Indices of the tokens that are compared, (rows, K), int64, the same for an image on any rank; None for all."""
        count = self.contrast.tokens
        total = getattr(self.model.config, "tokens", 0)
        if not self.contrast.weight or count is None or count >= total:
            return None
        share = self._share
        words = rng.raw_words(rng.digest("tokens", self.contrast.seed, step_index), share.batch_size * total)
        sampled = np.argsort(words.reshape(share.batch_size, total)[share.start : share.stop], axis=1)[:, :count]
        indices = torch.from_numpy(sampled)
        return indices.pin_memory().to(self._ranks.device, non_blocking=True) if self._ranks.device.type == "cuda" else indices


class WeightAverage:
    """A running mean of a network's weights: mean <- decay * mean + (1 - decay) * weights after every step.

    Args:
        model: The network.
        decay: Weight of the old mean, between 0 and 1.

    Attributes:
        weights: The mean of each parameter by name.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._parameters = dict(model.named_parameters())
        self._decay = decay
        self.weights: dict[str, torch.Tensor] = {
            name: parameter.detach().clone() for name, parameter in self._parameters.items()
        }

    def update(self) -> None:
        """Add the current weights to the mean."""
        with torch.no_grad():
            torch._foreach_lerp_(  # pyright: ignore[reportPrivateImportUsage]
                list(self.weights.values()), list(self._parameters.values()), 1 - self._decay
            )

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Use the mean weights in the network within the block."""
        kept = {name: parameter.detach().clone() for name, parameter in self._parameters.items()}
        try:
            self._fill(self.weights)
            yield
        finally:
            self._fill(kept)

    @torch.no_grad()
    def _fill(self, weights: Mapping[str, torch.Tensor]) -> None:
        for name, parameter in self._parameters.items():
            parameter.copy_(weights[name])


def parts_of(batch_size: int, ranks: int, accumulate: int) -> list[list[int]]:
    """Number of rows of each rank (inner list) in each part of a batch (outer list)."""
    rows = [Share(batch_size=batch_size, rank=rank, world_size=ranks).rows for rank in range(ranks)]
    return [[count * (part + 1) // accumulate - count * part // accumulate for count in rows] for part in range(accumulate)]
