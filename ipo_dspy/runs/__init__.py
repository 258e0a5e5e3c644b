"""A run: its journal, its budget, and what makes it the same run again."""
