"""`nervac train`: a new run, or an interrupted one that goes on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

from nerva_dsl import driver
from nerva_dsl.cli.check import print_warnings
from nerva_dsl.cli.copies import copies
from nerva_dsl.cli.failures import UsageError, describe
from nerva_dsl.cli.measures import plain
from nerva_dsl.cli.overrides import parse_overrides
from nerva_dsl.cli.plots import draw_run, require_matplotlib
from nerva_dsl.cli.reporters import End, Reporter, Start, choose_reporter
from nerva_dsl.runtime.data import DataSet, load_data
from nerva_dsl.runtime.loading import load_module
from nerva_dsl.runtime.model import Model
from nerva_dsl.runtime.run_directory import Run, RunDirectory, RunError, Settings, Status
from nerva_dsl.runtime.training import Interrupts, train


@dataclass(frozen=True)
class Request:
    """The options of the command; None where one was not given."""

    file: Path | None
    data: str | None
    overrides: tuple[str, ...]
    epochs: int | None
    seed: int | None
    threads: int | None
    output: Path | None
    json: bool
    backend: str | None
    target: str | None
    resume: Path | None
    plot: bool


@dataclass(frozen=True)
class Prepared:
    """A training that can begin.

    Attributes:
        module: the compiled model's.
        model: new, or as the checkpoint has it.
        data: what to train and to test on.
        directory: of the run.
        run: what run.json says.
    """

    module: ModuleType
    model: Model
    data: DataSet
    directory: RunDirectory
    run: Run


def train_command(request: Request) -> int:
    """Train as the options say; returns the exit status.

    Raises:
        UsageError: the options do not go together.
    """
    _check(request)
    if request.plot:
        require_matplotlib()
    reporter = choose_reporter(as_json=request.json)
    try:
        if request.resume is None:
            prepared = _begin(request)
            with prepared.directory.locked():
                return _train(prepared, reporter, plot=request.plot)
        directory = RunDirectory.open(request.resume)
        with directory.locked():
            return _train(_resume(request, directory), reporter, plot=request.plot)
    except Exception as error:
        reporter.error(*describe(error))
        raise
    finally:
        reporter.close()


def _check(request: Request) -> None:
    """Refuse options that do not go together."""
    if request.resume is None:
        if request.file is None:
            raise UsageError("a FILE to train is missing, or --resume RUN_DIR")
        return
    if request.file is not None:
        raise UsageError("--resume goes on with the run's own model: leave the FILE out")
    fixed = {
        "-D": bool(request.overrides),
        "--seed": request.seed is not None,
        "--output": request.output is not None,
        "--backend": request.backend is not None,
        "--target": request.target is not None,
    }
    given = [option for option, is_given in fixed.items() if is_given]
    if given:
        raise UsageError(f"{given[0]} cannot change when a run goes on with --resume")


def _begin(request: Request) -> Prepared:
    """Compile, read the data, and make the run directory: last, so that no failure leaves one."""
    assert request.file is not None  # _check
    overrides = parse_overrides(request.overrides)
    kept = copies(print_warnings(request.file, overrides), overrides)
    module = _compile(
        request.file, overrides, request.backend or "auto", request.target or "native"
    )
    spec = module.SPEC
    seed = spec["seed"] if request.seed is None else request.seed
    data = load_data(request.data, spec, seed)
    settings = Settings(
        data=data.source,
        overrides=kept.overrides,
        seed=seed,
        epochs=spec["epochs"] if request.epochs is None else request.epochs,
        threads=request.threads,
        backend=spec["backend"],
        target=request.target or "native",
    )
    model = module.Model(seed=seed, threads=request.threads)
    directory = RunDirectory.create(request.output, spec["name"], kept.model, kept.files)
    run = Run(spec["name"], settings, data.fingerprint(), data.description)
    try:
        model.save(directory.weights_file)
        directory.write(run)
    except BaseException:
        directory.discard()
        raise
    return Prepared(module, model, data, directory, run)


def _resume(request: Request, directory: RunDirectory) -> Prepared:
    """Compile the run's own copy of the file with its settings, and load its checkpoint."""
    run = directory.read()
    settings = run.settings
    module = compile_run(directory, settings)
    data = load_data(request.data or settings.data, module.SPEC, settings.seed)
    if data.fingerprint() != run.fingerprint:
        raise RunError(
            f"{directory.path} was trained on other data ({run.description}); "
            f"what is at {data.source} now differs from it"
        )
    model = load_model(module, directory, request.threads or settings.threads)
    settings = replace(
        settings,
        data=data.source,
        threads=request.threads or settings.threads,
        epochs=settings.epochs if request.epochs is None else model.epoch + request.epochs,
    )
    return Prepared(module, model, data, directory, replace(run, settings=settings))


def load_model(module: ModuleType, directory: RunDirectory, threads: int | None) -> Model:
    """The model of a run's checkpoint.

    Raises:
        RunError: the checkpoint is damaged, or of another model.
    """
    try:
        model: Model = module.Model.load(directory.weights_file, threads=threads)
    except ValueError as error:
        raise RunError(str(error)) from error
    return model


def compile_run(directory: RunDirectory, settings: Settings) -> ModuleType:
    """The module of a run, from its own copy of the file."""
    return _compile(
        directory.model_file, dict(settings.overrides), settings.backend, settings.target
    )


def _compile(file: Path, overrides: dict[str, str], backend: str, target: str) -> ModuleType:
    return load_module(driver.compile_model(file, overrides, backend=backend, target=target))


def _train(prepared: Prepared, reporter: Reporter, *, plot: bool) -> int:
    """Train, telling the reporter; run.json says in the end how it went."""
    model, directory, run = prepared.model, prepared.directory, prepared.run
    with Interrupts() as interrupts:
        with interrupts.held():
            directory.cut_metrics(model.epoch)
            directory.write(replace(run, status="running"))
            reporter.start(_start(prepared))
        try:
            outcome = train(
                model,
                prepared.data,
                directory,
                epochs=run.settings.epochs,
                observer=reporter,
                interrupts=interrupts,
            )
        except Exception as error:
            gone = isinstance(error, BrokenPipeError)  # whoever read our lines has stopped
            directory.write(replace(run, status="interrupted" if gone else "failed"))
            raise
        with interrupts.held():
            status: Status = "finished" if outcome.interrupted is None else "interrupted"
            directory.write(replace(run, status=status))
            plots = _draw(prepared) if plot else []
            reporter.end(
                End(
                    status=status,
                    epoch=model.epoch,
                    epochs=run.settings.epochs,
                    run=str(directory.path),
                    loss=outcome.metrics.get("loss"),
                    accuracy=outcome.metrics.get("accuracy"),
                    metrics={
                        name: plain(value)
                        for name, value in outcome.metrics.items()
                        if name not in ("loss", "accuracy")
                    },
                    plots=[str(file) for file in plots],
                )
            )
    return 0 if outcome.interrupted is None else 128 + outcome.interrupted


def _draw(prepared: Prepared) -> list[Path]:
    overrides = prepared.run.settings.overrides
    return draw_run(prepared.directory, overrides, prepared.model, prepared.data.sample_shape)


def _start(prepared: Prepared) -> Start:
    spec, settings = prepared.module.SPEC, prepared.run.settings
    return Start(
        model=spec["name"],
        run=str(prepared.directory.path),
        data=prepared.data.description,
        samples=len(prepared.data.X_train),
        test_samples=len(prepared.data.X_test),
        epoch=prepared.model.epoch,
        epochs=settings.epochs,
        seed=settings.seed,
        backend=settings.backend,
        target=settings.target,
        layers=spec["layers"],
    )
