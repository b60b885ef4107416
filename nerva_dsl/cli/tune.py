"""`nervac tune`: measure this machine for the cost model."""

from __future__ import annotations

from statistics import median

from nerva_dsl.cli.tables import output_console


def tune_machine() -> None:
    """Measure, fit, keep and show the constants.

    Raises:
        ToolchainError: there is no C compiler, or it fails.
        OSError: the constants cannot be kept.
    """
    from rich.console import Console
    from rich.progress import track

    from nerva_dsl.cli.tables import constant_table
    from nerva_dsl.runtime.mkl import find_mkl
    from nerva_dsl.runtime.target import resolve_target
    from nerva_dsl.runtime.tuned import save_constants
    from nerva_dsl.tuning import TRIALS, errors, fit, measure

    progress = Console(stderr=True)
    target = resolve_target("native")
    trials = [trial for trial in TRIALS if trial.backend != "mkl" or find_mkl() is not None]
    samples = [
        sample
        for trial in track(
            trials, "measuring", console=progress, transient=True, disable=not progress.is_terminal
        )
        for sample in measure(trial, target)
    ]
    machine = fit(samples, target.usual)
    path = save_constants(target.features, machine.constants())
    console = output_console()
    console.print(constant_table(target.usual, machine))
    before, after = (
        median(abs(error) for error in errors(samples, known)) for known in (target.usual, machine)
    )
    console.print(f"Median error of a kernel's predicted time: {after:.0%}; it was {before:.0%}.")
    console.print(f"Kept in {path}.")


def forget_machine() -> None:
    """Remove the constants that were kept."""
    from nerva_dsl.runtime.tuned import forget_constants, tuned_file

    if forget_constants():
        output_console().print(f"Removed {tuned_file()}.")
    else:
        output_console().print("Nothing was measured: there is nothing to forget.")
