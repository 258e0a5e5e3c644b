"""Readers of what a user has: class folders, tables, datasets."""
