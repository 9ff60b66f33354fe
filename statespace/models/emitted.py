"""Models of which a part is given for each series and step, as networks emit it."""

import tensorflow as tf

from statespace.linalg_ops.arguments import broadcast_matmul
from statespace.ssm import PARAMETERS, LinearGaussianSSM, replaced


def with_emitted(
    ssm: LinearGaussianSSM,
    *,
    observation_noise_scale=None,
    transition_noise_scale=None,
    transition_offset=None,
) -> LinearGaussianSSM:
    """The model with noise scales and an offset of each step.

        y_t     = H x_t + d + C_t r_t
        x_{t+1} = F x_t + b + b_t + G D_t q_t

    Args:
      ssm: the model; all its matrices may have batch axes and one of time.
      observation_noise_scale: C_t, ``[..., T, m, m]``, in place of the model's own.
      transition_noise_scale: D_t, ``[..., T, k, k]``: the scale of the k disturbances, which enter
        the states by the model's G.
      transition_offset: b_t, ``[..., T, n]``, besides the model's own.

    All are of the model's dtype, and None leaves the model as it is there. Axes ``[..., T]``
    broadcast. ``scale_matrices`` makes matrices of diagonals.

    Returns:
      A LinearGaussianSSM.
    """
    fields = {}
    if observation_noise_scale is not None:
        fields["observation_scale"] = observation_noise_scale
    if transition_noise_scale is not None:
        scale = broadcast_matmul(ssm.transition_scale, transition_noise_scale)
        fields["transition_scale"] = scale
    if transition_offset is not None:
        fields["transition_offset"] = ssm.transition_offset + transition_offset
    return replaced(ssm, **fields)


def scale_matrices(scale, rank: int) -> tf.Tensor:
    """Scales as matrices, ``[..., T, m, m]``.

    Args:
      scale: such matrices, or their diagonals ``[..., T, m]``.
      rank: the rank of data ``[..., T, m]``, by which the two are told apart.
    """
    return tf.linalg.diag(scale) if scale.shape.rank == rank else scale


def has_influence(model, *, features=None, times=None, without=()) -> dict[str, bool]:
    """Which parameters reach the model's matrices, other than some of these.

    So it is seen what is left to estimate where a network emits the others.

    Args:
      model: a :class:`statespace.models.Model`.
      features, times: as of ``model.build``.
      without: names of fields of LinearGaussianSSM that are given otherwise.

    Returns:
      Dict from each parameter's name to a bool.
    """
    reaches = {}

    # A graph is enough, and one may be made wherever Keras creates weights.
    @tf.function(autograph=False)
    def trace(values):
        ssm = model.build(values, features=features, times=times)
        fields = [getattr(ssm, spec.name) for spec in PARAMETERS if spec.name not in without]
        for name, value in values.items():
            reaches[name] = tf.gradients(fields, value) != [None]
        return fields

    trace.get_concrete_function(
        {p.name: tf.TensorSpec(p.shape, tf.float64) for p in model.parameters}
    )
    return reaches
