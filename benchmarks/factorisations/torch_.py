"""PyTorch on the CPU, eagerly; the forward job without recording for gradients."""

import os

import torch

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))

LAYOUTS = {"lq": "qr"}
OPERATORS = {
    # Without the check for failures, which the plain `cholesky` adds.
    "cholesky": lambda a: (torch.linalg.cholesky_ex(a).L,),
    "lq": lambda a: tuple(torch.linalg.qr(a)),
    "eigh": lambda a: tuple(torch.linalg.eigh(a)),
    "triangular_solve": lambda l, b: (torch.linalg.solve_triangular(l, b, upper=False),),
    "triangular_multiply": lambda l, b: (l @ b,),
    "cholesky_inverse": lambda l: (torch.cholesky_inverse(l),),
    "cholesky_solve": lambda l, b: (torch.cholesky_solve(b, l),),
    "inverse": lambda a: (torch.linalg.inv(a),),
    "det": lambda a: (torch.linalg.det(a),),
}


def versions() -> dict[str, str]:
    return {"torch": torch.__version__}


def columns(name: str, n: int) -> dict:
    if name not in OPERATORS:
        return {}
    operator = OPERATORS[name]

    @torch.no_grad()
    def forward(arguments):
        return operator(*arguments)

    def gradient(arguments, cotangents):
        results = operator(*arguments)
        gradients = torch.autograd.grad(results, arguments, cotangents)
        return *(result.detach() for result in results), *gradients

    def make(arguments, cotangents):
        arguments = [torch.tensor(array) for array in arguments]
        if cotangents is None:
            return lambda: forward(arguments)
        arguments = [array.requires_grad_() for array in arguments]
        cotangents = [torch.tensor(array) for array in cotangents]
        return lambda: gradient(arguments, cotangents)

    return {"torch": make}
