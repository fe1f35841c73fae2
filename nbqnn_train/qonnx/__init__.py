"""Exchange with QONNX, the ONNX dialect for quantized networks; needs the ``onnx`` package."""

from .exporter import export_qonnx
from .importer import import_qonnx

__all__ = ["export_qonnx", "import_qonnx"]
