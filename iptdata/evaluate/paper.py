"""What the paper reports for IPT: Chen et al., CVPR 2021, tables 1 (super-resolution), 2 (denoising) and 3 (deraining)."""

_PSNR = {
    ("Set5", "sr2"): 38.37,
    ("Set14", "sr2"): 34.43,
    ("B100", "sr2"): 32.48,
    ("Urban100", "sr2"): 33.76,
    ("Set5", "sr3"): 34.81,
    ("Set14", "sr3"): 30.85,
    ("B100", "sr3"): 29.38,
    ("Urban100", "sr3"): 29.49,
    ("Set5", "sr4"): 32.64,
    ("Set14", "sr4"): 29.01,
    ("B100", "sr4"): 27.82,
    ("Urban100", "sr4"): 27.26,
    ("CBSD68", "noise30"): 32.32,
    ("CBSD68", "noise50"): 29.88,
    ("Urban100", "noise30"): 33.75,
    ("Urban100", "noise50"): 31.12,
    ("Rain100L", "rain"): 41.62,
}


def paper_psnr(benchmark: str, task: str) -> float | None:
    """The paper's PSNR in dB, on the channel that it quotes; None where it has none."""
    found = {(name.lower(), of): value for (name, of), value in _PSNR.items()}
    return found.get((benchmark.lower(), task))
