"""Programs as Graphviz's `dot` draws them: an operation a node, a value an edge.

Source of the format: https://graphviz.org/doc/info/lang.html.
"""

from __future__ import annotations

from collections.abc import Iterator

from nerva_dsl.ir.operations import Group, Operation
from nerva_dsl.ir.program import Graph, Program
from nerva_dsl.ir.text import body_text
from nerva_dsl.ir.types import Value

__all__ = ["print_dot"]


def print_dot(program: Program) -> str:
    """The text for `dot`: a cluster a graph, and in it a cluster a group."""
    return "\n".join([*_program(program), ""])


def _program(program: Program) -> Iterator[str]:
    yield f"digraph {_quoted(program.name)} {{"
    yield '  node [shape=box, fontname="monospace", fontsize=10]'
    yield '  edge [fontname="monospace", fontsize=9]'
    for number, graph in enumerate(program.graphs):
        yield from _graph(number, graph, program.outer)
    yield "}"


def _graph(number: int, graph: Graph, outer: tuple[Value, ...]) -> Iterator[str]:
    """One graph, with nodes of its own for the data and parameters that it reads."""
    prefix = f"g{number}"
    yield f"  subgraph cluster_{prefix} {{"
    yield f"    label={_quoted(graph.name)}"
    nodes: dict[Value, str] = {}
    edges: list[str] = []
    read = {value for operation in graph.operations for value in operation.operands}
    read |= {value for _, value in graph.results}
    for value in outer:
        if value in read:
            nodes[value] = f"{prefix}_o{len(nodes)}"
            label = f"{value}: {value.type}"
            yield f"    {nodes[value]} [shape=ellipse, label={_quoted(label)}]"
    count = 0
    for place, operation in enumerate(graph.operations):
        body = operation.body if isinstance(operation, Group) else (operation,)
        indent = "    "
        if isinstance(operation, Group):
            title = " ".join(["group", operation.kernel]).strip()
            phase = f", phase {operation.phase}" if operation.phase >= 0 else ""
            yield f"    subgraph cluster_{prefix}_{place} {{"
            yield f"      label={_quoted(title + phase)}"
            indent = "      "
        for part in body:
            node, count = f"{prefix}_n{count}", count + 1
            yield f"{indent}{node} [label={_quoted(_label(part))}]"
            edges += [f"    {nodes[value]} -> {node}" for value in part.operands]
            nodes |= dict.fromkeys(part.results, node)
        if isinstance(operation, Group):
            yield "    }"
    for place, (name, value) in enumerate(graph.results):
        yield f"    {prefix}_r{place} [shape=ellipse, style=bold, label={_quoted(name)}]"
        edges.append(f"    {nodes[value]} -> {prefix}_r{place}")
    yield from edges
    yield "  }"


def _label(operation: Operation) -> str:
    results = ", ".join(f"{value}: {value.type}" for value in operation.results)
    return f"{results} =\n{body_text(operation)}" if results else body_text(operation)


def _quoted(text: str) -> str:
    """A string of dot."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
