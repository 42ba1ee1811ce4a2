"""Arrow's compute functions, which are made at run time, so that no type checker knows them."""

from typing import Any

import pyarrow.compute

pc: Any = pyarrow.compute
