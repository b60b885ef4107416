"""Scalar expressions: nodes, text, symbolic derivative, simplification, evaluation."""

from nerva_dsl.scalar.nodes import (
    OPERATORS,
    Apply,
    Expr,
    Number,
    Operator,
    Var,
    apply,
    is_truth,
    rebuild,
    substitute,
    variables,
    walk,
    without_stated,
)

__all__ = [
    "OPERATORS",
    "Apply",
    "Expr",
    "Number",
    "Operator",
    "Var",
    "apply",
    "is_truth",
    "rebuild",
    "substitute",
    "variables",
    "walk",
    "without_stated",
]
