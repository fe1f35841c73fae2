"""The report: one page on the results in a folder."""

from scripts.report.build import build_report

__all__ = ["build_report"]
