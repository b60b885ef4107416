"""The command line: check, compile, ir, explain, help, exit statuses and messages."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nerva_dsl import __version__
from nerva_dsl.cli.app import app
from nerva_dsl.cli.failures import describe
from nerva_dsl.cli.overrides import parse_overrides
from nerva_dsl.faults import NervaError, ToolchainError

NERVAC = [sys.executable, "-c", "from nerva_dsl.cli import main; main()"]
COMMANDS = [
    "check",
    "fmt",
    "lsp",
    "compile",
    "train",
    "evaluate",
    "predict",
    "data",
    "ir",
    "explain",
    "from-nerva",
    "tune",
    "doctor",
    "cache",
]

MODEL = """\
model small

param width = 8

input  x : float32[4]
target t : class[3]

sparsity = uniform(0.5)

h = relu(linear(x, width))
y = linear(h, 3)

output = y
loss   = softmax_cross_entropy(y, t)

train {
    batch         = 10
    epochs        = 3
    learning_rate = 0.05
}
"""
BROKEN = MODEL.replace("relu(", "rellu(").replace("class[3]", "class[4]")


@pytest.fixture
def nervac(tmp_path, monkeypatch):
    """Run `nervac` in an empty folder; checks the exit status and that there is no traceback."""

    def run(*arguments, status=0, **environment):
        with monkeypatch.context() as patch:
            patch.chdir(tmp_path)
            for name, value in environment.items():
                patch.setenv(name, value)
            done = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert done.exit_code == status, done.output
        assert "Traceback" not in done.stderr
        return done

    return run


@pytest.fixture
def model(tmp_path):
    file = tmp_path / "small.nerva"
    file.write_text(MODEL)
    return file


@pytest.fixture
def broken(tmp_path):
    file = tmp_path / "broken.nerva"
    file.write_text(BROKEN)
    return file


def test_version(nervac):
    assert nervac("--version").stdout == f"nervac {__version__}\n"


def test_help_lists_the_commands(nervac):
    text = nervac("--help").stdout
    for command in COMMANDS:
        assert f"\n  {command} " in text
    assert text == nervac(status=2).stderr or "Usage:" in nervac(status=2).stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_has_examples(nervac, command):
    text = nervac(command, "--help").stdout
    assert "Examples:" in text
    assert f"\n    nervac {command} " in text
    assert nervac(command, "-h").stdout == text


HEAVY = ["numpy", "scipy", "sklearn", "rich", "pandas", "asyncio"]


@pytest.mark.parametrize(
    ("arguments", "unwanted"),
    [
        (["--help"], [*HEAVY, "lark", "jinja2", "platformdirs", "nerva_dsl.driver"]),
        (["train", "--help"], [*HEAVY, "lark", "jinja2", "platformdirs", "nerva_dsl.driver"]),
        (["check", "small.nerva"], [*HEAVY, "lark"]),
        (["fmt", "small.nerva"], [*HEAVY, "lark"]),
        (["from-nerva", "--", "--layers=Linear", "--layer-sizes=4;3"], HEAVY),
        (["ir", "small.nerva"], HEAVY),
        (["explain", "--prelude"], HEAVY),
        (["compile", "small.nerva"], [*HEAVY, "lark"]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
@pytest.mark.usefixtures("model")
def test_what_a_command_does_not_import(tmp_path, arguments, unwanted):
    program = (
        "import sys\nfrom nerva_dsl.cli import main\n"
        f"sys.argv = ['nervac', *{arguments!r}]\n"
        "try:\n    main()\nexcept SystemExit: pass\n"
        f"print('IMPORTED', [name for name in {unwanted!r} if name in sys.modules])"
    )
    command = [sys.executable, "-c", program]
    for _ in range(2):  # what is built only once may import more
        output = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout
    assert output.splitlines()[-1] == "IMPORTED []"


def test_a_standard_output_that_lacks_characters():
    done = subprocess.run(
        [*NERVAC, "explain", "--prelude", "elu"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "Formula: x where x > 0, else \\u03b1(e\\u02e3 \\u2212 1)\n" in done.stdout


def test_a_standard_output_that_is_closed():
    command = [*NERVAC, "from-nerva", "--", "--layers=Linear", "--layer-sizes=4;3", "--layer=3"]
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *command],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    expected = "error: mlp has no option `--layer`: did you mean `--layers`?\n"
    assert (done.returncode, done.stderr) == (2, expected)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["bild"], "No such command"),
        (["check"], "Missing argument"),
        (["compile", "x.nerva", "--nope"], "No such option"),
        (["compile", "x.nerva", "--backend", "gpu"], "gpu"),
        (["compile", "x.nerva", "--emit", "c,asm"], "`asm` is none of ir, c, module"),
        (["compile", "x.nerva", "--emit", ""], "is none of ir, c, module"),
        (["train", "x.nerva", "--epochs", "many"], "--epochs"),
        (["train", "x.nerva", "--epochs", "-1"], "--epochs"),
        (["train", "x.nerva", "--threads", "0"], "--threads"),
        (["predict", "run", "x.npy"], "--output"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_wrong_command_line_is_status_2(nervac, arguments, expected):
    assert expected in nervac(*arguments, status=2).stderr


def test_check_of_a_correct_file(nervac, model):
    done = nervac("check", model)
    assert done.stderr == ""
    assert "no errors" in done.stdout
    assert nervac("check", model, "-D", "width=16").stderr == ""


def test_check_reports_every_error_of_every_file(nervac, model, broken):
    done = nervac("check", broken, model, "missing.nerva", broken, status=1)
    assert done.stderr.count("`rellu`") >= 2
    assert f"{broken}:10:5" in done.stderr
    assert "cannot read missing.nerva" in done.stderr
    assert "small.nerva: no errors" in done.stdout


def test_check_in_json(nervac, model, broken):
    done = nervac("check", "--format", "json", broken, model, "missing.nerva", status=1)
    objects = [json.loads(line) for line in done.stdout.splitlines()]
    first, last = objects[0], objects[-1]
    assert first["severity"] == "error"
    assert first["code"].startswith("N0")
    assert "`rellu`" in first["message"]
    assert first["file"] == str(broken)
    assert (first["line"], first["column"]) == (10, 5)
    assert (first["end_line"], first["end_column"]) >= (10, 10)
    assert last["file"] == "missing.nerva"
    assert last["line"] is None
    assert nervac("check", "--format", "json", model).stdout == ""


def test_warnings_stop_nothing(nervac, model, tmp_path):
    model.write_text(MODEL.replace("output = y", "unused = relu(y)\noutput = y"))
    for arguments in (["check"], ["compile", "-o", "build"]):
        done = nervac(*arguments, model)
        assert "warning[" in done.stderr
        assert "`unused`" in done.stderr
    assert (tmp_path / "build" / "small.py").exists()
    (warning,) = nervac("check", "--format", "json", model).stdout.splitlines()
    assert json.loads(warning)["severity"] == "warning"


@pytest.mark.parametrize("command", ["check", "compile", "train", "ir", "explain"])
def test_files_that_cannot_be_read(nervac, tmp_path, command):
    assert "missing.nerva" in nervac(command, "missing.nerva", status=1).stderr
    assert str(tmp_path) in nervac(command, tmp_path, status=1).stderr
    (tmp_path / "binary.nerva").write_bytes(b"model \xff\xfe")
    assert "binary.nerva" in nervac(command, "binary.nerva", status=1).stderr
    (tmp_path / "empty.nerva").write_bytes(b"")
    assert "empty.nerva" in nervac(command, "empty.nerva", status=1).stderr


@pytest.mark.parametrize(
    ("command", "override", "expected"),
    [
        ("check", "width", "NAME=VALUE"),
        ("check", "=8", "NAME=VALUE"),
        ("check", "width=", "NAME=VALUE"),
        ("check", "2w=8", "NAME=VALUE"),
        ("check", "width=0.5", "width"),
        ("check", "width=)", "width"),
        ("check", "depth=8", "depth"),
        ("compile", "depth=8", "depth"),
        ("train", "depth=8", "depth"),
        ("ir", "depth=8", "depth"),
        ("explain", "depth=8", "depth"),
    ],
)
def test_overrides_that_do_not_fit(nervac, model, command, override, expected):
    assert expected in nervac(command, model, "-D", override, status=1).stderr


def test_overrides_are_parsed():
    assert parse_overrides(None) == {}
    assert parse_overrides(["a=1", " b = x=y "]) == {"a": "1", "b": "x=y"}
    with pytest.raises(NervaError, match="given twice: 1 and 2"):
        parse_overrides(["a=1", "a=2"])


def test_compile_writes_an_importable_module(nervac, model, tmp_path):
    done = nervac("compile", model, "-o", "deep/build", "-D", "width=6")
    folder = tmp_path / "deep" / "build"
    names = sorted(path.name for path in folder.iterdir())
    assert {"small.py", "small.c"} < set(names)
    assert len(names) == 3
    for name in names:
        assert f"deep/build/{name}" in done.stdout
    program = (
        "import sys, numpy; sys.path.insert(0, 'deep/build'); import small\n"
        "net = small.Model(seed=1)\n"
        "print(net.predict(numpy.ones((2, 4), 'float32')).shape, small.SPEC['params'])"
    )
    output = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    assert output == "(2, 3) {'width': 6}\n"


def test_compile_emits_what_is_asked_for(nervac, model, tmp_path):
    nervac("compile", model, "-o", "c", "--emit", "c", CC="/nonexistent/cc")
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["small.c"]
    nervac("compile", model, "-o", "ir", "--emit", "ir", CC="/nonexistent/cc")
    assert [path.name for path in (tmp_path / "ir").iterdir()] == ["small.ir"]
    nervac("compile", model, "-o", "module", "--emit", "module")
    names = sorted(path.name for path in (tmp_path / "module").iterdir())
    assert len(names) == 2
    assert "small.py" in names
    nervac("compile", model, "-o", "all", "--emit", "ir, c,module")
    assert len(list((tmp_path / "all").iterdir())) == 4
    assert (tmp_path / "all" / "small.c").read_text() == (tmp_path / "c" / "small.c").read_text()


def test_compile_without_a_compiler_is_status_3(nervac, model, tmp_path):
    done = nervac(
        *("compile", model),
        status=3,
        CC="/nonexistent/cc",
        NERVAC_CACHE_DIR=str(tmp_path / "cache"),
    )
    assert done.stderr.startswith("error: ")
    assert "/nonexistent/cc" in done.stderr


def test_compile_of_a_wrong_file_writes_nothing(nervac, broken, tmp_path):
    assert "`rellu`" in nervac("compile", broken, "-o", "build", status=1).stderr
    assert not (tmp_path / "build").exists()


def test_compile_into_a_file_is_refused(nervac, model, tmp_path):
    (tmp_path / "taken").write_text("")
    assert "taken" in nervac("compile", model, "-o", "taken", status=1).stderr


def test_unknown_target(nervac, model):
    assert "z80" in nervac("compile", model, "--target", "z80", status=1).stderr


def test_ir_prints_every_stage(nervac, model):
    done = nervac("ir", model, "--after", "nope", status=2)
    stages = done.stderr.partition("the stages are ")[2].strip().split(", ")
    assert len(stages) > 2
    texts = [nervac("ir", model, "--after", stage).stdout for stage in stages]
    assert all(texts)
    assert nervac("ir", model).stdout == texts[-1]


def test_explain_shows_layers_and_kernels(nervac, model):
    text = nervac("explain", model).stdout
    assert "8 × 4" in text
    assert "3 × 8" in text
    assert "FLOPs" in text
    assert "kernel" in text


def test_a_reader_that_goes_away_is_no_fault(model):
    for arguments in (["--help"], ["ir", str(model)], ["explain", str(model)]):
        reader, writer = os.pipe()
        os.close(reader)
        try:
            done = subprocess.run(
                [*NERVAC, *arguments],
                stdout=writer,
                stderr=subprocess.PIPE,
                text=True,
                timeout=60,
                check=False,
            )
        finally:
            os.close(writer)
        assert done.returncode == 1
        assert done.stderr == ""


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (NervaError("a sentence"), 1, "error: a sentence"),
        (ToolchainError("no compiler"), 3, "error: no compiler"),
        (FileNotFoundError(errno.ENOENT, "No such file", "a"), 1, "error: a: no such file"),
        (OSError(errno.ENOSPC, "No space left", "a"), 3, "error: a: no space left"),
        (OSError(errno.EROFS, "Read-only"), 3, "error: read-only"),
        (MemoryError(), 3, "error: out of memory"),
        (FloatingPointError("the loss is inf"), 1, "error: the loss is inf"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_what_goes_wrong_becomes_a_status_and_a_sentence(error, status, message):
    assert describe(error) == (status, message)


def test_a_fault_of_our_own_says_so():
    status, message = describe(ZeroDivisionError("surprise"))
    assert status == 70
    assert "ZeroDivisionError: surprise" in message
    assert "this is a fault of nervac" in message
    assert "Please report it" in message


def test_the_console_script_is_installed():
    script = Path(sys.executable).with_name("nervac")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert __version__ in done.stdout
