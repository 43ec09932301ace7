"""The verl plug-in: the strategies on verl 0.9.1's synchronous trainer, on Ray. Nothing
of verl is copied, and one function wrapped: its check of a configuration, which ours
precedes.

`plugin` is what verl imports (entry-point group verl.plugins); `settings` and `checks`
refuse a configuration; `config` has the options; `trainer` observes once per training
step on the driver and hands the state to all ranks; `loss` runs on the ranks, once per
micro-batch; `metrics` and `dump` measure there. docs/engines.md has the lines to copy.
"""
