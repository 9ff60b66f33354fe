"""JAX under ``jax.jit``. It is told that its arguments are symmetric where it would make sure."""

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_solve, solve_triangular

jax.config.update("jax_enable_x64", True)

LAYOUTS = {"lq": "qr"}
OPERATORS = {
    "cholesky": lambda a: (jax.lax.linalg.cholesky(a, symmetrize_input=False),),
    "lq": lambda a: tuple(jnp.linalg.qr(a)),
    "eigh": lambda a: tuple(jnp.linalg.eigh(a, symmetrize_input=False)),
    "triangular_solve": lambda l, b: (solve_triangular(l, b, lower=True),),
    "triangular_multiply": lambda l, b: (l @ b,),
    "cholesky_inverse": lambda l: (
        cho_solve((l, True), jnp.broadcast_to(jnp.eye(l.shape[-1], dtype=l.dtype), l.shape)),
    ),
    "cholesky_solve": lambda l, b: (cho_solve((l, True), b),),
    "inverse": lambda a: (jnp.linalg.inv(a),),
    "det": lambda a: (jnp.linalg.det(a),),
}


def versions() -> dict[str, str]:
    return {"jax": jax.__version__}


def columns(name: str, n: int) -> dict:
    if name not in OPERATORS:
        return {}
    operator = OPERATORS[name]

    def gradient(arguments, cotangents):
        results, pull_back = jax.vjp(operator, *arguments)
        return *results, *pull_back(cotangents)

    def make(arguments, cotangents):
        arguments = tuple(map(jnp.asarray, arguments))
        if cotangents is None:
            run = jax.jit(operator)
            return lambda: jax.block_until_ready(run(*arguments))
        cotangents = tuple(map(jnp.asarray, cotangents))
        run = jax.jit(gradient)
        return lambda: jax.block_until_ready(run(arguments, cotangents))

    return {"JAX": make}
