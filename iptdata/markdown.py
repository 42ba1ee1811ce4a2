"""Tables for files and terminals that show Markdown."""

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], lines: Iterable[Sequence[str]], names: int) -> str:
    """A table whose first columns, so many as `names`, are text and the others numbers."""
    rule = [":--" if index < names else "--:" for index in range(len(head))]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in (head, rule, *lines))
