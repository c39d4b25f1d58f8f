"""The versions of the package and of its bundles, alone so that reading them imports nothing."""

from importlib.metadata import PackageNotFoundError, version

__version__ = "0.1.0"
BUNDLE_FORMAT = 2  # of what this version writes; `deployment.description` reads all up to it


def versions() -> str:
    """What `sonobalance --version` says: package, torch and bundle format."""
    try:
        torch = version("torch")
    except PackageNotFoundError:
        torch = "missing"
    return f"sonobalance {__version__} (torch {torch}, bundle format {BUNDLE_FORMAT})"
