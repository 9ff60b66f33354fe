"""The methods of estimation, by name; without TensorFlow, for the command line's help."""

METHODS = {
    "mle": "maximum likelihood",
    "map": "maximum posterior density",
    "em": "maximum likelihood by EM",
    "hmc": "posterior by Hamiltonian Monte Carlo",
    "vi": "posterior by a variational Gaussian",
}
