"""The page of a stored run: what conformance.json, the histories and the logs of a report folder say, for people."""
