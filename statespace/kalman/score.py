"""The compiled score as the gradient of a form's log-likelihood."""

import tensorflow as tf

from statespace import native

_MATRICES = (1, 3)  # positions of the transition and the observation matrix among the inputs


def register_score(op_name: str, wrapper: str) -> None:
    """Registers the gradients of a form's two log-likelihood ops.

    Args:
      op_name: the op of the whole log-likelihood; that by step has the same name and "PerStep".
      wrapper: the gradient op's function in the module of op wrappers. What the ops take beyond y
        and the model's parameters has no gradient.
    """

    def score(weights, op):
        run = getattr(native.library(), wrapper)
        # A tape says what it does not follow; matrices that are known save a third of the work.
        constant = set(_MATRICES) <= set(getattr(op, "skip_input_indices", None) or ())
        gradient = run(
            weights,
            *op.inputs,
            low_memory=op.get_attr("low_memory"),
            constant_matrices=constant,
        )
        gradient = [*gradient, *[None] * (len(op.inputs) - len(gradient))]
        if constant:
            for i in _MATRICES:
                gradient[i] = None
        return gradient

    @tf.RegisterGradient(op_name)
    def _gradient(op, cotangent, *_):
        return score(tf.expand_dims(cotangent, -1), op)

    @tf.RegisterGradient(f"{op_name}PerStep")
    def _gradient_per_step(op, cotangent, *_):
        return score(cotangent, op)
