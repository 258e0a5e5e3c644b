"""The poster's ablations: models, descriptions, history, and the course of a search."""
