"""Commands beside pytest: `python -m tools.<name>`."""
