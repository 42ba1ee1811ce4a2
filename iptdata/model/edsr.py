"""EDSR, the CNN that the IPT paper compares with (Lim et al., CVPRW 2017), with a head and a tail per task as in IPT."""

from dataclasses import dataclass

import torch
from torch import nn

from iptdata.model.layers import LayerRow
from iptdata.model.parts import MeanShift, ResBlock, TasksConfig, conv, make_head, make_tail, upscale
from iptdata.options import option


@dataclass(frozen=True, kw_only=True)
class EDSRConfig(TasksConfig):
    """Configuration of an EDSR network.

    Attributes:
        tasks: Names of the tasks in the order of their heads.
        scales: Scale of each task's output, 1 to 4.
        n_feats: Number of features.
        n_blocks: Number of residual blocks in the body.
        res_scale: Factor of each block's residual branch.
        input_skip: Whether the network adds to its input, upscaled by bicubic interpolation, as VDSR does (Kim et al., CVPR
            2016) and EDSR does not. A short training then starts at the quality of the input.

    Raises:
        ModelError: When a value has the wrong type or is out of range.
    """

    n_feats: int = option(64, min=1, help="Number of features.")
    n_blocks: int = option(16, min=1, help="Number of residual blocks in the body.")
    res_scale: float = option(1.0, above=0, max=1000, help="Factor of each block's residual branch.")
    input_skip: bool = option(False, help="Add to the input, upscaled by bicubic interpolation.")


class EDSR(nn.Module):
    """Head of the task, residual blocks shared by all tasks, tail of the task."""

    def __init__(self, config: EDSRConfig) -> None:
        super().__init__()
        self.config = config
        self.sub_mean: MeanShift = MeanShift(-1)
        self.add_mean: MeanShift = MeanShift(+1)
        self.head: nn.ModuleList = nn.ModuleList(make_head(config.n_feats) for _ in config.tasks)
        blocks = [ResBlock(config.n_feats, 3, config.res_scale) for _ in range(config.n_blocks)]
        self.body: Blocks = Blocks(*blocks, conv(config.n_feats, config.n_feats, 3))
        self.tail: nn.ModuleList = nn.ModuleList(make_tail(config.n_feats, scale) for scale in config.scales)

    def forward(self, x: torch.Tensor, task_index: int) -> tuple[torch.Tensor, None]:
        """Restore patches of one task.

        Args:
            x: Float (B, 3, h, w), RGB on 0..255, of any size.
            task_index: Index of the task in `config.tasks`.

        Returns:
            The restored patches, (B, 3, scale * h, scale * w) on 0..255, not clipped; and None, since there are no tokens.
        """
        features = self.head[task_index](self.sub_mean(x))
        restored = self.tail[task_index](features + self.body(features))
        if self.config.input_skip:
            return restored + upscale(x, self.config.scales[task_index]), None
        return self.add_mean(restored), None


class Blocks(LayerRow, nn.Sequential):
    """Residual blocks and a convolution."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        *blocks, last = self
        return last(self.run(blocks, input))
