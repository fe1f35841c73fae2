"""Data sets by name."""

from nbqnn_train.data.images import DataSets, ImageSet, LabelledImages
from nbqnn_train.data.registry import DATA, check_data, load_data
from nbqnn_train.data.selection import split

__all__ = [
    "DATA",
    "DataSets",
    "ImageSet",
    "LabelledImages",
    "check_data",
    "load_data",
    "split",
]
