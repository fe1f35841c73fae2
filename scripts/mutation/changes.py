"""Finds all possible changes of a source: the places, with the text before and after."""

import ast
from dataclasses import dataclass

__all__ = ["Change", "changes"]

_OPERATORS = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
}
#: Arguments that say the value of a register at first and after a reset.
_RESETS = ("init", "reset", "reset_less")
#: Ports of Amaranth. What drives or reads one knows its width, so one bit more changes nothing.
_PORTS = ("In", "Out")
#: Conditions of Amaranth: their argument is inverted.
_CONDITIONS = ("If", "Elif")


@dataclass(frozen=True)
class Change:
    """One change of a file: the text from ``begin`` to ``end`` becomes ``after``.

    ``kind`` is "operator", "constant", "condition", "slice", "reset" or "statement"; ``line``
    counts from 1, ``begin`` and ``end`` are places in the text.
    """

    kind: str
    line: int
    begin: int
    end: int
    before: str
    after: str

    def apply(self, source: str) -> str:
        """The changed source."""
        assert source[self.begin : self.end] == self.before
        return source[: self.begin] + self.after + source[self.end :]


def changes(source: str) -> list[Change]:
    """All changes of a Python source, in the order of their places.

    Text, annotations and what errors say are left alone.
    """
    finder = _Finder(source)
    finder.visit(ast.parse(source))
    return sorted(finder.found, key=lambda one: (one.begin, one.end, one.after))


class _Finder(ast.NodeVisitor):
    """Collects changes. Nodes that it does not descend into are left alone."""

    def __init__(self, source: str):
        self.source = source
        self.found: list[Change] = []
        self._widths: set[int] = set()
        self._lines = [0]
        for line in source.encode().splitlines(keepends=True):
            self._lines.append(self._lines[-1] + len(line))

    def visit_JoinedStr(self, node):
        """Text of messages and names."""

    def visit_Raise(self, node):
        """What an error says."""

    def visit_Import(self, node):
        """No logic."""

    visit_ImportFrom = visit_Import

    def visit_arg(self, node):
        """Annotations."""

    def visit_AnnAssign(self, node):
        if node.value is not None:
            self.visit(node.value)

    def visit_keyword(self, node):
        if node.arg != "strict":  # a check
            self.generic_visit(node)

    def visit_ClassDef(self, node):
        for part in node.body:  # bases and decorators are no logic
            self.visit(part)

    def visit_FunctionDef(self, node):
        for part in (*node.args.defaults, *filter(None, node.args.kw_defaults), *node.body):
            self.visit(part)

    def visit_BinOp(self, node):
        if type(node.op) in _OPERATORS and not _is_text(node.left, node.right):
            self._operator(node, ast.BinOp(node.left, _OPERATORS[type(node.op)](), node.right))
        self.generic_visit(node)

    def visit_BoolOp(self, node):
        self._operator(node, ast.BoolOp(_OPERATORS[type(node.op)](), node.values))
        self.generic_visit(node)

    def visit_Compare(self, node):
        for index, op in enumerate(node.ops):
            if type(op) in _OPERATORS:
                ops = [*node.ops]
                ops[index] = _OPERATORS[type(op)]()
                self._operator(node, ast.Compare(node.left, ops, node.comparators))
        self.generic_visit(node)

    def visit_UnaryOp(self, node):
        if isinstance(node.op, (ast.Invert, ast.Not, ast.USub)):
            self._operator(node, node.operand)
        self.generic_visit(node)

    def visit_Constant(self, node):
        if isinstance(node.value, bool):
            self._add("constant", node, str(not node.value))
        elif isinstance(node.value, int):
            if id(node) not in self._widths:
                self._add("constant", node, str(node.value + 1))
            if node.value > 0:
                self._add("constant", node, str(node.value - 1))

    def visit_If(self, node):
        self._condition(node.test)
        self.generic_visit(node)

    visit_IfExp = visit_While = visit_If

    def visit_Call(self, node):
        if isinstance(node.func, ast.Attribute) and node.func.attr in _CONDITIONS and node.args:
            inverted = ast.UnaryOp(
                ast.Invert(), ast.Call(ast.Attribute(node.args[0], "any"), [], [])
            )
            self._add("condition", node.args[0], ast.unparse(inverted))
        if isinstance(node.func, ast.Name) and node.func.id in _PORTS:
            self._widths |= {id(one) for one in node.args if isinstance(one, ast.Constant)}
        for keyword in node.keywords:
            if keyword.arg in _RESETS:
                kept = [one for one in node.keywords if one is not keyword]
                self._add("reset", node, ast.unparse(ast.Call(node.func, node.args, kept)))
        self.generic_visit(node)

    def visit_Subscript(self, node):
        place = node.slice
        if isinstance(place, ast.Slice):
            one = ast.Constant(1)
            lower, upper = place.lower or ast.Constant(0), place.upper
            shorter = ast.Slice(ast.BinOp(lower, ast.Add(), one), upper, place.step)
            self._add("slice", node, ast.unparse(ast.Subscript(node.value, shorter)))
        self.generic_visit(node)

    def visit_Expr(self, node):
        if isinstance(node.value, ast.Constant):
            return  # a docstring
        self._add("statement", node, "pass")
        self.generic_visit(node)

    def visit_AugAssign(self, node):
        self._add("statement", node, "pass")
        if isinstance(node.value, ast.List) and len(node.value.elts) > 1:
            # One of several assignments of a domain.
            for index in range(len(node.value.elts)):
                kept = [*node.value.elts[:index], *node.value.elts[index + 1 :]]
                self._add("statement", node.value, ast.unparse(ast.List(kept)))
        self.generic_visit(node)

    def visit_Assign(self, node):
        if not any(isinstance(one, ast.Name) and one.id == "__all__" for one in node.targets):
            self.generic_visit(node)

    def _condition(self, test: ast.expr) -> None:
        self._add("condition", test, f"(not ({ast.unparse(test)}))")

    def _operator(self, node: ast.expr, changed: ast.expr) -> None:
        self._add("operator", node, f"({ast.unparse(changed)})")

    def _add(self, kind: str, node: ast.AST, after: str) -> None:
        begin = self._place(node.lineno, node.col_offset)
        end = self._place(node.end_lineno, node.end_col_offset)
        before = self.source[begin:end]
        self.found.append(Change(kind, node.lineno, begin, end, before, after))

    def _place(self, line: int, column: int) -> int:
        """Place in the text; columns of ast count bytes."""
        place = self._lines[line - 1] + column
        return len(self.source.encode()[:place].decode())


def _is_text(*nodes: ast.expr) -> bool:
    return any(
        isinstance(node, ast.JoinedStr)
        or (isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes)))
        for node in nodes
    )
