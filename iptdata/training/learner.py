"""What one step does to a network: losses, gradients, and the update of the weights."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from iptdata import rng
from iptdata.stream.device import DeviceBatch
from iptdata.stream.share import Share
from iptdata.training.contrastive import Form, contrastive_loss
from iptdata.training.ranks import Ranks


class Losses(NamedTuple):
    """What a step measured, as scalars on the device, of the whole batch.

    Attributes:
        l1: on 0..255; contrastive: before it is weighted; finite: 1, or 0 where the step was skipped.
    """

    l1: torch.Tensor
    contrastive: torch.Tensor
    finite: torch.Tensor


class Contrast(NamedTuple):
    """The contrastive part of the loss.

    Attributes:
        weight: 0 leaves it out; tokens: how many of an image it sees, None for all; seed: of their choice.
    """

    weight: float
    form: Form
    tokens: int | None
    seed: int


class Learner:
    """A network in training: L1 on 0..255 plus the weighted contrastive loss, Adam(0.9, 0.999).

    Loss and gradient are those of one process with the whole batch. A step whose loss or gradient is not finite leaves the
    weights as they were. With `accumulate` above 1 a batch goes through the network in so many parts; the contrastive loss then
    compares the images of a part.

    Args:
        model: on the device of `ranks`.
        heads: number of each task's head.
        batch_size: pairs a step over all ranks.
        bf16: run the network in bf16 where autocast does.
        clip: largest norm of the gradient.
        ema: decay of the running mean of the weights.
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
    ) -> None:
        self.model = model
        self.heads = dict(heads)
        self.bf16 = bf16
        self._ranks = ranks
        self._share = Share(batch_size=batch_size, rank=ranks.rank, world_size=ranks.size)
        self._parts = parts_of(batch_size, ranks.size, accumulate)
        self.contrast = contrast
        self._clip = clip
        self._trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.Adam(self._trained, betas=(0.9, 0.999), fused=True)
        self.mean = None if ema is None else WeightAverage(model, ema)
        self._network = model if ranks.size == 1 else _distributed(model, ranks, several=len(heads) > 1)

    def autocast(self) -> AbstractContextManager[Any]:
        """Where the network runs."""
        return torch.autocast(self._ranks.device.type, torch.bfloat16, enabled=self.bf16)

    def weights(self) -> dict[str, torch.Tensor]:
        """The weights to use, by name: the running mean where there is one."""
        return self.model.state_dict() | ({} if self.mean is None else self.mean.weights)

    def state_dict(self) -> dict[str, Any]:
        """What it takes to go on besides `weights`."""
        return {"optimizer": self.optimizer.state_dict(), "trained": None if self.mean is None else self.model.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state; the network has the `weights` already."""
        self.optimizer.load_state_dict(state["optimizer"])
        if state["trained"] is not None:
            self.model.load_state_dict(state["trained"])

    def restore(self, corrupted: torch.Tensor, task: str) -> torch.Tensor:
        """(N, 3, h, w) on 0..255 to (N, 3, H, W) on 0..255, by the weights in training."""
        with torch.no_grad(), self.autocast(), torch.compiler.set_stance("force_eager"):
            return self.model(corrupted, self.heads[task])[0].float()

    def step(self, batch: DeviceBatch, number: int, rate: float) -> Losses:
        """One step on this rank's rows of a batch.

        Args:
            number: of the step, which the choice of tokens depends on.
            rate: learning rate.
        """
        self.optimizer.zero_grad(set_to_none=True)
        chosen = self._chosen_tokens(number)
        sums = torch.zeros(2, device=self._ranks.device)
        for index, counts in enumerate(self._parts):
            with self._quiet() if index + 1 < len(self._parts) else nullcontext():
                sums += self._part(batch, index, counts, chosen)
        l1, contrastive = self._ranks.add(sums[0].clone()), sums[1]
        return Losses(l1, contrastive, self._update(rate, l1 + contrastive))

    def _part(self, batch: DeviceBatch, index: int, counts: Sequence[int], chosen: torch.Tensor | None) -> torch.Tensor:
        """Add the gradient of a part of the batch; its share of L1 (of this rank's rows) and of the contrastive loss."""
        rank = self._ranks.rank
        start = sum(earlier[rank] for earlier in self._parts[:index])
        rows = slice(start, start + counts[rank])
        clean = batch.clean[rows]
        with self.autocast():
            restored, tokens = self._network(batch.corrupted[rows], self.heads[batch.task])
        l1 = (restored.float() - clean).abs().sum() / (self._share.batch_size * clean[0].numel())
        contrastive = l1.new_zeros(())
        if self.contrast.weight:
            if chosen is not None:
                tokens = tokens.gather(1, chosen[rows, :, None].expand(-1, -1, tokens.shape[-1]))
            with torch.autocast(tokens.device.type, torch.bfloat16, enabled=self.bf16 and tokens.is_cuda):
                contrastive = contrastive_loss(tokens, self.contrast.form, self._ranks, counts)
            contrastive = contrastive * (sum(counts) / self._share.batch_size)
        loss = l1 + self.contrast.weight * contrastive
        (self._ranks.size * loss).backward()  # DDP takes the mean over the ranks, and each has its part of the sum
        return torch.stack([l1, contrastive]).detach()

    def _update(self, rate: float, loss: torch.Tensor) -> torch.Tensor:
        """Clip the gradient and step, unless it or the loss is not finite; 1 where they are, else 0.

        The optimiser is told on the device, so that nothing waits for the result.
        """
        norm = nn.utils.get_total_norm([parameter.grad for parameter in self._trained if parameter.grad is not None])
        if self._clip is not None:
            nn.utils.clip_grads_with_norm_(self._trained, self._clip, norm)
        finite = (norm + loss).isfinite().float()
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        cast(Any, self.optimizer).found_inf = 1 - finite
        self.optimizer.step()
        if self.mean is not None:
            self.mean.update()
        return finite

    def _chosen_tokens(self, number: int) -> torch.Tensor | None:
        """Which tokens of each image of this rank are compared: int64 (rows, K); for an image the same on any rank."""
        count = self.contrast.tokens
        total = getattr(self.model.config, "tokens", 0)
        if not self.contrast.weight or count is None or count >= total:
            return None
        share = self._share
        words = rng.raw_words(rng.digest("tokens", self.contrast.seed, number), share.batch_size * total)
        chosen = np.argsort(words.reshape(share.batch_size, total)[share.start : share.stop], axis=1)[:, :count]
        indices = torch.from_numpy(chosen)
        return indices.pin_memory().to(self._ranks.device, non_blocking=True) if self._ranks.device.type == "cuda" else indices

    def _quiet(self) -> AbstractContextManager[Any]:
        """Gradients stay here until the last part of a batch."""
        return self._network.no_sync() if isinstance(self._network, DistributedDataParallel) else nullcontext()


class WeightAverage:
    """A running mean of a network's weights: mean <- decay * mean + (1 - decay) * weights after every step."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._parameters = dict(model.named_parameters())
        self._decay = decay
        self.weights = {name: parameter.detach().clone() for name, parameter in self._parameters.items()}

    def update(self) -> None:
        with torch.no_grad():
            torch._foreach_lerp_(  # pyright: ignore[reportPrivateImportUsage]
                list(self.weights.values()), list(self._parameters.values()), 1 - self._decay
            )

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The network has the mean weights for the length of the block."""
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
    """Rows of each rank (inner list) in each part of a batch (outer list)."""
    rows = [Share(batch_size=batch_size, rank=rank, world_size=ranks).rows for rank in range(ranks)]
    return [[count * (part + 1) // accumulate - count * part // accumulate for count in rows] for part in range(accumulate)]


def _distributed(model: nn.Module, ranks: Ranks, *, several: bool) -> DistributedDataParallel:
    """The network with gradients that are means over the ranks; with several tasks a step leaves some heads out."""
    old, new = "broadcast_buffers", "forward_sync_buffers"  # buffers are constants
    name = new if new in inspect.signature(DistributedDataParallel).parameters else old
    options: dict[str, Any] = {name: False, "find_unused_parameters": several, "gradient_as_bucket_view": True}
    return DistributedDataParallel(model, device_ids=[ranks.device] if ranks.device.type == "cuda" else None, **options)
