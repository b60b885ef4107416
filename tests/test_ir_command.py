"""`nervac ir`: what stages change, and drawings of programs."""

import difflib
import re
import sys

import pytest
from typer.testing import CliRunner

from nerva_dsl import driver
from nerva_dsl.cli.app import app
from nerva_dsl.cli.ir import print_difference
from nerva_dsl.ir.dot import print_dot


def ir(*arguments, status=0):
    done = CliRunner().invoke(app, ["ir", *map(str, arguments)])
    assert done.exit_code == status, done.output
    return done


@pytest.mark.parametrize("order", [1, -1])
def test_the_difference_between_two_stages(models, order):
    file = models / "digits.nerva"
    texts = {name: driver.program_text(p).splitlines() for name, p in driver.programs(file)}
    names = ["differentiate", "drop-dead"][::order]
    lines = ir(file, "--diff", *names).stdout.splitlines()
    assert lines[:2] == [f"--- {names[0]}", f"+++ {names[1]}"]
    expected = difflib.unified_diff(*(texts[name] for name in names), *names, lineterm="")
    assert lines == list(expected)
    assert ir(file, "--diff", "fuse", "fuse").stdout == ""


def test_a_terminal_gets_colours(models, capsys, monkeypatch):
    monkeypatch.setattr(type(sys.stdout), "isatty", lambda _: True, raising=False)
    names = ("lower", "differentiate")
    print_difference(models / "digits.nerva", names, {}, backend="native", target="x86-64-v3")
    lines = capsys.readouterr().out.splitlines()
    assert "\x1b[32m+++ differentiate\x1b[0m" in lines
    assert any(line.startswith("\x1b[36m@@") for line in lines)


def test_what_cannot_be_asked_for(models):
    file = models / "digits.nerva"
    for arguments in (["--after", "nope"], ["--diff", "lower", "nope"], ["--diff", "nope", "fuse"]):
        error = ir(file, *arguments, status=2).stderr
        assert "nope: the stages are lower, differentiate, expand" in error
    assert (
        "leave --after" in ir(file, "--diff", "lower", "fuse", "--format", "dot", status=2).stderr
    )
    assert "svg" in ir(file, "--format", "svg", status=2).stderr


@pytest.mark.parametrize("model", ["digits", "residual_blocks", "regularized"])
def test_a_drawing_has_every_operation_once_and_every_use_as_an_edge(models, model):
    for _, program in driver.programs(models / f"{model}.nerva", backend="native"):
        lines = print_dot(program).splitlines()
        nodes = [found[1] for line in lines if (found := re.match(r" +(g\d+_\w+) \[", line))]
        edges = [found.groups() for line in lines if (found := re.match(r" +(\w+) -> (\w+)", line))]
        assert len(nodes) == len(set(nodes))
        assert {end for edge in edges for end in edge} <= set(nodes)
        parts = [
            part
            for graph in program.graphs
            for operation in graph.operations
            for part in getattr(operation, "body", (operation,))
        ]
        assert sum("_n" in node for node in nodes) == len(parts)
        uses = sum(len(part.operands) for part in parts)
        assert len(edges) == uses + sum(len(graph.results) for graph in program.graphs)
        assert sum(line.count("{") - line.count("}") for line in map(unquoted, lines)) == 0


def unquoted(line):
    """A line without its strings; each of them ends on it."""
    rest = re.sub(r'"(?:[^"\\]|\\.)*"', "", line)
    assert '"' not in rest
    return rest


def test_the_command_draws(models):
    text = ir(models / "digits.nerva", "--format", "dot", "--after", "kernels").stdout
    assert text.startswith('digraph "digits" {')
    assert 'label="group spmm"' in text
    assert text.endswith("}\n")
