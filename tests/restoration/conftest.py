"""Networks that return the image unchanged, and a folder for a test's photos."""

from tests.evaluation.conftest import folder  # noqa: F401
from tests.networks import edsr_file, huge_file, ipt_file  # noqa: F401
