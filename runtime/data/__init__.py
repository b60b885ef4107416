"""Data sets for the command line: found by a short text, checked against the model that reads them.

    load_data("digits", digits.SPEC, seed=1)
    load_data("idx:fashion", fashion.SPEC, seed=1)
    load_data("cifar10.npz", cifar10.SPEC, seed=1)

A kind of data is one row of `SOURCES`: how it is written, and a function that reads raw arrays. All
else, the conversion to the types of the model and the test part, is common to the sources.
"""

from __future__ import annotations

from nerva_dsl.runtime.data.arrays import DataError, DataSet
from nerva_dsl.runtime.data.load import load_data
from nerva_dsl.runtime.data.sources import SOURCES

__all__ = ["SOURCES", "DataError", "DataSet", "load_data"]
