"""EDSR, the CNN that the IPT paper compares with (Lim et al., CVPRW 2017), with a head and a tail for each task as IPT has."""

from dataclasses import dataclass

import torch
from torch import nn

from iptdata.model.parts import MeanShift, ResBlock, TasksConfig, conv, enlarged, make_head, make_tail


@dataclass(frozen=True, kw_only=True)
class EDSRConfig(TasksConfig):
    """Shape of a network.

    Attributes:
        n_feats: features; n_blocks: residual blocks of the body; res_scale: what a block's branch is multiplied by.
        input_skip: the network adds to its input, enlarged by bicubic interpolation, as VDSR does (Kim et al., CVPR 2016);
            EDSR does not. A short training then begins where the input stands.
    """

    n_feats: int = 64
    n_blocks: int = 16
    res_scale: float = 1.0
    input_skip: bool = False


class EDSR(nn.Module):
    """Head of the task, residual blocks shared by all, tail of the task."""

    def __init__(self, config: EDSRConfig) -> None:
        super().__init__()
        self.config = config
        self.sub_mean = MeanShift(-1)
        self.add_mean = MeanShift(+1)
        self.head = nn.ModuleList(make_head(config.n_feats) for _ in config.tasks)
        blocks = [ResBlock(config.n_feats, 3, config.res_scale) for _ in range(config.n_blocks)]
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
        restored = self.tail[task](features + self.body(features))
        if self.config.input_skip:
            return restored + enlarged(x, self.config.scales[task]), None
        return self.add_mean(restored), None
