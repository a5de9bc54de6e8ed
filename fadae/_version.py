"""The version that is installed; its own module, so that every room can read it."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("fadae")
except PackageNotFoundError:  # a checkout on the path that nobody installed
    __version__ = "0+unknown"
