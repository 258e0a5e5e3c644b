"""A proposer that needs no language model: it edits the prompts it reads."""
