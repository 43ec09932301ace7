#!/usr/bin/env bash
# What docs/doctor.cast records: `make cast` plays this in a pseudo-terminal of its own.
set -euo pipefail
cd "$(dirname "$0")/.."

say() {
    printf '\033[1m$ %s\033[0m\n' "$1"
    sleep 1
}

say "cat run.sh"
tail -n +4 docs/examples/run_collapses.sh
sleep 2
say "make doctor RUN=run.sh"
# the terminal's own width, since make hides it
COLUMNS=100 .venv-doctor/bin/python -m entrostat doctor docs/examples/run_collapses.sh || true
sleep 6
