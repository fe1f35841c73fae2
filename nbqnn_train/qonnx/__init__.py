"""Exchange with QONNX, the ONNX dialect for quantized networks; needs the ``onnx`` package."""

from .exporter import export_qonnx

__all__ = ["export_qonnx"]
