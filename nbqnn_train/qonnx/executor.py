"""Runs operators of a model one by one: quantizers by qonnx's executor, ONNX's own by
onnxruntime, or by ONNX's reference evaluator where integers have fewer than 8 bits."""

import numpy as np

from .model import require_onnx

__all__ = ["Executor"]

_CUSTOM = ("qonnx.", "onnx.brevitas", "finn")
#: Integers that onnxruntime takes from files only.
_NARROW = ("int4", "uint4", "int2", "uint2")


class Executor:
    """Evaluates single operators of ``proto``. What is prepared for an operator is kept."""

    def __init__(self, proto):
        self._helper = require_onnx().helper
        self._versions = {opset.domain: opset.version for opset in proto.opset_import}
        self._opset = self._versions.get("", self._versions.get("ai.onnx", 1))
        self._ir_version = min(proto.ir_version, 10)
        self._sessions: dict[tuple, object] = {}

    def run(self, node, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Outputs of ``node`` by name. Exceptions of the executors are passed on."""
        if node.domain.startswith(_CUSTOM):
            from qonnx.core.execute_custom_node import execute_custom_node

            context = dict(inputs)
            graph = self._helper.make_graph([node], "operator", [], [])
            execute_custom_node(node, context, graph, self._versions.get(node.domain, 1))
            return {name: np.asarray(context[name]) for name in node.output if name}
        outputs = [name for name in node.output if name]
        key = (*outputs, *((v.dtype, v.shape) for v in inputs.values()))
        if key not in self._sessions:
            self._sessions[key] = self._session(node, inputs, outputs)
        session = self._sessions[key]
        # onnxruntime and the reference evaluator are called alike.
        return dict(zip(outputs, session.run(outputs, inputs), strict=True))

    def _session(self, node, inputs: dict[str, np.ndarray], outputs: list[str]):
        import onnxruntime

        helper = self._helper
        graph = helper.make_graph(
            [node],
            "operator",
            [
                helper.make_tensor_value_info(
                    name, helper.np_dtype_to_tensor_dtype(values.dtype), values.shape
                )
                for name, values in inputs.items()
            ],
            [helper.make_empty_tensor_value_info(name) for name in outputs],
        )
        versions = {"": self._opset, node.domain: self._versions.get(node.domain, self._opset)}
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid(*version) for version in versions.items()],
            ir_version=self._ir_version,
        )
        if any(values.dtype.name in _NARROW for values in inputs.values()):
            from onnx.reference import ReferenceEvaluator

            return ReferenceEvaluator(model)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        return onnxruntime.InferenceSession(model.SerializeToString(), options)
