"""Networks by name."""

from nbqnn_train.models.registry import MODELS, build_model, check_model

__all__ = ["MODELS", "build_model", "check_model"]
