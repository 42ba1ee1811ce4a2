"""Format Markdown tables."""

from collections.abc import Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[str]], text_columns: int) -> str:
    """Format a table.

    Args:
        header: Name of each column.
        rows: The cells, one sequence per row.
        text_columns: Number of leading columns that hold text and are aligned left; the others hold numbers.
    """
    rule = [":--" if index < text_columns else "--:" for index in range(len(header))]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in (header, rule, *rows))
