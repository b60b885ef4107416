"""Data that is refused, in the tests of all its forms."""

import pytest

from nerva_dsl.runtime.data import DataError, load_data


def refused(text, model, *expected):
    with pytest.raises(DataError) as caught:
        load_data(text, model, 1)
    for part in expected:
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)
