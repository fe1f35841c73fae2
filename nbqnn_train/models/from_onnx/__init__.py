"""Networks in full precision from ONNX files, as modules that learn."""

from nbqnn_train.models.from_onnx.load import is_onnx_file, onnx_network, whole_model

__all__ = ["is_onnx_file", "onnx_network", "whole_model"]
