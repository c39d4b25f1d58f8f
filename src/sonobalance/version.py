"""The versions of the package and of its bundles, alone so that reading them imports nothing."""

__version__ = "0.1.0"
BUNDLE_FORMAT = 1  # of what this version writes; `deployment.description` reads all up to it
