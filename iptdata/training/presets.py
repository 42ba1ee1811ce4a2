"""Presets of options: how the paper trains IPT, and how the authors' training code does.

Paper: Chen et al., "Pre-Trained Image Processing Transformer", CVPR 2021, arXiv 2012.00364. Code: research/cv/IPT of
mindspore-ai/models (commit eab643f), the repository that the authors' own names as theirs; options of the script
run_distributed.sh, else the defaults of src/args.py. docs/training.md has both side by side.
"""

from collections.abc import Mapping
from typing import Any

PAPER: dict[str, Any] = {
    "augment": "none",  # the text is silent; src/data/imagenet.py cuts patches and does not flip or rotate them
    "batch_size": 256,  # section 4
    "accumulate": 1,  # equation 5 compares the images of a batch
    "epochs": 300,  # section 4
    "steps": None,
    "lr": 5e-5,  # section 4: 5e-5, decayed to 2e-5 in 200 epochs
    "lr_after": 2e-5,
    "clip": None,  # the text is silent
    "clip_per": "network",
    "contrastive": None,  # lambda = 0.1 where there are tokens, and 0 for EDSR
    "contrastive_form": "paper",  # equation 5
    "contrastive_temperature": 1.0,  # equation 5 has none
    "contrastive_tokens": None,  # all of them
    "ema": None,  # the text is silent
}

RELEASED_CODE: dict[str, Any] = {
    "augment": "none",  # src/data/imagenet.py; flips and rotations only in src/data/srdata.py, for fine-tuning
    "batch_size": 512,  # --batch_size 64 on DEVICE_NUM=8
    "accumulate": 8,  # each device computes the contrastive loss of its own 64 images
    "epochs": 300,  # src/args.py; of one patch an image each
    "steps": None,
    "lr": 5e-5,  # --lr 5e-5
    "lr_after": 2.5e-5,  # src/args.py: gamma 0.5 after epoch 200
    "clip": 1.0,  # src/loss.py: GRADIENT_CLIP_VALUE
    "clip_per": "tensor",  # src/loss.py: ClipByNorm of each gradient, after the mean over the devices
    "contrastive": None,  # --con_loss; src/utils.py: loss1 + 0.1 * loss2
    "contrastive_form": "supcon",  # src/loss.py: SupConLoss
    "contrastive_temperature": 0.07,  # src/loss.py: temperature and base_temperature
    "contrastive_tokens": None,  # all of them
    "ema": None,
}

PRESETS: Mapping[str, Mapping[str, Any]] = {"paper": PAPER, "released-code": RELEASED_CODE}
