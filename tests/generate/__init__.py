"""Random programs over the whole language, each with the same model written in PyTorch.

The PyTorch side uses PyTorch's own activations, losses, normalisation and optimizers, so that it
shares nothing with the compiler but the meaning of the program.
"""

from generate.models import generate
from generate.program import Program, Run

__all__ = ["Program", "Run", "generate"]
