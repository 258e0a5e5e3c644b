"""Tiny models of open_clip and transformers, as a person's files."""

from ..encoders.conftest import checkpoint, saved_encoder, tiny_architectures

__all__ = ["checkpoint", "saved_encoder", "tiny_architectures"]
