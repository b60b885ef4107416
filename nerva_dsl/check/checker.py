"""The checker's walk over a file: names, types, shapes and densities, statement by statement."""

from __future__ import annotations

import keyword
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from nerva_dsl import model, syntax
from nerva_dsl.check import warnings
from nerva_dsl.check.bodies import ConstantEvaluator
from nerva_dsl.check.checked import Checked
from nerva_dsl.check.definitions import define
from nerva_dsl.check.densities import Sparsity, check_sparsity
from nerva_dsl.check.final import final_values
from nerva_dsl.check.finish import check_batch, check_learning
from nerva_dsl.check.graph import Graph, Owner
from nerva_dsl.check.imports import Imports, bind
from nerva_dsl.check.metrics import LABELLED, check_accuracy, check_metric, clashes
from nerva_dsl.check.overrides import Overrides
from nerva_dsl.check.prelude import new_scope
from nerva_dsl.check.ranges import check_ranges
from nerva_dsl.check.reading import Reader, read_source
from nerva_dsl.check.regrowing import RegrowChoice, check_changing, check_regrow, resolve_regrow
from nerva_dsl.check.report import Report, suggest
from nerva_dsl.check.resolve import Resolved, resolve
from nerva_dsl.check.roles import LossRole
from nerva_dsl.check.rules import Rules
from nerva_dsl.check.settings import Training, check_training
from nerva_dsl.check.terms import UNKNOWN, Constant, Scalar, Symbol, Term, Unknown
from nerva_dsl.check.values import ValueEvaluator
from nerva_dsl.errors import DiagnosticError, Note
from nerva_dsl.model import CheckedModel
from nerva_dsl.record import replace
from nerva_dsl.source import Span

MAX_CLASSES = 2**24


class Checker:
    """Checks one file."""

    def __init__(
        self,
        file: syntax.File,
        overrides: Mapping[str, object],
        report: Report,
        read: Reader = read_source,
    ) -> None:
        self.file = file
        self.report = report
        report.file(file.source)
        self.scope = new_scope()
        self.imports = Imports(file.source, read)
        self.scope.coming.update(_names(file))
        self.graph = Graph(Path(file.source.name).parent)
        self.constants = ConstantEvaluator(report, self.scope)
        self.overrides = Overrides(report, overrides)
        self.params: dict[str, Constant] = {}
        self.declared = {
            statement.kind: statement
            for statement in reversed(file.statements)
            if isinstance(statement, syntax.Declaration)
        }
        self.once: dict[str, Span] = {}
        self.model_name: syntax.Name | None = None
        self.input: model.InputSpec | None = None
        self.target: model.TargetSpec | None = None
        self.bindings: dict[str, model.Value] = {}
        self.output: model.Value | None = None
        self.loss: model.Value | None = None
        self.metrics: dict[str, model.Metric] = {}
        self.sparsity: Sparsity | None = None
        self.train: syntax.Settings | None = None
        self.regrow_block: syntax.Settings | None = None
        self.regrow: RegrowChoice | None = None

    def check(self) -> Checked:
        """Check everything.

        Raises:
            DiagnosticError: with every error of the file.
        """
        for statement in self.file.statements:
            self._statement(statement)
        self._check_parts()
        self.overrides.check_all_used(self.params, self.scope)
        place = self.model_name.span if self.model_name else Span(self.file.source, 0, 0)
        training = check_training(self.report, self.scope, self.train, place)
        if self.regrow_block is not None:
            self.regrow = check_regrow(self.report, self.scope, self.regrow_block)
        if self.output is None or self.loss is None or self.input is None or not self.model_name:
            raise DiagnosticError(self.report.errors)
        return self._finish(training, self.model_name, self.input, self.output, self.loss)

    def _finish(
        self,
        training: Training,
        name: syntax.Name,
        input_: model.InputSpec,
        output: model.Value,
        loss: model.Value,
    ) -> Checked:
        rules = Rules(training.rule)
        roots = [output, loss, *(metric.value for metric in self.metrics.values())]
        resolved = resolve(self.report, self.graph, self.sparsity, rules, roots)
        if not self.report.errors:
            self._warn(training, resolved)
        check_learning(self.report, loss)
        check_batch(self.report, training, resolved.of(model.BatchNorm))
        if "accuracy" in self.metrics:
            check_accuracy(self.report, self.metrics["accuracy"], output, self.target)
        check_ranges(self.report, training, resolved, rules.rules)
        if self.regrow is not None:
            check_changing(self.report, self.regrow, resolved.weights)
        if self.report.errors:
            raise DiagnosticError(self.report.errors)

        def complete() -> CheckedModel:
            final = final_values(self.graph, resolved)
            done = final.values
            regrow = self.regrow
            return CheckedModel(
                name=name.text,
                source=self.file.source,
                params=tuple(self.params.items()),  # type: ignore[arg-type]  # lists are refused
                input=input_,
                target=self.target,
                values=tuple(done[value] for value in self.bindings.values() if value in done),
                layers=final.layers,
                parameters=final.parameters,
                output=done[output],
                loss=done[loss],
                metrics=tuple(
                    replace(metric, value=done[metric.value]) for metric in self.metrics.values()
                ),
                rules=rules.rules,
                schedule=training.schedule,
                weight_decay=training.weight_decay,
                clip_norm=training.clip_norm,
                regrow=None if regrow is None else resolve_regrow(regrow, final.layers),
                batch=training.batch,
                epochs=training.epochs,
                seed=training.seed,
                shuffle=training.shuffle,
                precision=training.precision,
                imports=self.imports.sources,
            )

        found = tuple(self.imports.found)
        return Checked(complete, self.report.warnings, found, self.graph.patterns)

    def _warn(self, training: Training, resolved: Resolved) -> None:
        """Look for what is most probably not meant."""
        report = self.report
        warnings.warn_unused_values(report, self.bindings, self.scope.symbols, resolved.alive)
        warnings.warn_unused_definitions(report, self.file)
        warnings.warn_unreached(report, resolved.weights, resolved.prefix)
        for softmaxes in (resolved.of(model.Softmax), resolved.of(model.LogSoftmax)):
            warnings.warn_softmax_twice(report, softmaxes, self.graph.names)
        for block in (self.train, self.regrow_block):
            for line in block.lines if block is not None else ():
                if isinstance(line, syntax.Binding):
                    warnings.warn_late_milestones(report, self.scope, line.value, training)

    def _statement(self, node: syntax.Statement) -> None:
        match node:
            case syntax.Constant():
                self._constant(node)
            case syntax.Binding():
                self._binding(node)
            case syntax.Declaration():
                self._declaration(node)
            case syntax.Role():
                self._role(node)
            case syntax.Definition() | syntax.BlockDefinition():
                define(self.report, self.scope, node)
            case syntax.ModelName():
                self._model(node)
            case syntax.Settings(kind="train"):
                if self._only_one("train", node.keyword):
                    self.train = node
            case syntax.Settings():
                if self._only_one("regrow", node.keyword):
                    self.regrow_block = node
            case syntax.Metric():
                self._metric(node)
            case syntax.Import():
                self.imports.bring(self.report, self.scope, node)
            case syntax.Broken():
                self._broken(node)

    def _broken(self, node: syntax.Broken) -> None:
        """What was meant here is not missing, but nothing is known of it."""
        if node.keyword:
            self.once.setdefault(node.keyword, node.span)
        if node.name is not None:
            self.scope.poisoned.add(node.name.text)

    def _only_one(self, part: str, span: Span) -> bool:
        if part in self.once:
            self.report.error(
                "N0212",
                f"a model has one `{part}`",
                span,
                notes=[Note(self.once[part], "given here first")],
            )
            return False
        self.once[part] = span
        return True

    def _bind(self, name: syntax.Name, kind: str, term: Term) -> bool:
        return bind(self.report, self.scope, name, Symbol(kind, term, name.span))  # type: ignore[arg-type]

    def _model(self, node: syntax.ModelName) -> None:
        if not self._only_one("model", node.span):
            return
        self.model_name = node.name
        text = node.name.text
        if keyword.iskeyword(text):
            self.report.error(
                "N0216",
                f"`{text}` is a word of Python, and a model's name is also a Python module's",
                node.name.span,
                help=f"choose another name, such as `{text}_model`",
            )
        elif text in _TAKEN_MODULES:
            self.report.error(
                "N0216",
                f"a module `{text}` would hide the Python module of that name",
                node.name.span,
                help=f"choose another name, such as `{text}_model`",
            )
        if self.file.statements[0] is not node:
            first = self.file.statements[0].span
            self.report.error(
                "N0211",
                "the file does not begin with `model NAME`",
                node.span,
                notes=[Note(first, "this comes first")],
            )

    def _constant(self, node: syntax.Constant) -> None:
        value = self.constants.constant(node.value)
        if node.kind == "param":
            if isinstance(value, tuple):
                value = self.report.error(
                    "N0204",
                    "a `param` is a number, a truth value or a string",
                    node.value.span,
                    help=f"use `let {node.name.text} = …` for a list",
                )
            value = self.overrides.apply(node, value)
        if self._bind(node.name, node.kind, value) and node.kind == "param":
            self.params[node.name.text] = 0 if isinstance(value, Unknown) else value

    def _declaration(self, node: syntax.Declaration) -> None:
        if not self._only_one(node.kind, node.span):
            return
        kinds = ("uint8", "float32") if node.kind == "input" else ("class", "float32")
        kind = node.type.name.text
        size = self._evaluator("").size(node.type.size, f"the size of the {node.kind}")
        term: Term = UNKNOWN
        if kind not in kinds:
            self.report.error(
                "N0204",
                f"the {node.kind} is {kinds[0]} or {kinds[1]}, not `{kind}`",
                node.type.name.span,
                help=_type_help(node, kinds),
            )
        elif not isinstance(size, Unknown):
            name, span = node.name.text, node.span
            if node.kind == "input":
                self.input = model.InputSpec(name, kind, size, span)  # type: ignore[arg-type]
                term = self.graph.add(model.Input(size, span, name))
            elif kind == "class" and size > MAX_CLASSES:
                self.report.error(
                    "N0208", f"at most {MAX_CLASSES} classes, not {size}", node.type.size.span
                )
            else:
                meaning = "class" if kind == "class" else "real"
                self.target = model.TargetSpec(name, meaning, size, span)  # type: ignore[arg-type]
                term = self.graph.add(model.Target(size, span, name))
        self._bind(node.name, node.kind, term)

    def _binding(self, node: syntax.Binding) -> None:
        name = node.name.text
        value = self._evaluator(name).value(node.value)
        term: Term = UNKNOWN
        first = False
        if value is not None:
            term = self.graph.scalar(value)
            first = self.graph.name(value, name)
        if self._bind(node.name, "value", term) and value is not None and first:
            self.bindings[name] = value

    def _role(self, node: syntax.Role) -> None:
        if not self._only_one(node.kind, node.keyword):
            return
        if node.kind == "sparsity":
            sparsity = check_sparsity(self.constants, node.value)
            self.sparsity = None if isinstance(sparsity, Unknown) else sparsity
            return
        if node.kind == "output":
            value = self._evaluator("output").value(node.value)
        else:
            value = self._loss(self._losses("loss"), node)
        if value is not None:
            self.graph.name(value, node.kind)
        if node.kind == "output":
            self.output = value
        else:
            self.loss = value

    def _evaluator(self, name: str, *, target: bool = False) -> ValueEvaluator:
        """What evaluates the values that stand after `name =`."""
        return ValueEvaluator(
            self.report,
            self.scope,
            self.graph,
            Owner(name),
            target=target,
            constants=self.constants,
        )

    def _losses(self, name: str, metrics: Sequence[str] = ()) -> LossRole:
        """What evaluates losses that stand after `name =`."""
        evaluator = self._evaluator(name, target=True)
        compared = self.input.name if self.input is not None else None
        return LossRole(evaluator, compared, self.declared.get("target"), metrics)

    def _metric(self, node: syntax.Metric) -> None:
        name = node.name.text
        role = self._losses(name, LABELLED)
        if not clashes(node, role, self.metrics):
            metric = check_metric(node, role, self.target)
            if metric is not None:
                self.metrics[name] = metric

    def _loss(self, role: LossRole, node: syntax.Role) -> model.Value | None:
        term = role.evaluate(node.value)
        if isinstance(term, Unknown):
            return None
        if not isinstance(term, Scalar):
            self.report.error("N0217", "a loss is needed here, not a constant", node.value.span)
            return None
        if not role.values.within_bounds(node.value.span, term.expression):
            return None
        return self.graph.value(term, node.value.span)

    def _check_parts(self) -> None:
        """Report the parts that every model has."""
        wanted = {
            "input": "input x : float32[64]",
            "output": "output = y",
            "loss": "loss = squared_error(y, t)",
        }
        start = Span(self.file.source, 0, 0)
        if "model" not in self.once:
            self.report.error(
                "N0211",
                "the file does not name its model",
                start,
                help="the first line is `model NAME`",
            )
        for part, example in wanted.items():
            if part not in self.once:
                self.report.error(
                    "N0211",
                    f"the model has no `{part}`",
                    self.once.get("model", start),
                    help=f"add a line such as `{example}`",
                )


# A compiled `random.py` on Python's path would break all imports of the real one, NumPy's included.
_TAKEN_MODULES = sys.stdlib_module_names | {"nerva_dsl", "numpy", "scipy", "cffi"}


def _names(file: syntax.File) -> dict[str, Span]:
    """The places of the names of values and constants that a file defines."""
    return {
        statement.name.text: statement.name.span
        for statement in reversed(file.statements)
        if isinstance(statement, syntax.Constant | syntax.Binding | syntax.Declaration)
    }


def _type_help(node: syntax.Declaration, kinds: tuple[str, str]) -> str:
    kind = node.type.name.text
    if node.kind == "input" and kind == "class":
        return f"labels are a target: `target t : {node.type.span.text}`"
    if kind in ("float64", "double"):
        return "for double precision: `precision = float64` in `train`"
    return suggest(kind, kinds)
