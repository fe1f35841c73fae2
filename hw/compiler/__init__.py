"""The compiler makes a program of a graph and a configuration."""

from hw.compiler.compile import compile_graph
from hw.compiler.errors import CompileError
from hw.contract.program import Program, load_program, save_program

__all__ = ["CompileError", "Program", "compile_graph", "load_program", "save_program"]
