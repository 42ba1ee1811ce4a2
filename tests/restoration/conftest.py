"""Networks that leave an image as it is, and where the photos of a test lie."""

from tests.evaluation.conftest import folder  # noqa: F401
from tests.networks import edsr_file, ipt_file  # noqa: F401
