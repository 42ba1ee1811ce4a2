"""PSNR that the IPT paper reports: Chen et al., CVPR 2021, tables 1 (super-resolution), 2 (denoising) and 3 (deraining)."""

_PSNR = {  # by benchmark, in lower case, and task
    ("set5", "sr2"): 38.37,
    ("set14", "sr2"): 34.43,
    ("b100", "sr2"): 32.48,
    ("urban100", "sr2"): 33.76,
    ("set5", "sr3"): 34.81,
    ("set14", "sr3"): 30.85,
    ("b100", "sr3"): 29.38,
    ("urban100", "sr3"): 29.49,
    ("set5", "sr4"): 32.64,
    ("set14", "sr4"): 29.01,
    ("b100", "sr4"): 27.82,
    ("urban100", "sr4"): 27.26,
    ("cbsd68", "noise30"): 32.32,
    ("cbsd68", "noise50"): 29.88,
    ("urban100", "noise30"): 33.75,
    ("urban100", "noise50"): 31.12,
    ("rain100l", "rain"): 41.62,
}


def paper_psnr(benchmark: str, task: str) -> float | None:
    """The paper's PSNR in dB, on the channel that it reports; None if it reports none."""
    return _PSNR.get((benchmark.lower(), task))
