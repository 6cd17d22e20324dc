"""Wires pytest: everything it is given lives in fixtures/plugin."""

pytest_plugins = ["fixtures.plugin", "pytester"]
