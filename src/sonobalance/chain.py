"""Whether the files of a run still follow from each other, up to its images (promise P1).

A stage by itself looks at what it reads, not at what that was made from: after `split --redo` the
classifiers in the folder have seen images that are TEST now. So whatever uses a file asks here
whether the stage that made it ended and read what lies in the folder today, and whether every
stage further up worked on today's parts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import TYPE_CHECKING, Any

from sonobalance.errors import StaleError
from sonobalance.files import sha256_of
from sonobalance.record import FINISHED

if TYPE_CHECKING:
    from sonobalance.runs import Run

Digests = Callable[[str], str | None]
PARTS = frozenset(("manifest.csv", "groups.csv", "splits.csv"))


def digests_in(run: Run) -> Digests:
    """Name of a file in a run → its SHA-256, None where it is absent; each file is read once."""

    @cache
    def digest(name: str) -> str | None:
        path = run.path(name)
        return sha256_of(path) if path.is_file() else None

    return digest


def check_chain(run: Run, names: Iterable[str], digest: Digests | None = None) -> None:
    """See that files of a run were made from what its folder holds now.

    Args:
        run: the run.
        names: files of its folder; a trailing `?` marks one that may be absent, and may be of a
            stage that was cut off. Names of nothing that a stage made are passed over.
        digest: of `digests_in`, where the caller has one.

    Raises:
        StaleError: what one was made from changed since, or its stage was cut off.
    """
    names, digest = list(names), digest or digests_in(run)
    for name in names:  # nothing is called `NAME?`: those may be of a stage that was cut off
        stage, entry = _maker(run, name)
        if stage and entry["status"] != FINISHED:
            raise StaleError(
                f"Expected {stage} in {run.folder} to be finished, but it was cut off; run "
                f"`{stage}` again, which goes on where it stopped."
            )
    asked = {name.removesuffix("?") for name in names}
    left, seen, stale = sorted(asked), set(asked), {}
    while left:
        name = left.pop()
        stage, inputs = _made_from(run, name)
        changed = [key for key, known in inputs.items() if digest(key) != known]
        if counts := [key for key in changed if name in asked or key in PARTS]:
            stale[stage] = counts[0]
        left += sorted(inputs.keys() - seen)
        seen |= inputs.keys()
    for stage in run.record["stages"]:  # of several the first: the others follow from it
        if stage in stale:
            raise StaleError(_sentence(run, stage, stale[stage], digest))


def follows(run: Run, names: Iterable[str]) -> bool:
    """Whether `check_chain` has nothing against these files."""
    try:
        check_chain(run, names)
    except StaleError:
        return False
    return True


def _made_from(run: Run, name: str) -> tuple[str, dict[str, str]]:
    """The finished stage that made a file, and the files of other stages that it read."""
    stage, entry = _maker(run, name)
    if not run.path(name).is_file() or entry.get("status") != FINISHED:
        return "", {}
    recorded = entry["fingerprint"]["inputs"]
    return stage, {key: digest for key, digest in recorded.items() if _maker(run, key)[0]}


def _sentence(run: Run, stage: str, source: str, digest: Digests) -> str:
    """What changed and what to do; `run` would undo what was changed by hand."""
    said = f"What is in {source} changed since {stage} was done in {run.folder}; repeat `{stage}`"
    if _maker(run, source)[1]["outputs"][source] not in (digest(source), None):
        return f"{said} with --redo."
    return f"{said} with --redo, or give `run` with --redo, which repeats whatever changed."


def _maker(run: Run, name: str) -> tuple[str, dict[str, Any]]:
    """The stage that made a file, and what is recorded of it."""
    for stage, entry in run.record["stages"].items():
        if name in entry.get("outputs", {}):
            return stage, entry
    return "", {}
