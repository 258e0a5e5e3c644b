"""In-process engines for `dspy.LM(engine=...)`: prompt and vision models without a server."""
