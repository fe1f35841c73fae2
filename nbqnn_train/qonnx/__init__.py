"""Exchange with QONNX, the ONNX dialect for quantized networks; needs the ``onnx`` package."""

from .exporter import export_qonnx
from .importer import Imported, import_model, import_qonnx

__all__ = ["Imported", "export_qonnx", "import_model", "import_qonnx"]
