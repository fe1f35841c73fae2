"""Configuration of the documentation, which ``scripts/docs`` builds. Every warning is an error."""

import gc
import os
import sys
from importlib.metadata import version as version_of
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]
# Pages that are executed run `nbqnn` in processes of their own, from this checkout, with one
# thread: tests take the other cores.
os.environ["PYTHONPATH"] = str(ROOT)
os.environ["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Trees of pages stay until the build ends: looking for garbage among them only takes time.
gc.set_threshold(100_000, 50, 1000)

project = "nbqnn"
author = "the nbqnn authors"
release = version_of("nbqnn")

extensions = [
    "myst_nb",  # pages in Markdown; those that are notebooks are executed
    "sphinx.ext.autodoc",
    "extensions.notebooks",  # tutorials to download
    "extensions.reference",  # tables and pages that are made from the code
    "extensions.streams",  # what executed pages print
    "extensions.warm",  # processes of executed pages begin at once
]
exclude_patterns = ["_build", "extensions"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
smartquotes = False  # messages and options are shown as they are printed and typed

# Outputs in the pages are those of a run: one that fails fails the build.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 600  # on a busy machine
nb_execution_in_temp = True
nb_execution_show_tb = True
nb_merge_streams = True

# Every page has the navigation of all pages. With each method of the reference in it, copying it
# took four tenths of the build.
toc_object_entries = False
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "undoc-members": True}
autodoc_inherit_docstrings = False  # Lightning's are not ours
autodoc_typehints_format = "short"
add_module_names = False
autodoc_preserve_defaults = True

# Other libraries' names are not looked up: the build needs no network.
_OTHERS = (
    *("amaranth", "cocotb", "collections", "fractions", "lightning", "mmap", "numpy", "onnx"),
    *("Image", "PIL", "contextlib", "os", "pathlib", "plotly", "pynq", "torch", "types", "typing"),
)
nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", rf"({'|'.join(_OTHERS)})\..*"),
    ("py:.*", "Path|Tensor"),
    ("py:.*", r".*\._\w+"),  # private classes in signatures
]
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = "nbqnn"
html_show_copyright = False
html_domain_indices = False  # reference/api lists the modules
html_static_path = ["static"]
html_css_files = ["pages.css"]
html_theme_options = {"top_of_page_buttons": []}
