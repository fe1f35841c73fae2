"""Wheels and source archives carry the commit that they are built from; else see pyproject.toml."""

import runpy
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

#: The file that has the commit, and the module that looks for it.
CARRIED = Path("nbqnn_train", "graph", "commit.txt")
source_commit = runpy.run_path(str(CARRIED.with_suffix(".py")))["source_commit"]


def carry_commit(folder: str) -> None:
    """Writes the commit into a tree that is built; without one, or built from it, nothing."""
    commit = source_commit(40)
    if commit:
        path = Path(folder) / CARRIED
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{commit}\n", encoding="utf-8")


class BuildPackages(build_py):
    """The packages of a wheel. An editable installation stays a checkout, which git knows."""

    def run(self):
        super().run()
        if not self.editable_mode:
            carry_commit(self.build_lib)


class BuildSources(sdist):
    """The source archive."""

    def make_release_tree(self, base_dir, files):
        super().make_release_tree(base_dir, files)
        carry_commit(base_dir)


setup(cmdclass={"build_py": BuildPackages, "sdist": BuildSources})
