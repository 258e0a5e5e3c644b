"""The poster's table: IPO and CLIP without training on base and novel classes."""
