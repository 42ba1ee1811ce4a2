"""Marks in tables of PSNR, and the lines below a table that explain them."""

WORSE = "!"
PARTIAL = "*"
WORSE_NOTE = f"Worse ({WORSE}): the network is worse than its input, by this measure"
PARTIAL_NOTE = f"Partial ({PARTIAL}): some images could not be measured and are not in the mean"
ENLARGED_NOTE = "input: for super-resolution, its bicubic enlargement"


def is_worse(psnr: float | None, input_psnr: float | None) -> bool:
    """Whether a PSNR is lower than that of the input, both in dB, at the two decimals that are shown; not if one is unknown."""
    return psnr is not None and input_psnr is not None and round(psnr, 2) < round(input_psnr, 2)


def marked_psnr(psnr: float | None, input_psnr: float | None = None, *, is_partial: bool = False) -> str:
    """A PSNR in dB as a cell of a table: `30.12`, `!24.71` if it is worse than its input, `30.12 *` if it is of some images.

    Args:
        psnr: The PSNR, None for an empty cell.
        input_psnr: That of the input, None if unknown.
        is_partial: Whether some images could not be measured.
    """
    text = "" if psnr is None else f"{psnr:.2f}"
    return f"{WORSE if is_worse(psnr, input_psnr) else ''}{text}{f' {PARTIAL}' if is_partial else ''}"
