"""Parts shared by IPT and EDSR: the mean shift, residual blocks, a head and a tail per task.

Module names are those of the released checkpoints, so that these load without a mapping. The layout is EDSR's (Lim et al.,
"Enhanced Deep Residual Networks for Single Image Super-Resolution", CVPRW 2017).
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import conv2d, interpolate

from iptdata.errors import ModelError, shown
from iptdata.options import option, options_of, validate

RGB_RANGE = 255.0
_MAX_SIZE = 2048  # of blocks, features and patches, since a file may ask for any
_MAX_TASKS, _MAX_NAME = 100, 100
UPSAMPLING: dict[int, tuple[int, ...]] = {1: (), 2: (2,), 3: (3,), 4: (2, 2)}  # sub-pixel steps of each scale
RGB_MEAN = (0.4488, 0.4371, 0.4040)  # of DIV2K, as in the released code


@dataclass(frozen=True, kw_only=True)
class TasksConfig:
    """Configuration of any network: a head and a tail per task.

    Attributes:
        tasks: Names of the tasks in the order of their heads.
        scales: Scale of each task's output, 1 to 4.

    Raises:
        ModelError: When names repeat, or a scale is missing or not supported.
    """

    tasks: tuple[str, ...] = option(help="Names of the tasks in the order of their heads.")
    scales: tuple[int, ...]

    def __post_init__(self) -> None:
        validate(self, ModelError)
        for name, item in options_of(type(self)).items():
            if item.kind is int and getattr(self, name) > _MAX_SIZE:
                raise ModelError(f"found {shown(getattr(self, name))}, expected at most {_MAX_SIZE:,}", argument=name)
        if not isinstance(self.scales, tuple | list):
            raise ModelError(f"found {shown(self.scales)}, expected a list of numbers", argument="scales")
        if (
            not 0 < len(self.tasks) <= _MAX_TASKS
            or len(self.tasks) != len(self.scales)
            or len(set(self.tasks)) < len(self.tasks)
        ):
            raise ModelError(
                f"found {shown(self.tasks)} with scales {shown(self.scales)}, expected distinct names and one "
                f"scale per task, at most {_MAX_TASKS}",
                argument="tasks",
            )
        for task in self.tasks:
            if len(task) > _MAX_NAME or not task.isprintable():
                raise ModelError(f"found {shown(task)}, expected at most {_MAX_NAME} printable characters", argument="tasks")
        for scale in self.scales:
            if type(scale) is not int or scale not in UPSAMPLING:
                raise ModelError(f"found {shown(scale)}, expected one of {', '.join(map(str, UPSAMPLING))}", argument="scales")
        object.__setattr__(self, "scales", tuple(self.scales))


def conv(channels_in: int, channels_out: int, size: int) -> nn.Conv2d:
    """A convolution that keeps height and width."""
    return nn.Conv2d(channels_in, channels_out, size, padding=size // 2)


class MeanShift(nn.Conv2d):
    """Adds `sign` times the RGB mean; not trained. A 1x1 convolution because checkpoints store it as one."""

    def __init__(self, sign: int) -> None:
        super().__init__(3, 3, kernel_size=1)
        self.weight.data = torch.eye(3).view(3, 3, 1, 1)
        self.bias.data = sign * RGB_RANGE * torch.tensor(RGB_MEAN)  # pyright: ignore[reportOptionalMemberAccess]
        self.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) to the same; a 16-bit image becomes float32, since its steps are up to a whole grey level."""
        assert self.bias is not None
        return x + self.bias.view(1, 3, 1, 1)


class ToImage(nn.Conv2d):
    """The last convolution of a tail, features to RGB.

    Under autocast it runs in float32 where no gradient is computed, since 16 bits would round the image to steps of up to a
    whole grey level. Training does without, for the float32 copy of the features would be the largest tensor of a step.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, 3, kernel_size=3, padding=1)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled() or input.dtype == self.weight.dtype:
            return super().forward(input)
        with torch.autocast(input.device.type, enabled=False):
            return conv2d(input.to(self.weight.dtype), self.weight, self.bias, padding=self.padding)


class ResBlock(nn.Module):
    """x + scale * conv(relu(conv(x)))."""

    def __init__(self, channels: int, size: int, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale
        self.body: nn.Sequential = nn.Sequential(conv(channels, channels, size), nn.ReLU(), conv(channels, channels, size))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.add(x, self.body(x), alpha=self.scale)


class Row(nn.Sequential):
    """Layers one after the other. `compile` compiles them as a whole, of PyTorch's own class only what is inside."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        for layer in self:
            input = layer(input)
        return input


def make_head(channels: int) -> nn.Sequential:
    """RGB to features: (B, 3, H, W) to (B, channels, H, W)."""
    return Row(conv(3, channels, 3), ResBlock(channels, 5), ResBlock(channels, 5))


def make_tail(channels: int, scale: int) -> nn.Sequential:
    """Features to RGB: (B, channels, H, W) to (B, 3, scale * H, scale * W), by sub-pixel convolution; scale 1, 2, 3 or 4."""
    upsampler = nn.Sequential()
    for step in UPSAMPLING[scale]:
        upsampler.append(conv(channels, channels * step * step, 3))
        upsampler.append(nn.PixelShuffle(step))
    return Row(upsampler, ToImage(channels))


def upscale(x: torch.Tensor, scale: int) -> torch.Tensor:
    """(B, 3, H, W) to (B, 3, scale * H, scale * W) by bicubic interpolation with a = -0.5, as `antialias` uses."""
    return x if scale == 1 else interpolate(x, scale_factor=scale, mode="bicubic", antialias=True)
