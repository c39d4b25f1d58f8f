"""One function per command; the command of the same name is the same function."""

from sonobalance.api.aids import doctor, fetch
from sonobalance.api.chains import benchmark, demo, run
from sonobalance.api.delivery import bundle, export_onnx, serve, verify
from sonobalance.api.stages import (
    audit,
    evaluate,
    explain,
    index,
    predict,
    report,
    split,
    synthesize,
    train,
    train_gan,
)
from sonobalance.api.synthetic import export, memorisation, regenerate, sample

__all__ = [
    "audit",
    "benchmark",
    "bundle",
    "demo",
    "doctor",
    "evaluate",
    "explain",
    "export",
    "export_onnx",
    "fetch",
    "index",
    "memorisation",
    "predict",
    "regenerate",
    "report",
    "run",
    "sample",
    "serve",
    "split",
    "synthesize",
    "train",
    "train_gan",
    "verify",
]
