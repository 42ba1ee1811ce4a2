"""IPT, the image processing transformer (Chen et al., "Pre-Trained Image Processing Transformer", CVPR 2021).

Shapes: B images, h x w pixels of an input patch, C features, tokens of p x p pixels, T = (h / p) * (w / p) tokens of
E = C * p * p values, N heads. Module names are those of the released checkpoints. What the paper leaves open follows the
released inference code, whose results are reproduced up to rounding (tests/model/test_ipt.py).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from iptdata.errors import ModelError
from iptdata.model.layers import LayerNorm, LayerRow
from iptdata.model.parts import MeanShift, TasksConfig, make_head, make_tail
from iptdata.options import option

_MAX_WIDTH = 2**20


@dataclass(frozen=True, kw_only=True)
class IPTConfig(TasksConfig):
    """Configuration of an IPT network.

    Attributes:
        tasks: Names of the tasks in the order of their heads; `PRETRAINED_TASKS` in the authors' pre-trained network.
        scales: Scale of each task's output, 1 to 4.
        n_feats: Number of features of head and tail, C.
        patch_size: Side of an input patch in pixels, h = w.
        patch_dim: Side of a token in pixels, p.
        num_heads: Number of attention heads, N.
        num_layers: Number of layers of the encoder, and of the decoder.
        no_norm: Leave out layer normalisation.
        no_mlp: Leave out the linear layer before the encoder, the MLP after the decoder, and the task queries.
        pos_every: Add positions in every layer instead of before the encoder; without positions it changes nothing.
        no_pos: Leave out positions. The released code fails when both are set; here the network is that of `no_pos` alone.

    Raises:
        ModelError: When a value has the wrong type or is out of range, or tokens do not fit patches or heads.
    """

    n_feats: int = option(64, min=1, help="Number of features of head and tail.")
    patch_size: int = option(48, min=1, unit="pixels", help="Side of an input patch.")
    patch_dim: int = option(3, min=1, unit="pixels", help="Side of a token.")
    num_heads: int = option(12, min=1, help="Number of attention heads.")
    num_layers: int = option(12, min=1, help="Number of layers of the encoder, and of the decoder.")
    no_norm: bool = option(False, help="Leave out layer normalisation.")
    no_mlp: bool = option(
        False, help="Leave out the linear layer before the encoder, the MLP after the decoder, and the task queries."
    )
    pos_every: bool = option(False, help="Add positions in every layer.")
    no_pos: bool = option(False, help="Leave out positions.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.patch_size % self.patch_dim:
            raise ModelError(
                f"found {self.patch_size}, expected a multiple of patch_dim ({self.patch_dim})", argument="patch_size"
            )
        if self.width > _MAX_WIDTH:
            raise ModelError(
                f"found {self.patch_dim}, expected a token width (n_feats * patch_dim^2) of at most {_MAX_WIDTH:,}",
                argument="patch_dim",
            )
        if self.width % self.num_heads:
            raise ModelError(
                f"found {self.num_heads}, expected a divisor of the token width {self.width} (n_feats * patch_dim^2)",
                argument="num_heads",
            )

    @property
    def width(self) -> int:
        """Values per token, E."""
        return self.n_feats * self.patch_dim**2

    @property
    def tokens(self) -> int:
        """Tokens per input patch, T."""
        return (self.patch_size // self.patch_dim) ** 2


class IPT(nn.Module):
    """Head of the task, transformer body shared by all tasks, tail of the task."""

    def __init__(self, config: IPTConfig) -> None:
        super().__init__()
        self.config = config
        self.sub_mean: MeanShift = MeanShift(-1)
        self.add_mean: MeanShift = MeanShift(+1)
        self.head: nn.ModuleList = nn.ModuleList(make_head(config.n_feats) for _ in config.tasks)
        self.body: Body = Body(config)
        self.tail: nn.ModuleList = nn.ModuleList(make_tail(config.n_feats, scale) for scale in config.scales)

    def forward(self, x: torch.Tensor, task_index: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Restore patches of one task.

        Args:
            x: Float (B, 3, h, w), RGB on 0..255, h = w = config.patch_size.
            task_index: Index of the task, 0 <= task_index < len(config.tasks).

        Returns:
            The restored patches, (B, 3, scale * h, scale * w) on 0..255, not clipped; and the body's output tokens, (B, T, E),
            which the contrastive loss compares.
        """
        features = self.head[task_index](self.sub_mean(x))  # B, C, h, w
        tokens = self.body(features, self.body.query(task_index))  # B, T, E
        restored = self.tail[task_index](features + fold(tokens, features.shape, self.config.patch_dim))
        return self.add_mean(restored), tokens


class Body(nn.Module):
    """Features to tokens, encoder, decoder with the task's query."""

    def __init__(self, config: IPTConfig) -> None:
        super().__init__()
        self.config = config
        width, hidden = config.width, 4 * config.width
        if not config.no_mlp:
            self.linear_encoding: nn.Linear = nn.Linear(width, width)
            self.mlp_head: nn.Sequential = nn.Sequential(
                nn.Linear(width, hidden), nn.Identity(), nn.ReLU(), nn.Linear(hidden, width), nn.Identity()
            )  # the identities replace the released code's dropout, which it never uses, and keep its numbering
            self.query_embed: nn.Embedding = nn.Embedding(len(config.tasks), width * config.tokens)
        self.encoder: Layers = Layers(EncoderLayer(config) for _ in range(config.num_layers))
        self.decoder: Layers = Layers(DecoderLayer(config) for _ in range(config.num_layers))
        if not config.no_pos:
            self.position_encoding: Positions = Positions(config.tokens, width)
        if config.no_norm:
            for module in self.modules():
                if isinstance(module, nn.Linear):  # not the projections of attention, which are parameters of their own
                    nn.init.normal_(module.weight, std=1 / module.in_features)

    def query(self, task_index: int) -> torch.Tensor | None:
        """The query of a task, (1, T, E); None where the network has none."""
        if self.config.no_mlp:
            return None
        return self.query_embed.weight[task_index].view(1, self.config.tokens, self.config.width)

    def forward(self, features: torch.Tensor, query: torch.Tensor | None) -> torch.Tensor:
        """(B, C, h, w) to (B, T, E); the same for all tasks except the query, so that it is compiled once.

        Tokens have the type of the features between all layers, under autocast that of the head's convolutions.
        """
        config = self.config
        x = unfold(features, config.patch_dim)  # B, T, E
        if not config.no_mlp:
            x = x + self.linear_encoding(x)
        query = None if query is None else query.to(x.dtype)
        position = None if config.no_pos else self.position_encoding().to(x.dtype)  # 1, T, E
        if position is not None and not config.pos_every:
            x, position = x + position, None
        memory = self.encoder(x, position)
        x = self.decoder(memory, memory, position, query)
        return x if config.no_mlp else x + self.mlp_head(x)


class Layers(LayerRow, nn.Module):
    """Layers under the name that checkpoints use."""

    def __init__(self, layers: Iterable[nn.Module]) -> None:
        super().__init__()
        self.layers: nn.ModuleList = nn.ModuleList(layers)

    def forward(self, x: torch.Tensor, *others: torch.Tensor | None) -> torch.Tensor:
        return self.run(self.layers, x, *others)


class Positions(nn.Module):
    """A learned vector per token position."""

    position_ids: torch.Tensor

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.pe: nn.Embedding = nn.Embedding(tokens, width)
        self.register_buffer("position_ids", torch.arange(tokens).view(1, tokens))

    def forward(self) -> torch.Tensor:
        return self.pe(self.position_ids)


class EncoderLayer(nn.Module):
    """Self-attention and an MLP, each after a normalisation and with a residual connection."""

    linear1: nn.Linear
    linear2: nn.Linear
    norm1: nn.Module
    norm2: nn.Module

    def __init__(self, config: IPTConfig) -> None:
        super().__init__()
        self.self_attn: Attention = Attention(config)
        nn.init.kaiming_uniform_(self.self_attn.in_proj_weight, a=math.sqrt(5))  # in the encoder only, as in the released code
        self.linear1, self.linear2 = _mlp(config)
        self.norm1, self.norm2 = _norm(config), _norm(config)

    def forward(self, x: torch.Tensor, position: torch.Tensor | None) -> torch.Tensor:
        """(B, T, E) to (B, T, E).

        Args:
            x: Tokens, (B, T, E).
            position: Added to queries and keys, (1, T, E) or None.
        """
        normed = self.norm1(x)
        with_position = _plus(normed, position)
        x = x + self.self_attn(with_position, with_position, normed)
        return x + self.linear2(torch.relu(self.linear1(self.norm2(x))))


class DecoderLayer(nn.Module):
    """Self-attention, attention to the encoder's output, an MLP; queries and keys carry the task's query."""

    linear1: nn.Linear
    linear2: nn.Linear
    norm1: nn.Module
    norm2: nn.Module
    norm3: nn.Module

    def __init__(self, config: IPTConfig) -> None:
        super().__init__()
        self.self_attn: Attention = Attention(config)
        self.multihead_attn: Attention = Attention(config)
        self.linear1, self.linear2 = _mlp(config)
        self.norm1, self.norm2, self.norm3 = _norm(config), _norm(config), _norm(config)

    def forward(
        self, x: torch.Tensor, memory: torch.Tensor, position: torch.Tensor | None, query: torch.Tensor | None
    ) -> torch.Tensor:
        """(B, T, E) to (B, T, E).

        Args:
            x: Tokens, (B, T, E).
            memory: Output of the encoder, (B, T, E).
            position: Added to the keys of the memory, (1, T, E) or None.
            query: Query of the task, (1, T, E) or None.
        """
        normed = self.norm1(x)
        with_query = _plus(normed, query)
        x = x + self.self_attn(with_query, with_query, normed)
        x = x + self.multihead_attn(_plus(self.norm2(x), query), _plus(memory, position), memory)
        return x + self.linear2(torch.relu(self.linear1(self.norm3(x))))


class Attention(nn.Module):
    """Multi-head attention without bias; weights as in `torch.nn.MultiheadAttention`."""

    def __init__(self, config: IPTConfig) -> None:
        super().__init__()
        self.num_heads: int = config.num_heads
        self.in_proj_weight: nn.Parameter = nn.Parameter(torch.empty(3 * config.width, config.width))
        self.out_proj: nn.Linear = nn.Linear(config.width, config.width, bias=False)
        nn.init.xavier_uniform_(self.in_proj_weight)

    def forward(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """(B, T, E) each to (B, T, E)."""
        batch, tokens, width = query.shape
        if query is key and key is value:
            q, k, v = nn.functional.linear(query, self.in_proj_weight).chunk(3, -1)
        elif query is key:
            q, k = nn.functional.linear(query, self.in_proj_weight[: 2 * width]).chunk(2, -1)
            v = nn.functional.linear(value, self.in_proj_weight[2 * width :])
        elif key is value:
            q = nn.functional.linear(query, self.in_proj_weight[:width])
            k, v = nn.functional.linear(key, self.in_proj_weight[width:]).chunk(2, -1)
        else:
            q, k, v = (
                nn.functional.linear(x, w) for x, w in zip((query, key, value), self.in_proj_weight.chunk(3), strict=True)
            )
        q, k, v = (x.view(batch, tokens, self.num_heads, -1).transpose(1, 2) for x in (q, k, v))  # B, N, T, E / N
        attended = attend(q, k, v)
        return self.out_proj(attended.transpose(1, 2).reshape(batch, tokens, width))


def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """softmax(query key^T / sqrt(E / N)) value, (B, N, T, E / N) each.

    Uses PyTorch's fused kernel, except in bf16 on a CPU, where the formula takes about half the time (benchmarks/train.py).
    """
    if query.device.type != "cpu" or query.dtype != torch.bfloat16:
        return scaled_dot_product_attention(query, key, value)
    with torch.autocast("cpu", enabled=False):
        return torch.softmax((query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2), -1) @ value


def unfold(features: torch.Tensor, patch_dim: int) -> torch.Tensor:
    """Cut features into tokens: (B, C, h, w) to (B, T, C * patch_dim^2), channel by channel within a token."""
    batch, channels, height, width = features.shape
    cut = features.reshape(batch, channels, height // patch_dim, patch_dim, width // patch_dim, patch_dim)
    return cut.permute(0, 2, 4, 1, 3, 5).reshape(batch, -1, channels * patch_dim**2)


def fold(tokens: torch.Tensor, shape: torch.Size, patch_dim: int) -> torch.Tensor:
    """The inverse of `unfold`, for features of `shape`."""
    batch, channels, height, width = shape
    cut = tokens.view(batch, height // patch_dim, width // patch_dim, channels, patch_dim, patch_dim)
    return cut.permute(0, 3, 1, 4, 2, 5).reshape(batch, channels, height, width)


def _norm(config: IPTConfig) -> nn.Module:
    return nn.Identity() if config.no_norm else LayerNorm(config.width)


def _mlp(config: IPTConfig) -> tuple[nn.Linear, nn.Linear]:
    return nn.Linear(config.width, 4 * config.width), nn.Linear(4 * config.width, config.width)


def _plus(x: torch.Tensor, y: torch.Tensor | None) -> torch.Tensor:
    return x if y is None else x + y
