"""Arithmetic that a job needs, to set a measured time against the machine's peak.

An estimate, not a count of what a kernel executes: the textbook formula with symmetric and
triangular matrices computed by one triangle, additions and multiplications counted alike. For a
filter that is the covariance recursion; neither the sparsity of F, H and G nor steady states are
exploited.
"""

from workloads import Workload


def flops_per_step(workload: Workload, job: str) -> float:
    """Floating-point operations per time step per series.

    Where the series share their parameters, the part that does not depend on the data (covariances,
    gains) is needed once for all of them, so each series is charged its share of it.
    """
    n, m = workload.state_dim, workload.observation_dim
    shared, own = _filter(n, m)
    if job != "log-likelihood":
        shared += _backward_covariances(n, m)
        own += _means(n, m)
    if job == "smooth":
        shared += 2 * n**3 + n**2 * (n + 1)  # V = P - P N P
        own += 2 * n**2  # a + P r
    elif job == "gradient":
        own += n**2 + m**2  # sums of r r' and u u'
        if "transition_matrix" in workload.gradient_of:
            shared += 4 * n**3 + 4 * n**2 * m  # N Lambda P, (D H - K' N F) P
            own += 4 * n**2 + 2 * n * m  # smoothed mean x, r x' and u x'
    if workload.learned:
        # Noise of its own for every step: Q = G G' and R = C C', and the gradients of G and C.
        own += n**2 * (n + 1) + m**2 * (m + 1)
        if job == "gradient":
            own += 2 * n**3 + 2 * m**3
        return own + shared
    return own + shared / workload.batch


def bytes_per_step(workload: Workload, job: str) -> int:
    """Bytes of float64 data, parameters and results per time step per series, each moved once."""
    n, m = workload.state_dim, workload.observation_dim
    noise = n**2 + m**2 if workload.learned else 0
    numbers = m + noise
    if job == "smooth":
        numbers += n + n**2
    elif job == "gradient":
        numbers += noise
    return 8 * numbers


def _filter(n, m):
    """Operations on covariances, and on means."""
    predict = 2 * n**3 + n**2 * (n + 1)  # F P F'
    innovation = 4 * n**2 * m + n * m * (m + 1)  # P H', F P H', H P H'
    gain = m**3 / 3 + 2 * n * m**2  # Cholesky factor of S, two triangular solves
    update = n * (n + 1) * m  # K S K'
    return predict + innovation + gain + update, _means(n, m)


def _means(n, m):
    """F a, H a, K v and v' S^-1 v, or their adjoints in the recursion of r and u."""
    return 2 * n**2 + 4 * n * m + 2 * m**2


def _backward_covariances(n, m):
    closed_loop = 2 * n**2 * m  # Lambda = F - K H
    information = 2 * n**3 + n**2 * (n + 1)  # Lambda' N Lambda
    observed = 2 * n * m**2 + n * (n + 1) * m  # H' S^-1 H
    disturbance = 2 * n**2 * m + n * m * (m + 1)  # K' N K
    return closed_loop + information + observed + disturbance


# Operations / n^3 on n x n matrices, forward and, besides, backward; lower orders are left out.
# Forward as LAPACK counts them (Working Note 41, appendix C), backward by the closed form of the
# adjoint (operators.py) term by term, or by the algorithm with the fewest known.
_OPERATIONS = {
    "cholesky": (1 / 3, 2 / 3),  # by blocks, as Murray, arXiv:1602.07527
    "lq": (4 / 3 + 4 / 3, 1 / 3 + 1 + 2 + 1),  # gelqf, orglq; L' L_bar, Q_bar Q', M Q, solve
    # Reduction, divide and conquer without deflation, back-transformation; V' V_bar, V M, (V M) V'.
    "eigh": (4 / 3 + 4 / 3 + 2, 2 + 2 + 1),
    "triangular_solve": (1, 1 + 1),  # n right sides; solve, triangle of B_bar X'
    "triangular_multiply": (1, 1 + 1),
    "cholesky_inverse": (2 / 3, 2 + 2 + 1),  # potri; P (P_bar + P_bar') P L
    "cholesky_solve": (2, 2 + 2 + 1),  # two solves; two solves, B_bar X', its product with L
    "inverse": (2, 2 + 2),
    "det": (2 / 3, 4 / 3),  # LU; inverse from LU
}


def operator_flops(name: str, n: int, job: str) -> float:
    """Floating-point operations per n x n matrix; ``job`` "gradient" includes "forward"."""
    forward, backward = _OPERATIONS[name]
    return (forward + backward if job == "gradient" else forward) * n**3
