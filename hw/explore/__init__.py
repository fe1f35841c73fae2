"""Searches for the configurations that run a network best on a board."""

from hw.explore.candidates import Budget, Candidate
from hw.explore.search import Exploration, explore

__all__ = ["Budget", "Candidate", "Exploration", "explore"]
