"""Every example in a docstring and in the guides gives what it says."""

import doctest
import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest

import statespace

DOCS = Path(__file__).parents[1] / "docs"
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(statespace.__path__, prefix="statespace.")
    if module.name != "statespace.native._statespace"  # a library of operations, not a module
)
PAGES = sorted(
    str(page.relative_to(DOCS))
    for page in [*DOCS.glob("*.md"), *DOCS.glob("guides/*.md")]
    if ">>>" in page.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name):
    module = importlib.import_module(name)
    assert doctest.testmod(module, optionflags=OPTIONS).failed == 0


@pytest.mark.parametrize("page", PAGES)
def test_page_examples(page):
    results = doctest.testfile(
        str(DOCS / page), module_relative=False, optionflags=OPTIONS, encoding="utf-8"
    )
    assert results.failed == 0
    assert results.attempted > 0


def test_api_pages_have_every_public_module():
    """Of a module that is listed they have what its ``__all__`` names."""
    listed = set((DOCS / "api.md").read_text(encoding="utf-8").split())
    public = {name: getattr(statespace, name) for name in [*statespace.__all__, "forecasting"]}
    modules = {name for name, value in public.items() if inspect.ismodule(value)}
    assert {f"statespace.{name}" for name in modules - {"kalman"}} <= listed
    # What kalman has is public as part of statespace itself.
    assert set(statespace.kalman.__all__) - {"ALGORITHMS"} <= set(statespace.__all__)
