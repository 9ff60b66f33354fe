"""The rows of ``linalg.py`` as Markdown, also readable as it stands, with the goals beside them."""

# Columns compiled by XLA, which have a table of their own, against each other.
OUR_XLA, THEIR_XLA = "jit", "TF XLA"
XLA_GOAL = 5.0
# Of the bandwidth that a copy in memory reaches: then a goal in multiples counts as met.
BANDWIDTH_GOAL = 1 / 1.5


def goal(n: int, job: str) -> float:
    """How many times faster than the fastest rival we mean to be."""
    forward, gradient = (3.0, 4.0) if n <= 16 else (1.5, 2.0) if n < 256 else (1.0, 1.5)
    return gradient if job == "gradient" else forward


def title(row: dict) -> str:
    return f"{row['operator']} {_size(row)} {row['dtype']}"


def _size(row):
    return f"{row['batch']}×{row['n']}"


def speed(rows: list[dict], limits: dict) -> str:
    """Times of all columns but those of XLA, and the distance to rivals and to the machine."""
    labels = [label for label in _labels(rows) if label not in (OUR_XLA, THEIR_XLA)]
    heading = ["operator", "batch×n", "dtype", "job", *labels, "least"]
    heading += ["fastest rival / ours (goal)"]
    heading += ["GFLOP/s (of gemm)", "GB/s (of a copy in memory, in cache)"]
    cells = []
    for row in rows:
        times = row["microseconds"]
        cells.append([*_first_cells(row), *(_time(times, label) for label in labels)])
        least = _least(row, limits, ("eager", "function"))
        cells[-1].append(f"{least:.3g}")
        ours, rival = _fastest(row)
        if ours is None:
            cells[-1] += ["–"] * 3
            continue
        gigabytes = 1e-3 * row["bytes"] / ours
        cached, memory = gigabytes / row["cached_bandwidth"], gigabytes / limits["memory"]
        flops = 1e-3 * row["flops"] / ours
        cells[-1] += [
            _verdict(
                rival and rival / ours, goal(row["n"], row["job"]), memory, rival and rival / least
            ),
            f"{flops:.3g} ({100 * flops / limits[row['dtype']]:.0f} %)",
            f"{gigabytes:.3g} ({100 * memory:.0f} %, {100 * cached:.0f} %)",
        ]
    return markdown([heading, *cells]) + "\n\n" + _NOTE


_NOTE = (
    "Microseconds per matrix, minimum over repeats; job gradient: forward and gradient. Ours is "
    "the faster of eager and function.\nA goal is met (✓) by the multiple, or (✓ bandwidth) where "
    f"our traffic is at least {100 * BANDWIDTH_GOAL:.0f} % of that of a copy in memory;\nthe "
    "second share is of a copy of arrays that take as much room as the problem's, wherever they "
    "live. GB/s: each array\nof the problem read or written once; GFLOP/s: operations of the "
    "textbook formula (flops.py), beside NumPy's matrix product.\nLeast: the time of those "
    "operations at the speed of that product or, if longer, of a call of TensorFlow with one\n"
    "elementwise operation in the operator's place. Where even that would miss the goal, the "
    "multiple it would reach\nstands beside it."
)


def _least(row, limits, ways):
    """Microseconds that no implementation called in these ways can do without (see the note)."""
    call = min(row["bare_call"][way] for way in ways)
    return max(call, 1e-3 * row["flops"] / limits[row["dtype"]])


def compiled(rows: list[dict], limits: dict) -> str | None:
    """Ours inside XLA against TensorFlow's own inside XLA; None if there are none."""
    cells = [["operator", "batch×n", "dtype", "job", OUR_XLA, THEIR_XLA, "least"]]
    cells[0].append("TF XLA / jit (goal)")
    for row in rows:
        times = row["microseconds"]
        if OUR_XLA in times or THEIR_XLA in times:
            both = OUR_XLA in times and THEIR_XLA in times
            ratio = times[THEIR_XLA] / times[OUR_XLA] if both else None
            least = _least(row, limits, (OUR_XLA,))
            cells.append([*_first_cells(row), _time(times, OUR_XLA), _time(times, THEIR_XLA)])
            largest = times[THEIR_XLA] / least if both else None
            cells[-1] += [f"{least:.3g}", _verdict(ratio, XLA_GOAL, largest=largest)]
    note = (
        "Inside tf.function(jit_compile=True): microseconds per matrix, minimum over repeats; "
        "least as above, for a call of this kind."
    )
    return markdown(cells) + "\n\n" + note if len(cells) > 1 else None


def _first_cells(row):
    return [row["operator"], _size(row), row["dtype"], row["job"]]


def _labels(rows):
    return list(dict.fromkeys(label for row in rows for label in row["microseconds"]))


def _fastest(row):
    """Our fastest time outside XLA, and the fastest of all others."""
    times = row["microseconds"]
    ours = [times[label] for label in row["ours"] if label != OUR_XLA]
    theirs = [times[label] for label in times if label not in row["ours"]]
    return min(ours, default=None), min(theirs, default=None)


def _time(times, label):
    return f"{times[label]:.3g}" if label in times else "–"


def _verdict(ratio, wanted, share_of_bandwidth=0.0, largest=None):
    if ratio is None:
        return "–"
    reached = "✗"
    if ratio >= wanted:
        reached = "✓"
    elif share_of_bandwidth >= BANDWIDTH_GOAL:
        reached = "✓ bandwidth"
    elif largest is not None and largest < wanted:
        reached = f"✗ at most {largest:.2g}"
    return f"**{ratio:.2g}×** ({wanted:.2g}) {reached}"


def markdown(cells) -> str:
    """A table of text, the heading first, that is readable as it stands."""
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    lines = [
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in cells
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def threads(rows: list[dict], count: int, wanted: float) -> str:
    """Times on one thread and on ``count``."""
    cells = [["operator", "batch×n", "dtype", "job", "1 thread", f"{count} threads", "(goal)"]]
    for row in rows:
        one, several = row["microseconds"][1], row["microseconds"][count]
        cells.append([*_first_cells(row), f"{one:.3g}", f"{several:.3g}"])
        largest = one / max(row["copy_microseconds"], one / count)
        cells[-1].append(_verdict(one / several, wanted, largest=largest))
    return markdown(cells) + (
        "\n\nMicroseconds per matrix, minimum over repeats. Where a copy of as many bytes on "
        f"{count} threads would miss the goal,\nthe multiple it would reach stands beside it."
    )


def memory(rows: list[dict]) -> str:
    """Peak memory beyond the arguments."""
    labels = list(dict.fromkeys(label for row in rows for label in row["multiples"]))
    cells = [["operator", "batch×n", *labels]]
    for row in rows:
        multiples = row["multiples"]
        values = [f"{multiples[label]:.2f}" if label in multiples else "–" for label in labels]
        cells.append([row["operator"], _size(row), *values])
    return markdown(cells) + (
        "\n\nPeak memory beyond arguments and cotangents, in multiples of one argument, of the "
        "forward pass with gradient,\nwhere results and gradients are the least there can be, and "
        "of our backward pass alone, with its gradients."
    )
