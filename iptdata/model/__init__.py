"""The networks: IPT as published, EDSR as the CNN that the paper compares it with, and their checkpoints."""

from iptdata.model.checkpoint import Checkpoint, export_weights, load_checkpoint, save_checkpoint
from iptdata.model.edsr import EDSR, EDSRConfig
from iptdata.model.ipt import IPT, IPTConfig
from iptdata.model.parts import TasksConfig
from iptdata.model.presets import PRESETS, Config, make_model, preset
from iptdata.model.released import PRETRAINED_TASKS, load_released
from iptdata.model.transfer import for_tasks, freeze_body

__all__ = [
    "EDSR",
    "IPT",
    "PRESETS",
    "PRETRAINED_TASKS",
    "Checkpoint",
    "Config",
    "EDSRConfig",
    "IPTConfig",
    "TasksConfig",
    "export_weights",
    "for_tasks",
    "freeze_body",
    "load_checkpoint",
    "load_released",
    "make_model",
    "preset",
    "save_checkpoint",
]
