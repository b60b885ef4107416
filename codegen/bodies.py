"""The bodies of kernels: elementwise operations as C statements over named operands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from nerva_dsl.codegen.c_expression import Statements
from nerva_dsl.codegen.kernel_plan import Argument
from nerva_dsl.codegen.names import word
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
        results: numbers of the caller's arrays that take what he wants, by name.
        weights: the parameter whose positions a weight-shaped value has, by name.
    """

    arena: Mapping[str, int]
    arrays: Mapping[str, str]
    tables: Mapping[str, tuple[str, int]]
    results: Mapping[str, int]
    weights: Mapping[str, str]

    def address(self, value: Value) -> str:
        """Where the numbers of a value begin."""
        if value.name in self.arrays:
            return f"model->arrays[{self.arrays[value.name]}].value"
        if value.name in self.results:
            return f"gradients[{self.results[value.name]}]"
        place = f"arena + {self.arena[value.name]}"
        return f"(uint8_t *)({place})" if value.type.element == "uint8" else place

    def operand(self, value: Value, name: str) -> tuple[Argument, str]:
        """An argument that is an activation, of numbers or of bytes, and what it is called with."""
        kind = "uint8_t" if value.type.element == "uint8" else "real"
        return Argument(f"const {kind} *restrict", name), self.address(value)

    def array(self, value: Value) -> str:
        """The parameter that a weight-shaped value belongs to, or a parameter itself."""
        return f"&model->arrays[{self.arrays[self.weights.get(value.name, value.name)]}]"


@dataclass
class Body:
    """The operands, results and statements of one kernel while it is being written.

    Attributes:
        memory: where outer values are found.
        statements: declarations of the inner loop.
        index: the C name of the position: `column` or `lane` of a row, `q` of a weight.
        start: what is added to the place of a row; empty in loops over whole rows.
        segment: rows that the loop around, of `part`, goes through at a time; 0 if there is none.
        row_lines: declarations once a row.
        arguments: the kernel's parameters so far.
        actual: what they are called with.
    """

    memory: Memory
    statements: Statements
    index: str
    start: str = "start"
    segment: int = 0
    row_lines: list[str] = field(default_factory=list)
    arguments: list[Argument] = field(default_factory=list)
    actual: list[str] = field(default_factory=list)
    _local: dict[str, str] = field(default_factory=dict)  # C expression of each value at hand
    _kept: dict[str, str] = field(default_factory=dict)  # those that outlast a loop
    _located: dict[str, str] = field(default_factory=dict)  # those that lie in memory
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
            self._located[value.name] = self._local[value.name] = self._outer(value)
        return self._local[value.name]

    def knows(self, value: Value) -> bool:
        """Whether a value is at hand in the current loop."""
        return value.name in self._local

    def forget_rows(self) -> None:
        """Begin another loop: rows of outer arrays are to be located anew."""
        self.row_lines = []
        self._rows, self._located = {}, {}
        self._local = dict(self._kept)

    def forget_values(self) -> None:
        """Begin another loop over the same row: what was computed in the last is out of scope."""
        self._local = self._located | self._kept

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
        """The place of the current row of a result in memory; of a weight's or column's, all."""
        pointer = self._pointer(value, f"to_{word(label)}", "real *")
        return self._row(value, pointer, "real *") if value.type.batched else pointer

    def parameter(self, value: Value) -> str:
        """The argument through which a parameter is reached with its optimizer state."""
        key = f"{value.name} array"
        if key not in self._pointers:
            self._pointers[key] = self.statements.fresh(value.name.rsplit(".", 1)[-1])
            self.arguments.append(Argument("Array *", self._pointers[key]))
            self.actual.append(self.memory.array(value))
        return self._pointers[key]

    def argument(self, value: Value) -> str:
        """The argument through which an array that was read or stored is reached."""
        return self._pointers[value.name]

    def _outer(self, value: Value) -> str:
        name = value.name
        if name in self.memory.tables:
            table, repeat = self.memory.tables[name]
            local = self.statements.fresh(name.rsplit(".", 1)[-1])
            index = "row" if repeat == 1 else f"row / {repeat}"
            if repeat > 1 and self.segment:
                index = "part" if repeat == self.segment else f"part / {repeat // self.segment}"
            self.row_lines.append(f"const real {local} = {table}[{index}];")
            return local
        if name in self.memory.weights:
            suffix = _last_word(name)
            return f"{self._pointer(value, suffix, 'const real *')}[{self.index}]"
        if not value.type.batched:
            suffix = _last_word(name)
            pointer = self._pointer(value, suffix, "const real *")
            local = self.statements.fresh(f"{suffix}_value")
            row = "0" if value.type.shape == (1, 1) else "row"
            self.row_lines.append(f"const real {local} = {pointer}[{row}];")
            return local
        pointer = self._pointer(value, "input", "const real *")
        return f"{self._row(value, pointer, 'const real *')}[{self.index}]"

    def _pointer(self, value: Value, name: str, kind: str) -> str:
        """The argument through which a value in memory is reached."""
        if value.name not in self._pointers:
            pointer = self.statements.fresh(name)
            self._pointers[value.name] = pointer
            self.arguments.append(Argument(f"{kind}restrict", pointer))
            self.actual.append(self.memory.address(value))
        return self._pointers[value.name]

    def _row(self, value: Value, pointer: str, kind: str) -> str:
        if pointer not in self._rows:
            terms = [] if value.type.rows == 1 else ["row * STRIDE"]
            offset = " + ".join([pointer, *terms, *([self.start] if self.start else [])])
            local = self._rows[pointer] = self.statements.fresh(f"{pointer}_row")
            self.row_lines.append(f"{kind}const {local} = {offset};")
        return self._rows[pointer]


def _last_word(name: str) -> str:
    """What a value is, of a name such as `h1.bias.grad.2`: `bias`."""
    words = [word for word in name.split(".") if not word.isdigit() and word != "grad"]
    return words[-1] if words else "input"


def results_of(group: Group) -> set[str]:
    """Names of the values that a group stores."""
    return {value.name for value in group.results}
