"""One page from what a folder holds."""

from scripts.report.build import build_report

__all__ = ["build_report"]
