"""Scalar expressions: nodes, text, symbolic derivative, simplification, evaluation."""

from nerva_dsl.scalar.nodes import (
    MAX_FACTORS,
    OPERATORS,
    Apply,
    Expr,
    Number,
    Operator,
    Var,
    apply,
    is_truth,
    once_stated,
    rebuild,
    substitute,
    variables,
    walk,
    without_stated,
)

__all__ = [
    "MAX_FACTORS",
    "OPERATORS",
    "Apply",
    "Expr",
    "Number",
    "Operator",
    "Var",
    "apply",
    "is_truth",
    "once_stated",
    "rebuild",
    "substitute",
    "variables",
    "walk",
    "without_stated",
]
