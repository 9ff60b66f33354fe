"""LAPACK for large matrices: SciPy publishes its routines, and the compiled library calls them.

Every capsule in ``scipy.linalg.cython_lapack`` holds a C function and, as its name, the function's
signature. A routine whose signature is not the expected one, such as one with 64-bit integers, is
not handed over; the library then uses its own algorithm.
"""

import ctypes
import re

# T stands for float or double, for which Cython writes names of its own.
_SIGNATURES = {
    "syevd": "void (char *, char *, int *, T *, int *, T *, T *, int *, int *, int *, int *)",
}


def hand_over(set_lapack):
    """Gives the library every routine it knows to call.

    Args:
      set_lapack: the library's C function of that name (ops/api.h).
    """
    try:
        from scipy.linalg import cython_lapack

        capsules = cython_lapack.__pyx_capi__
    except (ImportError, AttributeError):
        return
    for routine, signature in _SIGNATURES.items():
        for letter in "sd":
            pointer = _pointer(capsules.get(letter + routine), letter, signature)
            if pointer is not None:
                set_lapack((letter + routine).encode(), pointer)


def _pointer(capsule, letter: str, signature: str) -> int | None:
    if capsule is None:
        return None
    get_name = ctypes.pythonapi.PyCapsule_GetName
    get_name.restype, get_name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    name = get_name(capsule)
    if name is None or re.sub(rf"\w+_{letter} \*", "T *", name.decode()) != signature:
        return None
    get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
    get_pointer.restype, get_pointer.argtypes = (
        ctypes.c_void_p,
        [ctypes.py_object, ctypes.c_char_p],
    )
    return get_pointer(capsule, name)
