"""Zero-shot classification as DSPy programs, and their metrics."""
