"""Problems from the hub, from files and from reasoning-gym, as prompts of a model and
answers of a verifier."""
