"""Training state on disk without pickle: a tree of tensors and values in one safetensors file.

A tree is made of dicts (string or integer keys), lists, tuples, tensors and JSON scalars: what
`state_dict()` of modules and optimisers gives. Tensors go into the safetensors body, everything
else into its JSON metadata, so loading runs no code from the file (promise P5).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from sonobalance.errors import InputError
from sonobalance.files import atomic

_TREE = "sonobalance.tree"


def save_state(path: Path, tree: dict[str, Any]) -> None:
    """Write a tree atomically; the previous file stays until the new one is whole.

    Raises:
        InputError: the folder cannot be written or the disk is full.
    """
    tensors: dict[str, torch.Tensor] = {}
    skeleton = _strip(tree, "", tensors)
    with atomic_tensors(path) as temporary:
        save_file(tensors, temporary, metadata={_TREE: json.dumps(skeleton)})


@contextmanager
def atomic_tensors(path: Path) -> Iterator[Path]:
    """`files.atomic` for a writer of safetensors, which wraps the system's errors in its own.

    Raises:
        InputError: the folder cannot be written or the disk is full.
    """
    with atomic(path) as temporary:
        try:
            yield temporary
        except SafetensorError as error:
            if number := re.search(r"\(os error (\d+)\)", str(error)):
                raise OSError(int(number[1]), os.strerror(int(number[1]))) from error
            raise


def load_state(path: Path) -> dict[str, Any]:
    """Read a tree written by `save_state`; tensors come back on the CPU.

    Raises:
        InputError: the file is missing, damaged, or was not written by `save_state`.
    """
    try:
        with safe_open(path, framework="pt") as handle:
            metadata = handle.metadata() or {}
            tensors = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise InputError(f"Expected a saved state at {path}, but there is none.") from None
    except (SafetensorError, OSError) as error:
        raise InputError(f"Expected a safetensors file at {path}, but {error}.") from None
    try:
        tree = _restore(json.loads(metadata[_TREE]), tensors)
    except (KeyError, ValueError, TypeError, AttributeError, StopIteration, RecursionError):
        tree = None
    if not isinstance(tree, dict):
        raise InputError(f"Expected {path} to be a state saved by sonobalance, but it is not.")
    return tree


def _strip(node: Any, key: str, tensors: dict[str, torch.Tensor]) -> Any:
    """Replace each tensor by a reference and record it under its dotted key."""
    if isinstance(node, torch.Tensor):
        while key in tensors:  # {"a.b": x} and {"a": {"b": y}} would share a key
            key += "'"
        tensors[key] = node.detach().cpu().contiguous().clone()
        return {"tensor": key}
    if isinstance(node, dict):
        items = [[k, _strip(v, f"{key}.{k}" if key else str(k), tensors)] for k, v in node.items()]
        return {"dict": items}
    if isinstance(node, list | tuple):
        kind = "list" if isinstance(node, list) else "tuple"
        return {kind: [_strip(v, f"{key}.{i}", tensors) for i, v in enumerate(node)]}
    return {"value": node}


def _restore(node: dict[str, Any], tensors: dict[str, torch.Tensor]) -> Any:
    kind, content = next(iter(node.items()))
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: _restore(value, tensors) for key, value in content}
    if kind == "list":
        return [_restore(value, tensors) for value in content]
    if kind == "tuple":
        return tuple(_restore(value, tensors) for value in content)
    if kind == "value":
        return content
    raise ValueError(kind)
