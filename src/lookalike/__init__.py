"""Train person re-identification models on real and StyleGAN3-made pedestrians."""

from typing import TYPE_CHECKING

__version__: str

if not TYPE_CHECKING:

    def __getattr__(name: str) -> str:
        """`__version__` of the installed package, which `pyproject.toml` gives it.

        It is looked up when asked for: without an installation everything else works.
        """
        if name != "__version__":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib.metadata import version

        return version(__name__)
