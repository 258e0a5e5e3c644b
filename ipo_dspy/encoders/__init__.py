"""Dual encoders: the protocol, and the built-in ones by their spec."""

from ipo_dspy.encoders.base import Encoder
from ipo_dspy.encoders.loading import load_encoder
from ipo_dspy.errors import EncoderError

__all__ = ["Encoder", "EncoderError", "load_encoder"]
