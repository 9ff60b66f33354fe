"""Arithmetic that a filter step needs, to set a measured time against the machine's peak.

An estimate, not a count of what a kernel executes: the textbook covariance recursion with
symmetric matrices computed by one triangle, additions and multiplications counted alike; neither
the sparsity of F, H and G nor steady states are exploited.
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
