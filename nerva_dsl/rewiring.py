"""How dynamic sparse training may remove weights and grow others.

The places of these names are their numbers in the generated code.
"""

PRUNERS = ("magnitude", "set", "threshold")
GROWERS = ("random", "gradient", "momentum")
