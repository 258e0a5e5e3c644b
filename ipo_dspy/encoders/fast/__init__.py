"""The quick text path of causal text towers."""
