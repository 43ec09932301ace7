"""The verl plug-in: the strategies on verl 0.9.1's three v1 trainers, on Ray. Nothing
of verl is copied, and one function wrapped: its check of a configuration, which ours
precedes.

`plugin` is what verl imports (entry-point group verl.plugins); `settings` and `checks`
refuse a configuration; `config` has the options; `trainer` observes once per update call
on the driver, `staleness` says how old what it observes is, and the state goes to all
ranks; `loss` runs on the ranks, once per
micro-batch; `metrics` and `dump` measure there. docs/engines.md has the lines to copy.
"""
