"""Dual encoders: the protocol, and the built-in ones by their spec."""

from ipo_dspy.encoders.base import Encoder, EncoderError
from ipo_dspy.encoders.loading import load_encoder

__all__ = ["Encoder", "EncoderError", "load_encoder"]
