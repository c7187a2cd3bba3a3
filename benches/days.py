#!/usr/bin/env python3
"""Import and reconcile a workload day after day, as a service does, and time each day.

    benches/days.py XS|S|M [--seed N] [--days N] [--start N] [--policy P] [--db URL] [--replay] [--binary BIN]

Splits the workload by business days: everything up to the first day is imported at once, then each day's rows by
themselves. Prints for each day its new rows, CPU seconds of import and of reconcile, and CPU µs a new row. With
--replay each run is done again from all facts and compared (`jintuo verify --replay`); any difference is an
error. The figures of the last day are compared with the truth. --start N begins on the N-th day of the workload.
"""
import argparse, csv, json, os, shutil, subprocess, sys

from run import BINARY, HERE, WORK, remove, timed

DATED = {"orders.csv": "ordered_on", "payments.csv": "paid_on", "lessons.csv": "consumed_on", "refunds.csv": "refunded_on",
         "releases.csv": "approved_on", "bank_entries.csv": "booked_on", "bank_statements.csv": "date"}
ALWAYS = ["districts.csv", "institutions.csv", "accounts.csv"]


def split(data, out, first):
    """Folders of rows: one up to `first`, one for each later day; rows of each by day."""
    rows = {}
    if os.path.exists(out):
        shutil.rmtree(out)
    for name, column in DATED.items():
        files = {}
        with open(os.path.join(data, name), newline="") as source:
            head = next(source)
            at = head.strip().split(",").index(column)
            for line in source:
                day = line.rstrip("\n").split(",")[at]
                key = day if day > first else first
                if key not in files:
                    os.makedirs(os.path.join(out, key), exist_ok=True)
                    files[key] = open(os.path.join(out, key, name), "w")
                    files[key].write(head)
                files[key].write(line)
                rows[key] = rows.get(key, 0) + 1
        for f in files.values():
            f.close()
    for name in ALWAYS:
        shutil.copy(os.path.join(data, name), os.path.join(out, first, name))
    return rows


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("scale", choices=["XS", "S", "M"])
    ap.add_argument("--seed", type=int, default=20250301)
    ap.add_argument("--days", type=int, default=1000)
    ap.add_argument("--start", type=int, default=0)
    ap.add_argument("--policy", default="workload")
    ap.add_argument("--db", default="")
    ap.add_argument("--replay", action="store_true")
    ap.add_argument("--binary", default=BINARY)
    a = ap.parse_args()
    os.makedirs(WORK, exist_ok=True)
    data = os.path.join(WORK, f"{a.scale}-{a.seed}")
    if not os.path.exists(os.path.join(data, "truth_summary.json")):
        subprocess.run([sys.executable, os.path.join(HERE, "reference", "gen_workload.py"), "--scale", a.scale, "--seed", str(a.seed), "--out", data], check=True, stdout=subprocess.DEVNULL)
    as_of = json.load(open(os.path.join(data, "truth_summary.json")))["as_of"]
    with open(os.path.join(data, "bank_statements.csv"), newline="") as f:
        days = sorted({r["date"] for r in csv.DictReader(f)})
    first = days[a.start]
    parts = os.path.join(WORK, f"{a.scale}-{a.seed}-days")
    rows = split(data, parts, first)
    path = os.path.join(WORK, "days.db")
    url = a.db or f"sqlite:{path}"
    remove(path)
    done = [d for d in sorted(rows) if d <= as_of][: a.days]
    print(f"{'day':12} {'rows':>8} {'import':>8} {'reconcile':>9} {'µs/row':>8} {'MiB':>6}")
    for day in done:
        steps = [timed([a.binary, "--db", url, "import", os.path.join(parts, day)], ok=(0, 4)),
                 timed([a.binary, "--db", url, "reconcile", "--as-of", day, "--policy", a.policy], ok=(0, 3, 4))]
        cpu = [s[0] for s in steps]
        print(f"{day:12} {rows[day]:8} {cpu[0]:8.2f} {cpu[1]:9.2f} {sum(cpu) / rows[day] * 1e6:8.1f} {max(s[2] for s in steps):6.0f}", flush=True)
        if a.replay:
            again = subprocess.run([a.binary, "--db", url, "verify", "--replay"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            if again.returncode != 0:
                sys.exit(f"{day}: a replay says otherwise:\n{again.stdout}")
    if done and done[-1] == max(rows) and a.policy == "workload":
        subprocess.run([sys.executable, os.path.join(HERE, "truth.py"), data, url, "--binary", a.binary], check=True)


if __name__ == "__main__":
    main()
