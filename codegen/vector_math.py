"""Mathematical functions of the generated file: their numbers, one set for each precision.

The C is in `templates/functions.c.j2`, the same text for both precisions. The polynomials were
found by `benchmarks/vector_math/minimax.py`, which prints them anew.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from nerva_dsl.codegen.c_expression import number

# The functions that each needs, beside the multiplication with addition that all do.
_PARTS = {
    "exp": "exp_parts",
    "expm1": "exp_parts",
    "tanh": "exp_parts",
    "erf": "exp_parts",
    "log": "log_parts",
    "log1p": "log_parts",
}


@dataclass(frozen=True)
class Format:
    """A floating-point format, and what the functions know of it.

    Attributes:
        name: the precision in the language.
        real, word: its type in C, and the unsigned integer of the same size.
        suffix: of the C library's functions of this type.
        fraction: bits of the significand that are stored.
        bias: of the exponent.
        exp_most, exp_least: arguments between which e^x is finite and not subnormal.
        expm1_least: e^x - 1 is -1 from here down.
        smallest, largest: the normal numbers' range.
        ln2_high, ln2_low: ln 2 in two parts; a multiple of the first by any exponent is exact.
        exp: (e^r - 1 - r) / r^2 for r from -ln(2) / 2 to ln(2) / 2, from the constant up.
        log: (log((1 + s) / (1 - s)) / s - 2) / s^2 over s^2, for |s| up to 3 - sqrt(8).
        erf_near: erf(a) / a over a^2, for a from 0 to `erf_split`.
        erf_far: -log(erfc(a)) over a - `erf_middle`, for a from `erf_split` to `erf_most`.
        erf_split, erf_middle, erf_most: see above; erf is 1 from the last on.
        errors: bound of each function's error in units of the last place, with and without fused
            multiplication; `tests/test_vector_math.py` holds them to it.
    """

    name: str
    real: str
    word: str
    suffix: str
    fraction: int
    bias: int
    exp_most: float
    exp_least: float
    expm1_least: float
    smallest: float
    largest: float
    ln2_high: float
    ln2_low: float
    exp: tuple[float, ...]
    log: tuple[float, ...]
    erf_near: tuple[float, ...]
    erf_far: tuple[float, ...]
    erf_split: float
    erf_middle: float
    erf_most: float
    errors: Mapping[str, float]

    def __call__(self, value: float) -> str:
        """A constant in C."""
        return number(value, self.name)

    def hex(self, value: int) -> str:
        """A word in C."""
        return f"{value:#x}u{'ll' if self.word == 'uint64_t' else ''}"

    @property
    def log2_e(self) -> float:
        """1 / ln 2."""
        return math.log2(math.e)

    @property
    def shifter(self) -> float:
        """Added to a number, it leaves its nearest integer in the lowest bits of the sum."""
        return 1.5 * 2.0**self.fraction

    @property
    def one_bits(self) -> int:
        """The word of 1."""
        return self.bias << self.fraction

    @property
    def half_bits(self) -> int:
        """The word of 1/2."""
        return (self.bias - 1) << self.fraction

    @property
    def two_bits(self) -> int:
        """The word of 2."""
        return (self.bias + 1) << self.fraction

    @property
    def fraction_mask(self) -> int:
        """The bits of the fraction in a word."""
        return (1 << self.fraction) - 1

    @property
    def root_half_bits(self) -> int:
        """The word of the square root of 1/2."""
        return self.half_bits | int((math.sqrt(2.0) - 1) * 2.0**self.fraction)

    @property
    def integer_bits(self) -> int:
        """The word of 2^fraction: with a small integer in its lowest bits it is that much more."""
        return (self.bias + self.fraction) << self.fraction

    @property
    def integer_offset(self) -> float:
        """What such a number has to lose to become the exponent."""
        return 2.0**self.fraction + self.bias


FLOAT = Format(
    name="float32",
    real="float",
    word="uint32_t",
    suffix="f",
    fraction=23,
    bias=127,
    exp_most=88.72283,
    exp_least=-87.33654,
    expm1_least=-18.0,
    smallest=2.0**-126,
    largest=(2 - 2.0**-23) * 2.0**127,
    ln2_high=0.693359375,
    ln2_low=-2.12194440e-4,
    exp=(0.5, 0.16666543, 0.04166628, 0.008366584, 0.0013946452),
    log=(0.66666776, 0.39977533, 0.29871997),
    erf_near=(1.1283791, -0.37612325, 0.1128018, -0.026711311, 0.004917551, -0.000563142),
    erf_far=(
        *(6.52746, 4.882919, 0.9348905, 0.013329871, -0.0028300765, 0.0004315403),
        -0.00018637888,
    ),
    erf_split=1.0,
    erf_middle=2.25,
    erf_most=4.0,
    errors={"exp": 1.0, "expm1": 2.0, "log": 1.0, "log1p": 1.5, "tanh": 2.0, "erf": 2.5},
)

DOUBLE = Format(
    name="float64",
    real="double",
    word="uint64_t",
    suffix="",
    fraction=52,
    bias=1023,
    exp_most=709.782712893384,
    exp_least=-708.3964185322641,
    expm1_least=-38.0,
    smallest=2.0**-1022,
    largest=(2 - 2.0**-52) * 2.0**1023,
    ln2_high=6.93147180369123816490e-01,
    ln2_low=1.90821492927058770002e-10,
    exp=(
        *(0.5, 0.16666666666666677, 0.0416666666666667, 0.008333333333321615),
        *(0.001388888888886683, 0.00019841269886158622, 2.4801587360570644e-05),
        *(2.755724418187763e-06, 2.755724274708041e-07, 2.5109044893179733e-08),
        2.0924447259855354e-09,
    ),
    log=(
        *(0.6666666666666734, 0.3999999999941397, 0.285714287425611, 0.22222198553877354),
        *(0.18183565403134694, 0.1531402121031178, 0.14796260361500652),
    ),
    erf_near=(
        *(1.1283791670955126, -0.37612638903183726, 0.11283791670954088),
        *(-0.026866170644964004, 0.00522397762403033, -0.0008548326951818907),
        *(0.00012055330619527485, -1.4925597291188364e-05, 1.6461280007314152e-06),
        *(-1.6356550269024936e-07, 1.4733916973451893e-08, -1.1888109631773553e-09),
        *(7.936798589612287e-11, -3.2618736302853168e-12),
    ),
    erf_far=(
        *(7.8068152727273015, 5.352680750986455, 0.9438937335210842, 0.010858072726747131),
        *(-0.0021654768847676267, 0.0004209326758878166, -7.703071842204794e-05),
        *(1.275557544773373e-05, -1.769394932780371e-06, 1.5607720476160758e-07),
        *(1.3112918222537833e-08, -1.0784679989245316e-08, 3.2899046805161207e-09),
        *(-9.604218161165418e-10, 1.951062098691192e-10),
    ),
    erf_split=1.25,
    erf_middle=2.5,
    erf_most=6.0,
    errors={"exp": 1.0, "expm1": 2.0, "log": 1.0, "log1p": 1.5, "tanh": 2.5, "erf": 3.0},
)

FORMATS = {form.name: form for form in (FLOAT, DOUBLE)}


@dataclass(frozen=True)
class Functions:
    """The functions of one format that a file needs.

    Attributes:
        form: their numbers.
        names: of the operators and of the parts that they share.
    """

    form: Format
    names: frozenset[str]


def functions(used: Mapping[str, frozenset[str]]) -> tuple[Functions, ...]:
    """What a file has to define.

    Args:
        used: the operators among `VECTORIZED` that are applied, by precision.
    """
    return tuple(
        Functions(FORMATS[precision], operators | {_PARTS[operator] for operator in operators})
        for precision, operators in sorted(used.items())
        if operators
    )
