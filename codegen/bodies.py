"""The bodies of kernels: elementwise operations as C statements over named operands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from nerva_dsl.codegen.c_expression import Statements
from nerva_dsl.codegen.names import word
from nerva_dsl.codegen.plan import Argument
from nerva_dsl.ir.operations import Group, Map
from nerva_dsl.ir.types import Value
from nerva_dsl.scalar import Expr, Number, Var, substitute, variables


@dataclass(frozen=True)
class Memory:
    """Where values that a kernel does not compute itself are found.

    Attributes:
        arena: offsets of the graph's stored activations, by name.
        arrays: enumerators of the parameters, by name.
        tables: name and rows a number of the constant columns, by name.
    """

    arena: Mapping[str, int]
    arrays: Mapping[str, str]
    tables: Mapping[str, tuple[str, int]]


@dataclass
class Body:
    """The operands, results and statements of one kernel while it is being written.

    Attributes:
        memory: where outer values are found.
        statements: declarations of the inner loop.
        index: the C name of the position within a tile: `column` or `lane`.
        row_lines: declarations once a row.
        arguments: the kernel's parameters so far.
        actual: what they are called with.
    """

    memory: Memory
    statements: Statements
    index: str
    row_lines: list[str] = field(default_factory=list)
    arguments: list[Argument] = field(default_factory=list)
    actual: list[str] = field(default_factory=list)
    _local: dict[str, str] = field(default_factory=dict)  # C expression of each value at hand
    _kept: dict[str, str] = field(default_factory=dict)  # those that outlast a loop
    _rows: dict[str, str] = field(default_factory=dict)  # the current row of each pointer
    _pointers: dict[str, str] = field(default_factory=dict)

    def define(self, value: Value, text: str) -> None:
        """Say how a value at the current position is written."""
        self._local[value.name] = text

    def keep(self, value: Value, text: str) -> None:
        """Say how a value is written in all loops after this one."""
        self._kept[value.name] = text

    def read(self, value: Value) -> str:
        """A value at the current position: computed here, or found in memory."""
        if value.name not in self._local:
            self._local[value.name] = self._outer(value)
        return self._local[value.name]

    def knows(self, value: Value) -> bool:
        """Whether a value is at hand in the current loop."""
        return value.name in self._local

    def forget_rows(self) -> None:
        """Begin another loop: rows of outer arrays are to be located anew."""
        self.row_lines = []
        self._rows = {}
        self._local = dict(self._kept)

    def compute(self, operation: Map) -> str:
        """Declare the result of an elementwise operation; returns its C name."""
        expression = self.bind(operation)
        name = self.statements.add(f"{operation.label}_value", expression)
        self.define(operation.result, name)
        return name

    def bind(self, operation: Map) -> Expr:
        """The expression of an operation over C names."""
        declared = "const real samples = (real)count;"
        if "count" in variables(operation.expression) and declared not in self.row_lines:
            self.row_lines.append(declared)
        # A kernel that works sample by sample has no row where there is one feature only.
        row = Var("(real)row") if operation.result.type.rows > 1 else Number(0.0)
        names: dict[str, Expr] = {"count": Var("samples"), "feature": row}
        names |= {f"a{i}": Var(self.read(v)) for i, v in enumerate(operation.inputs)}
        return substitute(operation.expression, names)

    def target(self, value: Value, label: str) -> str:
        """The place of the current row of a result in memory."""
        pointer = self._pointer(value, f"to_{word(label)}", "real *")
        return self._row(value, pointer, "real *")

    def argument(self, value: Value) -> str:
        """The argument through which an array that was read or stored is reached."""
        return self._pointers[value.name]

    def _outer(self, value: Value) -> str:
        name = value.name
        if name in self.memory.tables:
            table, repeat = self.memory.tables[name]
            local = self.statements.fresh(name.rsplit(".", 1)[-1])
            index = "row" if repeat == 1 else f"row / {repeat}"
            self.row_lines.append(f"const real {local} = {table}[{index}];")
            return local
        if name in self.memory.arrays:
            suffix = name.rsplit(".", 1)[-1]
            pointer = self._pointer(value, suffix, "const real *")
            local = self.statements.fresh(f"{suffix}_value")
            self.row_lines.append(f"const real {local} = {pointer}[row];")
            return local
        pointer = self._pointer(value, "input", "const real *")
        return f"{self._row(value, pointer, 'const real *')}[{self.index}]"

    def _pointer(self, value: Value, name: str, kind: str) -> str:
        """The argument through which a value in memory is reached."""
        if value.name not in self._pointers:
            pointer = self.statements.fresh(name)
            self._pointers[value.name] = pointer
            self.arguments.append(Argument(f"{kind}restrict", pointer))
            self.actual.append(self._address(value))
        return self._pointers[value.name]

    def _address(self, value: Value) -> str:
        if value.name in self.memory.arrays:
            return f"model->arrays[{self.memory.arrays[value.name]}].value"
        return f"arena + {self.memory.arena[value.name]}"

    def _row(self, value: Value, pointer: str, kind: str) -> str:
        if pointer not in self._rows:
            offset = "start" if value.type.rows == 1 else "row * STRIDE + start"
            local = self._rows[pointer] = self.statements.fresh(f"{pointer}_row")
            self.row_lines.append(f"{kind}const {local} = {pointer} + {offset};")
        return self._rows[pointer]


def results_of(group: Group) -> set[str]:
    """Names of the values that a group stores."""
    return {value.name for value in group.results}
