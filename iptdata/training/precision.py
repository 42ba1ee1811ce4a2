"""Precision of a training: bf16 on a GPU that computes in it, else float32 unless bf16 is requested."""

import torch

from iptdata.model.half_precision import MUCH_SLOWER, slowdown


def uses_bf16(requested: str, device: torch.device) -> tuple[bool, list[str]]:
    """Whether the network runs under bf16 autocast; it depends on the kind of device, never on a measured time.

    Args:
        requested: The option `precision`: "auto", "fp32" or "bf16".
        device: Device of the network.

    Returns:
        Whether it does, and notes: where bf16 is requested and slower than float32, the measured factor.
    """
    native = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    if requested == "fp32" or native:
        return requested != "fp32", []
    if requested == "auto":
        emulated = "this GPU has no instructions for bf16: the network runs in fp32"
        return False, [emulated] if device.type == "cuda" else []
    factor = slowdown(device, torch.bfloat16)
    if factor <= MUCH_SLOWER:
        return True, []
    where = "GPU" if device.type == "cuda" else "CPU"
    return True, [f"bf16 is slow on this {where}: a product takes {factor:.1f} times as long as in fp32; use `precision=fp32`"]
