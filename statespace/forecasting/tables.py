"""Tables of plain text."""


def aligned(header, rows) -> list[str]:
    """Lines of a table: first column flush left, the others flush right, a rule below the header.

    Args:
      header: column names.
      rows: lists of strings, as long as the header.
    """
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]

    def line(cells):
        first, *others = (
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return "   ".join([first, *others]).rstrip()

    return [line(header), "-" * (sum(widths) + 3 * (len(widths) - 1)), *map(line, rows)]
