"""Pure checkers: from a history, or an answer and its oracle, to findings. They talk to no cluster."""
