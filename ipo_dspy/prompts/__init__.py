"""Text: templates, what makes a text one, and every word sent to a language model."""
