#!/usr/bin/env bash
# Benchmarks: generates the workload, runs the product and its references in turn, prints ratios.
#   benches/run.sh S|M|L [--pairs N] [--seed N] [--max-ratio R] [--max-memory-ratio R]
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${BENCH_VENV:-target/bench-venv}
if ! "$venv/bin/python" -c 'import numpy, pyarrow, duckdb' 2>/dev/null; then
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet numpy pyarrow duckdb
fi
exec "$venv/bin/python" benches/run.py "$@"
