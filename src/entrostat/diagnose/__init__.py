"""Why entropy moved: the first-order entropy change of dumped tokens, broken down, and what would have held it."""
