"""Interpretable prompt optimization for CLIP, as a DSPy optimizer."""
