"""Whether the files of a run still follow from each other, up to its images (promise P1).

A stage by itself looks at what it reads, not at what that was made from: after `split --redo` the
classifiers in the folder have seen images that are TEST now. So whatever uses a file asks here
whether the stage that made it ended and read what lies in the folder today, and whether every
stage further up worked on today's parts.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from sonobalance.errors import StaleError
from sonobalance.files import sha256_of
from sonobalance.record import FINISHED

if TYPE_CHECKING:
    from sonobalance.runs import Run

PARTS = frozenset(("manifest.csv", "groups.csv", "splits.csv"))


def check_chain(run: Run, names: Iterable[str]) -> None:
    """See that files of a run were made from what its folder holds now.

    Args:
        run: the run.
        names: files of its folder; a trailing `?` marks one that may be absent, and may be of a
            stage that was cut off. Names of nothing that a stage made are passed over.

    Raises:
        StaleError: what one was made from changed since, or its stage was cut off.
    """
    names = list(names)
    for name in names:
        stage, entry = _maker(run, name)
        if stage and run.path(name).is_file() and entry["status"] != FINISHED:
            raise StaleError(
                f"Expected {stage} in {run.folder} to be finished, but it was cut off; run "
                f"`{stage}` again, which goes on where it stopped."
            )
    asked = {name.removesuffix("?") for name in names}
    left, seen = sorted(asked), set(asked)
    while left:
        name = left.pop()
        inputs = _check_inputs(run, name, PARTS if name not in asked else None)
        left += sorted(inputs - seen)
        seen |= inputs


def follows(run: Run, names: Iterable[str]) -> bool:
    """Whether `check_chain` has nothing against these files."""
    try:
        check_chain(run, names)
    except StaleError:
        return False
    return True


def _check_inputs(run: Run, name: str, compared: frozenset[str] | None) -> set[str]:
    """What a file was made from, after a look at whether that (or what of it counts) is as then."""
    stage, entry = _maker(run, name)
    if not run.path(name).is_file() or not stage or entry["status"] != FINISHED:
        return set()
    recorded = entry["fingerprint"]["inputs"]
    inputs = {key: digest for key, digest in recorded.items() if _maker(run, key)[0]}
    for source, digest in inputs.items():
        path = run.path(source)
        now = sha256_of(path) if path.is_file() else None
        if (compared is None or source in compared) and now != digest:
            edited = _maker(run, source)[1]["outputs"][source] not in (now, None)
            rest = "" if edited else ", or give `run` with --redo, which repeats whatever changed"
            raise StaleError(
                f"What is in {source} changed since {stage} was done in {run.folder}; repeat "
                f"`{stage}` with --redo{rest}."
            )
    return set(inputs)


def _maker(run: Run, name: str) -> tuple[str | None, dict[str, Any]]:
    """The stage that made a file, and what is recorded of it."""
    for stage, entry in run.record["stages"].items():
        if name in entry.get("outputs", {}):
            return stage, entry
    return None, {}
