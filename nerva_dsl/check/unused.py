"""Definitions, `param`s and `let`s that nothing uses.

They are looked for in the syntax: what a value means needs no second look to know what it names.
Values are another matter, since one may be read by another that is not used: `warnings.py`.
"""

from __future__ import annotations

from collections.abc import Iterator

from nerva_dsl import syntax

Defining = syntax.Constant | syntax.Definition | syntax.BlockDefinition


def unused(file: syntax.File) -> list[Defining]:
    """The statements of a file that define what no other statement of it uses."""
    left: dict[tuple[str, str], Defining] = {}
    for statement in file.statements:
        if isinstance(statement, Defining):
            left[_place(statement)] = statement
    for statement in file.statements:
        if not left:
            break
        for place in _used(statement):
            if place in left and left[place] is not statement:
                del left[place]
    return list(left.values())


def _place(node: Defining) -> tuple[str, str]:
    """How a definition is used, and its name: a definition is called, a constant is named."""
    if isinstance(node, syntax.Constant):
        return node.kind, node.name.text
    return "call", node.name.text


def _used(node: syntax.Statement) -> Iterator[tuple[str, str]]:
    """What a statement uses."""
    if not isinstance(node, syntax.Definition | syntax.BlockDefinition):
        for kind, name in _mentioned(_expressions(node)):
            yield (kind, name)
            if kind == "let":
                yield ("param", name)
        return
    signature = node.signature
    own = {name.text for name in signature.inputs} | {o.name.text for o in signature.options}
    if isinstance(node, syntax.BlockDefinition):
        own |= {line.name.text for line in node.lines if isinstance(line, _NAMING)}
    # A definition sees no `param`; a name of its own may hide a `let`, except in its defaults.
    for kind, name in _mentioned(_expressions(node)):
        if kind == "call" or name not in own:
            yield (kind, name)
    defaults = (option.default for option in signature.options)
    yield from _mentioned(iter([default for default in defaults if default is not None]))


_NAMING = syntax.Binding | syntax.State


def _expressions(node: syntax.Statement) -> Iterator[syntax.Expression]:
    """The outermost expressions of a statement, without those of its signature."""
    match node:
        case syntax.Constant() | syntax.Binding() | syntax.Role() | syntax.Metric():
            yield node.value
        case syntax.Declaration():
            yield node.type.size
        case syntax.Definition():
            yield node.body
            if node.derivative is not None:
                yield node.derivative
        case syntax.BlockDefinition() | syntax.Settings():
            for line in node.lines:
                if not isinstance(line, syntax.Broken):
                    yield line.value


def _mentioned(expressions: Iterator[syntax.Expression]) -> Iterator[tuple[str, str]]:
    """The names in some expressions: `call` of what is called, `let` of what may be constants."""
    stack: list[syntax.Part] = list(expressions)
    while stack:
        node = stack.pop()
        if isinstance(node, syntax.Name):
            yield "let", node.text
            continue
        if isinstance(node, syntax.Call):
            yield "call", node.name.text
        stack += syntax.children(node)
