"""The demo: a world of drawn pictures, an encoder that knows it, a proposer without a model."""
