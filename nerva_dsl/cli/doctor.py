"""`nervac doctor` and `nervac cache`."""

from __future__ import annotations

import json

from nerva_dsl.runtime.cache import cache_root, reporting_cache_errors


def examine_machine(*, as_json: bool) -> bool:
    """Print what there is, what is missing and what mends it; whether training can work."""
    from nerva_dsl.runtime.doctor import can_train, examine

    findings = examine()
    works = can_train(findings)
    if as_json:
        described = {
            finding.name: {
                "ok": finding.ok,
                "needed": finding.needed,
                "text": finding.text,
                "mend": finding.mend or None,
                **finding.facts,
            }
            for finding in findings
        }
        print(json.dumps({"can_train": works, **described}, ensure_ascii=False))
        return works
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        mark = " " if finding.ok else "✗" if finding.needed else "–"
        print(f"{mark} {finding.name:<{width}}  {finding.text}")
        if finding.mend:
            print(f"  {'':<{width}}  → {finding.mend}")
    print()
    print(
        "Models can be compiled and trained here."
        if works
        else "Models cannot be compiled and trained here: mend what is marked ✗."
    )
    return works


def show_cache(*, clear: bool) -> None:
    """Print where the cache is and what it holds, or empty it.

    Raises:
        ToolchainError: it cannot be emptied.
    """
    from nerva_dsl.runtime import housekeeping
    from nerva_dsl.runtime.quantities import models, size

    root = cache_root()
    with reporting_cache_errors(root):
        before = housekeeping.usage(root)
        if not clear:
            print(f"{root}\n{models(before.entries)}, {size(before.bytes)}")
            return
        left = housekeeping.clear(root)
    removed = max(0, before.entries - left.entries), max(0, before.bytes - left.bytes)
    print(f"removed {models(removed[0])}, {size(removed[1])}, from {root}")
    if left.bytes:
        print(f"left {size(left.bytes)}, in use by another process or not made by nervac")
