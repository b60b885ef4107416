"""`.npz` archives, as Nerva writes them, and as scikit-learn's users do."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nerva_dsl.runtime.archives import DamagedError, reading_arrays
from nerva_dsl.runtime.data.arrays import Arrays, DataError

NPZ_KEYS = {
    "X_train": ("Xtrain", "X_train"),
    "t_train": ("Ttrain", "y_train"),
    "X_test": ("Xtest", "X_test"),
    "t_test": ("Ttest", "y_test"),
}


def read_npz(path: str) -> Arrays:
    """A NumPy archive with Nerva's keys, Xtrain and Ttrain, or with X_train and y_train.

    The test part, Xtest and Ttest or X_test and y_test, may be missing. Nothing is executed.
    """
    file = Path(path)
    try:
        with reading_arrays():
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise DataError(f"{path} is one array; an .npz archive with several is needed")
            with archive:
                keys = list(archive.files)
                found = {
                    name: next((archive[key] for key in alternatives if key in keys), None)
                    for name, alternatives in NPZ_KEYS.items()
                }
    except FileNotFoundError:
        raise DataError(f"there is no file {path}") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    except DamagedError as error:
        raise DataError(
            f"{path} is not an .npz file of numbers: it is cut short, of another kind, or holds "
            "Python objects, which are never loaded"
        ) from error

    X_train, t_train, X_test, t_test = (found[name] for name in NPZ_KEYS)
    if X_train is None:
        raise DataError(f"{path} has no Xtrain or X_train; it has {_listed(keys)}")
    if X_test is not None and t_train is not None and t_test is None:
        raise DataError(f"{path} has test inputs without Ttest or y_test; it has {_listed(keys)}")
    return Arrays(X_train, t_train, X_test, t_test, str(file.resolve()), file.name)


def _listed(keys: list[str]) -> str:
    return ", ".join(keys) if keys else "nothing in it"
