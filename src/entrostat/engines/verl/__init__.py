"""The verl plug-in: the strategies on verl 0.9.1's synchronous trainer, on Ray. Nothing
of verl is copied or patched.

`plugin` is what verl imports (entry-point group verl.plugins); `config` the options;
`trainer` observes once per training step on the driver and hands the state to all ranks;
`loss` runs on the ranks, once per micro-batch; `metrics` and `dump` measure there.
docs/engines.md has the lines to copy.
"""

# first of all: verl loads our entry point while it is imported, which fails without a
# word where one of our modules is already half imported
import verl  # noqa: F401
