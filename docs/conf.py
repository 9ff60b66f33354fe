"""Configuration of the documentation; `make docs` builds it, and a warning is an error."""

import os
from importlib.metadata import version as distribution_version

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

project = "statespace"
author = "The statespace developers"
copyright = "2026, the statespace developers"
release = distribution_version("statespace-tf")
version = release

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "gallery/**/README.rst"]

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

# The API pages list what each module's __all__ names, so a new public name needs no edit here.
autosummary_generate = True
autosummary_imported_members = True
autosummary_ignore_module_all = False
autodoc_typehints = "none"
autodoc_member_order = "bysource"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True  # "Attributes:" beside documented properties would describe them twice

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"plot_",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_memory": False,
}

html_theme = "pydata_sphinx_theme"
html_title = f"statespace {release}"
html_show_sourcelink = False
html_theme_options = {
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "secondary_sidebar_items": ["page-toc"],
}


def skip_members_of_others(app, what, name, obj, skip, options):
    """Leaves out what classes have from other packages: its documentation is theirs."""
    module = getattr(getattr(obj, "fget", obj), "__module__", None)
    return True if module and not module.startswith("statespace") else None


def setup(app):
    app.connect("autodoc-skip-member", skip_members_of_others)
