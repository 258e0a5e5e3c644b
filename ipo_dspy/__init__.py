"""Interpretable prompt optimization for CLIP, as a DSPy optimizer.

`__init__.pyi` lists the public names and where they are; each loads on first use, and so do torch,
open_clip and transformers.
"""

from importlib.metadata import version

import lazy_loader

__version__ = version("ipo-dspy")
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["__version__"]
