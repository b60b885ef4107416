"""Names in C for things that were named elsewhere."""

from __future__ import annotations

import re

from nerva_dsl.naming import fresh_name

# Keywords of C11, and names of the standard library and of our own file that a function of a model
# may see.
_KEYWORDS = """
auto break case char const continue default do double else enum extern float for goto if inline int
long register restrict return short signed sizeof static struct switch typedef union unsigned void
volatile while asm typeof linux unix
"""
_IN_USE = """
real vector exp expm1 log log1p sqrt tanh erf pow fabs floor expf expm1f logf log1pf sqrtf tanhf
erff powf fabsf floorf minimum maximum signum minimumf maximumf signumf copysign copysignf memcpy
INFINITY NAN BATCH STRIDE WIDTH STRIP DEPTH BLOCK LANES JAM STRIPE GROUP COLUMNS ACROSS SAMPLES
PANEL_STRIP UPDATED LINE AHEAD CHUNK VECTOR_BYTES at_most in_panel rows_of
cut_work cut next_part queue parts turn piece PIECES TIMES SIDE QUEUES SHARERS
KERNEL INLINED float_of_bits double_of_bits abs min max y0 y1 yn j0 j1 jn gamma signgam
"""
_FUNCTIONS = frozenset(
    f"{name}_{real}"
    for name in (
        *("exp", "expm1", "log", "log1p", "tanh", "erf", "exp_parts", "log_parts", "significand"),
        *("multiply_add", "bits_of"),
    )
    for real in ("float", "double")
)
RESERVED = _FUNCTIONS | frozenset(_KEYWORDS.split()) | frozenset(_IN_USE.split())


def word(name: str) -> str:
    """A name as part of a C identifier."""
    return re.sub(r"\W", "_", name, flags=re.ASCII)


class Names:
    """Distinct C identifiers, each as near to the name it was made for as can be."""

    def __init__(self, taken: frozenset[str] = RESERVED) -> None:
        self._taken = set(taken)

    def fresh(self, name: str) -> str:
        """An identifier that was not given before: `name`, or `name_2`, `name_3`, …."""
        unique = fresh_name(word(name), self._taken, "_")
        self._taken.add(unique)
        return unique

    def copy(self) -> Names:
        """The same names given so far; what one gives next, the other does not know."""
        return Names(frozenset(self._taken))
