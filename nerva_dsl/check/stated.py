"""`derivative` clauses: the derivative of a function as its definition states it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from nerva_dsl import syntax
from nerva_dsl.check.bodies import BodyEvaluator, number_of
from nerva_dsl.check.environment import OptionSpec
from nerva_dsl.check.terms import Scalar, is_number
from nerva_dsl.scalar import Expr, Var, apply, variables
from nerva_dsl.scalar.derivative import derivative
from nerva_dsl.scalar.simplify import value_at

VALUE = "y"
"""What the function's own value is called in the clause."""

# An odd multiple of an irrational step, so that no point is a kink that anyone would write.
_POINTS = [0.0617 * math.sqrt(3) * (2 * place + 1) for place in range(-50, 50)]
_TOLERANCE = 1e-6
_STAND_IN = 0.75  # for an option without a default


def with_derivative(
    evaluator: BodyEvaluator,
    node: syntax.Definition,
    body: Expr,
    options: Sequence[OptionSpec],
) -> Expr | None:
    """The body of a function together with the derivative that its definition states.

    Where the two do not agree it is a warning: a surrogate gradient may be meant.

    Args:
        evaluator: of the body, with the names of the definition.
        node: the definition; it has a `derivative`.
        body: over the inputs and options.
        options: of the definition.

    Returns:
        A `stated` expression; None if an error was reported.
    """
    assert node.derivative is not None
    report, inputs = evaluator.report, node.signature.inputs
    if len(inputs) != 1:
        report.error(
            "N0403",
            f"a `derivative` is stated by one input, and `{node.name.text}` has {len(inputs)}",
            node.derivative.span,
            help="leave it out: derivatives are symbolic",
        )
        return None
    for name in (*inputs, *(option.name for option in node.signature.options)):
        if name.text == VALUE:
            report.error(
                "N0202",
                f"`{VALUE}` is the function's own value in its `derivative`",
                name.span,
                help="give this one another name",
            )
            return None
    clause = BodyEvaluator(
        report, evaluator.scope, "function", {**evaluator.local, VALUE: Scalar(body)}
    )
    slope = number_of(clause, node.derivative)
    if slope is None:
        return None
    _compare(evaluator, node, body, slope, options)
    return apply("stated", body, Var(inputs[0].text), slope)


def _compare(
    evaluator: BodyEvaluator,
    node: syntax.Definition,
    body: Expr,
    slope: Expr,
    options: Sequence[OptionSpec],
) -> None:
    """Warn of the point at which the stated and the symbolic derivative differ most."""
    assert node.derivative is not None
    x = node.signature.inputs[0].text
    given: dict[str, float] = {
        option.name: float(option.default) if is_number(option.default) else _STAND_IN  # type: ignore[arg-type]
        for option in options
        if option.name in {*variables(body), *variables(slope)}
    }
    symbolic = derivative(body, x)
    worst, most = (0.0, 0.0, 0.0), _TOLERANCE
    for point in _POINTS:
        operands = {**given, x: point}
        right, found = value_at(symbolic, operands), value_at(slope, operands)
        if not math.isfinite(right):
            continue  # outside the function's domain, or where a form overflows
        error = abs(found - right) / (1 + abs(right))
        if math.isnan(error) or error > most:
            worst, most = (point, found, right), math.inf if math.isnan(error) else error
    if most == _TOLERANCE:
        return
    point, found, right = worst
    options_text = "".join(f", {name} = {value:g}" for name, value in given.items())
    evaluator.report.warning(
        "N0251",
        f"at {x} = {point:.4g}{options_text} this is {found:.6g}, and the derivative of "
        f"`{node.name.text}` is {right:.6g}",
        node.derivative.span,
        help="it is used as it stands: right for a surrogate gradient, wrong for a slip of the pen",
    )
