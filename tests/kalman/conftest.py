"""Leaves out combinations of a form and a library that run the very code of another one."""

# (algorithm, native): without the compiled library the covariance form is the reference, with and
# without it the parallel form and the reference are what they are.
SAME_AS_OTHERS = {
    ("covariance", "reference"),
    ("parallel", "reference"),
    ("reference", "native"),
}


def pytest_collection_modifyitems(config, items):
    """Deselects them."""
    kept, left_out = [], []
    for item in items:
        params = item.callspec.params if hasattr(item, "callspec") else {}
        combination = (params.get("algorithm"), params.get("native"))
        (left_out if combination in SAME_AS_OTHERS else kept).append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept
