"""Set up a process that degrades images."""

import ctypes
import ctypes.util
import sys
from functools import lru_cache

import cv2
import pyarrow as pa

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 64 << 20


@lru_cache(maxsize=1)
def tune() -> None:
    """Use one OpenCV thread, since the workers occupy the cores, and make glibc keep freed memory for the next image.

    Without the latter every array above 128 KiB is mapped, zeroed and unmapped again, which doubles the time of a bicubic
    shrink. Arrow takes memory from glibc then, too: its own allocator returns that of a row group, and the next one is zeroed
    again. Without glibc nothing is set.
    """
    cv2.setNumThreads(1)
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(ctypes.util.find_library("c")), "mallopt"):
        libc.mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES // 2)
        libc.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
        pa.set_memory_pool(pa.system_memory_pool())
