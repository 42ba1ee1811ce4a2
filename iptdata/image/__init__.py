"""Images: encoded bytes to RGB pixels, luma, PSNR and SSIM."""

from iptdata.image.decode import Decoded, Unusable, decode, decoder_versions
from iptdata.image.luma import luma
from iptdata.image.psnr import mean_squared_errors, mse, psnr, psnr_from_mse
from iptdata.image.ssim import ssim, without_border

__all__ = [
    "Decoded",
    "Unusable",
    "decode",
    "decoder_versions",
    "luma",
    "mean_squared_errors",
    "mse",
    "psnr",
    "psnr_from_mse",
    "ssim",
    "without_border",
]
