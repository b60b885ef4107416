"""The results in words and tables: Markdown and JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.yardstick.workloads import REFERENCE, WORKLOADS, Workload

# What this compiler wants to reach at least: times faster than PyTorch with masks, and with CSR;
# of the reference network.
GOALS: dict[str, dict[float, float]] = {
    "PyTorch masked": {0.001: 90, 0.01: 45, 0.05: 11, 0.1: 6.5, 0.2: 3, 0.5: 1.2},
    "PyTorch CSR": {0.001: 17, 0.01: 15, 0.05: 4, 0.1: 4, 0.2: 3},
    "PyTorch dense": {1.0: 1.2},
}

Results = Mapping[str, Any]


def write_json(results: Results, file: Path) -> None:
    """Write everything that was measured."""
    file.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def markdown(results: Results, figures: Mapping[str, str]) -> str:
    """Tables of everything that was measured.

    Args:
        results: as `write_json` writes them.
        figures: address of each plot's SVG file, by the plot's name.
    """
    workload = workload_of(results)
    sections = [_head(results)]
    if "step" in results:
        sections.append(_step(results["step"], figures, workload))
    writers = {
        "predict": _predict,
        "regrow": _regrow,
        "memory": _memory,
        "compile": _compile,
    }
    for part, write in writers.items():
        if part in results:
            sections.append(write(results[part], figures))
    text = "\n\n".join(section.strip() for section in sections) + "\n"
    if workload == REFERENCE:
        return text
    # Below a heading of its own: a document can hold several networks.
    below = re.sub(r"^#", "##", text, flags=re.MULTILINE)
    return f"## The network {workload.name}\n\n{workload.describe()}.\n\n{below}"


def workload_of(results: Results) -> Workload:
    """The network that was measured; the reference where nothing says which."""
    return WORKLOADS[results.get("network", REFERENCE.name)]


def put_into(document: str, tables: str, workload: Workload) -> str:
    """A document with the text between a network's two markers replaced.

    It is appended if there are none.
    """
    begin, end = markers(workload)
    block = f"{begin}\n\n{tables}\n{end}"
    if begin in document and end in document:
        before, rest = document.split(begin, 1)
        return before + block + rest.split(end, 1)[1]
    return f"{document.rstrip()}\n\n{block}\n".lstrip()


def markers(workload: Workload) -> tuple[str, str]:
    """The comments before and after a network's tables in a document."""
    command = "python -m benchmarks.yardstick"
    if workload == REFERENCE:
        return f"<!-- yardstick: written by {command} -->", "<!-- yardstick: end -->"
    name = workload.name
    return (
        f"<!-- yardstick {name}: written by {command} --network {name} -->",
        f"<!-- yardstick {name}: end -->",
    )


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def number(value: float) -> str:
    """Three digits, and no exponent."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    text = f"{value:.3g}"
    return text if "e" not in text else f"{value:.6f}".rstrip("0")


def span(summary: Mapping[str, float], scale: float) -> str:
    """Median, and quartiles."""
    median, first, third = (summary[key] * scale for key in ("median", "q1", "q3"))
    return f"{number(median)} ({number(first)}–{number(third)})"


def times(ratio: Mapping[str, float]) -> str:
    """How many times longer."""
    return f"{number(ratio['median'])}×"


def names(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The contenders of all rows, in the order in which they first appear."""
    return list(dict.fromkeys(name for row in rows for name in row["contenders"]))


def headline(rows: Sequence[Mapping[str, Any]]) -> str:
    """The contender that others are compared with: what a user gets who says nothing."""
    ours = [name for name in names(rows) if name.startswith("nervac")]
    return "nervac auto" if "nervac auto" in ours else ours[0]


def _head(results: Results) -> str:
    machine, threads = results["machine"], results["machine"]["threads"]
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    caches = ", ".join(f"{level} {size}" for level, size in machine["caches"].items())
    unset = ", ".join(f"`{name}`" for name in machine["unset"]) or "none was set"
    lines = [
        "**A trial of the harness, not a measurement: few rounds, few samples.**\n"
        if results["quick"]
        else "",
        *(f"> **Warning:** {warning}\n" for warning in results["warnings"]),
        f"- Measured {machine['date']}, all contenders in one run, in turns.",
        f"- {machine['cpu']} ({machine['cpu_model']}), {machine['cores']} cores; "
        f"{' '.join(machine['flags'])}; {caches}; {machine['memory_gib']} GiB; "
        f"Linux {machine['kernel']}.",
        f"- Python {machine['python']}; {packages}; {machine['compiler']}.",
        f"- {threads} thread{'s' * (threads > 1)} for everybody. Environment variables that "
        f"steer OpenMP, MKL, oneDNN or OpenBLAS are unset (this time: {unset}).",
        f"- Load average {results['load_before']:.2f} before, {results['load_after']:.2f} after, "
        "this run's own load included.",
        "- Times are medians, with quartiles in parentheses.",
    ]
    return "\n".join(line for line in lines if line)


def _step(step: Results, figures: Mapping[str, str], workload: Workload) -> str:
    rows = step["rows"]
    contenders = names(rows)
    reference = headline(rows)
    theirs = [name for name in contenders if not name.startswith("nervac")]
    parts = [
        "## Training step",
        f"Milliseconds for a step on a batch of {workload.batch} of {step['samples']:,} "
        f"{'uint8' if workload.bytes_ else workload.precision} samples: "
        "gathering it through a shuffled index, forward, backward and update. The last column is "
        f"how much of the time of {reference} its kernels would take if each did nothing but what "
        "takes it longest, multiplying or reading from one level of memory, by the cost model.",
        table(
            ["density", "weights", *contenders, "of its roof"],
            (
                [
                    f"{row['density']:g}",
                    f"{row['weights']:,}",
                    *(
                        span(row["contenders"][name], 1e3) if name in row["contenders"] else ""
                        for name in contenders
                    ),
                    f"{row['roofs'][reference] / row['contenders'][reference]['median']:.0%}",
                ]
                for row in rows
            ),
        ),
        _figure(figures, "step", "Step time against density"),
        f"How many times longer than {reference}, from medians of the same rounds; "
        f"in parentheses what this project wants to reach at least{_share(workload)}:",
        table(
            ["density", *theirs],
            (
                [
                    f"{row['density']:g}",
                    *(_against(row, name, reference, workload) for name in theirs),
                ]
                for row in rows
            ),
        ),
        _figure(figures, "ratio", "Ratio against density"),
        "### PyTorch's forms",
        "Each PyTorch contender ran in the fastest of its forms, found by trying them all on the "
        "spot; milliseconds a step in a short trial:",
        _forms(step["selection"]),
        _missing(step["missing"]),
        "### nervac's kernels",
        table(
            ["density", *(name for name in contenders if name.startswith("nervac"))],
            (
                [
                    f"{row['density']:g}",
                    *(
                        ", ".join(f"`{kernel}`" for kernel in kernels)
                        for kernels in row["kernels"].values()
                    ),
                ]
                for row in rows
            ),
        ),
    ]
    return _join(parts)


def _share(workload: Workload) -> str:
    if workload.share == 1:
        return ""
    return f", {workload.share:g} of what it wants of the network {REFERENCE.name}"


def _against(row: Mapping[str, Any], theirs: str, ours: str, workload: Workload) -> str:
    ratios = row["ratios"].get(theirs)
    if ratios is None or ours not in ratios:
        return ""
    goal = GOALS.get(theirs, {}).get(row["density"])
    return times(ratios[ours]) + (f" ({number(goal * workload.share)}×)" if goal else "")


def _forms(selection: Results) -> str:
    lines = []
    for contender, by_case in selection.items():
        for case, found in by_case.items():
            for form, milliseconds in sorted(
                found["milliseconds"].items(), key=lambda item: item[1]
            ):
                mark = "**" if form == found["best"] else ""
                lines.append([contender, case, f"{mark}{form}{mark}", number(milliseconds)])
            for form, reason in found["failures"].items():
                lines.append([contender, case, form, f"does not work: {reason}".replace("|", "/")])
    return table(["contender", "case", "form", "ms"], lines) if lines else ""


def _predict(predict: Results, figures: Mapping[str, str]) -> str:
    parts = ["## Prediction", "Microseconds a call, inputs and weights in place."]
    for size in sorted({row["samples"] for row in predict["rows"]}):
        rows = [row for row in predict["rows"] if row["samples"] == size]
        contenders = names(rows)
        reference = headline(rows)
        theirs = [name for name in contenders if not name.startswith("nervac")]
        parts += [
            f"### {'One sample' if size == 1 else f'{size} samples'}",
            table(
                ["density", *contenders, *(f"{name} / {reference}" for name in theirs)],
                (
                    [
                        f"{row['density']:g}",
                        *(span(row["contenders"][name], 1e6) for name in contenders),
                        *(times(row["ratios"][name][reference]) for name in theirs),
                    ]
                    for row in rows
                ),
            ),
        ]
    parts += [
        _figure(figures, "predict", "Prediction against density"),
        "### Forms of prediction",
        _forms(predict["selection"]),
        _missing(predict["missing"]),
    ]
    return _join(parts)


def _memory(memory: Results, figures: Mapping[str, str]) -> str:
    rows = memory["rows"]
    contenders = names(rows)
    return _join(
        [
            "## Peak memory",
            "MB (10⁶ bytes) that a fresh process held at most (VmHWM): imports, model, "
            f"{memory['steps']} steps on {memory['steps'] * 100:,} samples, which are 12 MB "
            "themselves. In parentheses: after the imports. nervac is measured as the importable "
            "module that it compiles to; PyTorch in its eager forms, with the fused optimizer "
            "and the sampled gradient for CSR, since `torch.compile` adds its compiler's memory.",
            table(
                ["density", *contenders],
                (
                    [
                        f"{row['density']:g}",
                        *(
                            f"{row['contenders'][name]['peak']:.0f} "
                            f"({row['contenders'][name]['imported']:.0f})"
                            if name in row["contenders"]
                            else ""
                            for name in contenders
                        ),
                    ]
                    for row in rows
                ),
            ),
            _figure(figures, "memory", "Peak memory against density"),
            _missing(memory["missing"]),
        ]
    )


def _compile(compilation: Results, _: Mapping[str, str]) -> str:
    return _join(
        [
            "## Compile time",
            f"Seconds that `nervac compile` takes, start of Python included, at density "
            f"{compilation['density']:g}: with an empty cache, and once more.",
            table(
                ["backend", "cold", "cached"],
                (
                    [name, span(found["cold"], 1), span(found["cached"], 1)]
                    for name, found in compilation["contenders"].items()
                ),
            ),
            _missing(compilation["missing"]),
        ]
    )


def _regrow(regrow: Results, _: Mapping[str, str]) -> str:
    return _join(
        [
            "## Changing patterns",
            f"Milliseconds at density {regrow['density']:g}, where three of ten weights of every "
            "layer move; and how many times longer that takes than a training step, at random, or "
            "than the dense products of the same layers, by the gradient.",
            table(
                ["", "milliseconds", "times"],
                (
                    [
                        name,
                        span(found, 1e3),
                        times(regrow["ratios"][name]) if name in regrow["ratios"] else "",
                    ]
                    for name, found in regrow["contenders"].items()
                ),
            ),
        ]
    )


def _missing(missing: Mapping[str, str]) -> str:
    return "\n".join(f"- Not measured: {name}: {reason}" for name, reason in missing.items())


def _figure(figures: Mapping[str, str], name: str, caption: str) -> str:
    return f"![{caption}]({figures[name]})" if name in figures else ""


def _join(parts: Sequence[str]) -> str:
    return "\n\n".join(part for part in parts if part)
