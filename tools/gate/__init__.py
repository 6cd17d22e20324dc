"""The gate: is this upgrade safe? Two topologies, judged claim by claim, and what got worse between them."""
