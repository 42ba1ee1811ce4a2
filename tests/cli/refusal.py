"""What a command says when the user made a mistake."""

import re

from click.testing import Result


def assert_refused(result: Result, pattern: str) -> None:
    """One line that matches, and exit status 2."""
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.stderr
    line = result.stderr.splitlines()[-1]
    assert line.startswith("iptdata: ")
    assert re.search(pattern, line), line
