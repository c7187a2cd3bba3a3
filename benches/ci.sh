#!/usr/bin/env bash
# The short form of the benchmarks that CI runs: exact figures on five seeds, the rest with loose bounds; three
# servers on one database stopped at random; servers killed in the middle of their work, on the build the tests have made.
set -euo pipefail
cd "$(dirname "$0")/.."
for seed in 1 2 3 4; do
  benches/run.sh XS --seed "$seed" --pairs 1
done
benches/run.sh S --seed 5 --pairs 3 --max-ratio 5 --max-memory-ratio 1.5
benches/lines.py --lines 50000 --pairs 2 --max-sqlite 4 --max-postgres 5
benches/camt.py --bytes 100000000 --pairs 1 --min-ratio 0.25
benches/replicas.py --db postgres --days 6 --accounts 40 --stops 20 --long-stop 0 --seconds 90
for db in sqlite postgres; do
  benches/killed.py --db "$db" --kills 10 --days 6 --accounts 4 --lines 5000
done
