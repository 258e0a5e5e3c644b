"""What other libraries do not promise to keep, one module for each library.

Everything that leans on a private name, an inner path or an inner text of DSPy, open_clip,
transformers or torch takes it from here; the tests beside these modules say which of them an
upgrade has moved.
"""
