"""Whether the files of a run still follow from each other, up to its images (promise P1).

A stage by itself looks at what it reads, not at what that was made from: after `split --redo` the
classifiers in the folder have seen images that are TEST now. So whatever uses a file asks here
whether every stage behind it ended, and read what lies in the folder today.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from sonobalance.errors import StaleError
from sonobalance.files import sha256_of

if TYPE_CHECKING:
    from sonobalance.runs import Run


def check_chain(run: Run, names: Iterable[str]) -> None:
    """See that files of a run were made from what its folder holds now.

    Args:
        run: the run.
        names: files of its folder; a trailing `?` marks one that may be absent, and may be of a
            stage that was cut off. Names of nothing that a stage made are passed over.

    Raises:
        StaleError: what one was made from changed since, or its stage was cut off.
    """
    digests: dict[str, str | None] = {}
    open_names = [(name.removesuffix("?"), name.endswith("?")) for name in names]
    known = set()
    while open_names:
        name, optional = open_names.pop()
        if name in known or not run.path(name).is_file():
            continue
        known.add(name)
        stage, entry = _maker(run, name)
        if stage is None:
            continue
        if entry["status"] != "finished":
            if optional:
                continue
            raise StaleError(
                f"Expected {stage} in {run.folder} to be finished, but it was cut off; run "
                f"`{stage}` again, which goes on where it stopped."
            )
        inputs = {k: v for k, v in entry["fingerprint"]["inputs"].items() if _made(run, k)}
        for source, digest in inputs.items():
            if source not in digests:
                path = run.path(source)
                digests[source] = sha256_of(path) if path.is_file() else None
            if digests[source] != digest:
                raise StaleError(
                    f"What is in {source} changed since {stage} was done in {run.folder}; repeat "
                    f"`{stage}` with --redo, or give `run` with --redo, which repeats whatever "
                    "changed."
                )
        open_names += [(source, False) for source in inputs]


def follows(run: Run, names: Iterable[str]) -> bool:
    """Whether `check_chain` has nothing against these files."""
    try:
        check_chain(run, names)
    except StaleError:
        return False
    return True


def _maker(run: Run, name: str) -> tuple[str | None, dict[str, Any]]:
    """The stage that made a file, and what is recorded of it."""
    for stage, entry in run.record["stages"].items():
        if name in entry.get("outputs", {}):
            return stage, entry
    return None, {}


def _made(run: Run, name: str) -> bool:
    return _maker(run, name)[0] is not None
