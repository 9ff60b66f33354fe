"""What to observe next: Bayesian active learning and optimisation.

    chosen = select(model, candidates, 10)
    f = model.predict(candidates, noise=False)
    following = tf.argmax(log_expected_improvement(f, best))

For :class:`statespace.models.BayesianLinearRegression` and
:class:`statespace.models.GaussianProcess`.
"""

from statespace.active.criteria import (
    information_gain,
    joint_information_gain,
    observe,
    variance,
    variance_reduction,
)
from statespace.active.improvement import expected_improvement, log_expected_improvement
from statespace.active.posteriors import sample_functions
from statespace.active.selection import Selection, greedy, select
from statespace.active.suggestion import suggest
from statespace.active.thompson import thompson_sample

__all__ = [
    "Selection",
    "expected_improvement",
    "greedy",
    "information_gain",
    "joint_information_gain",
    "log_expected_improvement",
    "observe",
    "sample_functions",
    "select",
    "suggest",
    "thompson_sample",
    "variance",
    "variance_reduction",
]
