"""EDSR, the CNN that the IPT paper compares with (Lim et al., CVPRW 2017), with a head and a tail for each task as IPT has."""

from dataclasses import dataclass

import torch
from torch import nn

from iptdata.errors import ModelError
from iptdata.model.parts import MeanShift, conv, make_head, make_tail


@dataclass(frozen=True, kw_only=True)
class EDSRConfig:
    """Shape of a network.

    Attributes:
        tasks: names of the tasks in the order of their heads; scales: how much larger each one's output is, 1 to 4.
        n_feats: features; n_blocks: residual blocks of the body; res_scale: what a block's branch is multiplied by.
    """

    tasks: tuple[str, ...]
    scales: tuple[int, ...]
    n_feats: int = 64
    n_blocks: int = 16
    res_scale: float = 1.0

    def __post_init__(self) -> None:
        if not self.tasks or len(self.tasks) != len(self.scales) or len(set(self.tasks)) < len(self.tasks):
            raise ModelError(f"tasks are {self.tasks}, scales {self.scales}; expected different names and a scale for each")


class EDSR(nn.Module):
    """Head of the task, residual blocks shared by all, tail of the task."""

    def __init__(self, config: EDSRConfig) -> None:
        super().__init__()
        self.config = config
        self.sub_mean = MeanShift(-1)
        self.add_mean = MeanShift(+1)
        self.head = nn.ModuleList(make_head(config.n_feats) for _ in config.tasks)
        blocks = [Block(config) for _ in range(config.n_blocks)]
        self.body = nn.Sequential(*blocks, conv(config.n_feats, config.n_feats, 3))
        self.tail = nn.ModuleList(make_tail(config.n_feats, scale) for scale in config.scales)

    def forward(self, x: torch.Tensor, task: int) -> tuple[torch.Tensor, None]:
        """Restore patches of one task.

        Args:
            x: (B, 3, h, w), RGB on 0..255, of any size.
            task: number of the head.

        Returns:
            the restored patches, (B, 3, scale * h, scale * w) on 0..255, not clipped; and None, since there are no tokens.
        """
        features = self.head[task](self.sub_mean(x))
        return self.add_mean(self.tail[task](features + self.body(features))), None


class Block(nn.Module):
    """x + res_scale * conv(relu(conv(x))), 3x3."""

    def __init__(self, config: EDSRConfig) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(config.n_feats, config.n_feats, 3), nn.ReLU(), conv(config.n_feats, config.n_feats, 3))
        self.res_scale = config.res_scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.res_scale * self.body(x)
