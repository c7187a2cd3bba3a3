#!/usr/bin/env python3
"""Compare jintuo's reports with a workload's truth, to the fen and the row. Standard library only.

    python3 benches/truth.py WORKLOAD_DIR DATABASE_URL [--binary target/release/jintuo]

Runs `report institutions|districts|breaks|matches --format csv` for the truth's as-of day under the policy
`workload`, compares both ways and exits 1 on any difference.
"""
import argparse, collections, csv, io, json, os, subprocess, sys

CODES = {
    "payment_not_banked": "TRANSIT_OVERDUE", "in_transit": "TIMING_GAP", "amount_mismatch": "AMOUNT_MISMATCH",
    "late": "LATE_CREDIT", "duplicate_report": "DUPLICATE_REPORT", "duplicate_bank": "DUPLICATE_CREDIT",
    "banked_not_reported": "UNMATCHED_CREDIT", "unauthorised_withdrawal": "UNAUTHORISED_DEBIT",
    "missing_statement": "FEED_MISSING", "low_risk_deposit": "DEPOSIT_BELOW_MIN",
}


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("dir")
    ap.add_argument("db")
    ap.add_argument("--binary", default="target/release/jintuo")
    a = ap.parse_args()
    as_of = json.load(open(os.path.join(a.dir, "truth_summary.json")))["as_of"]

    def report(name):
        out = subprocess.run([a.binary, "--db", a.db, "report", name, "--as-of", as_of, "--policy", "workload",
                              "--format", "csv"], check=True, stdout=subprocess.PIPE).stdout.decode("utf-8-sig")
        return list(csv.DictReader(io.StringIO(out)))

    def truth(name):
        with open(os.path.join(a.dir, name), encoding="utf-8") as f:
            return list(csv.DictReader(f))

    bad = 0

    def compare(name, mine, theirs):
        nonlocal bad
        mine, theirs = collections.Counter(mine), collections.Counter(theirs)
        extra, missed = mine - theirs, theirs - mine
        bad += sum(extra.values()) + sum(missed.values())
        print(f"{name}: {sum(theirs.values())} in the truth, {sum(extra.values())} invented, {sum(missed.values())} missed",
              *[f"\n  invented {x}" for x in list(extra)[:3]], *[f"\n  missed {x}" for x in list(missed)[:3]])

    row = lambda *cols: lambda r: tuple(r[c] for c in cols)
    inst = row("institution_id", "required_fen", "held_fen", "uncovered_fen")
    compare("institutions", map(inst, report("institutions")), map(inst, truth("truth_institutions.csv")))
    dist = row("district_id", "required_fen", "held_fen", "uncovered_fen", "institutions", "uncovered_institutions")
    compare("districts", map(dist, report("districts")), map(dist, truth("truth_districts.csv")))
    facts = row("subject", "institution_id", "date", "amount_fen", "n")
    breaks = truth("truth_breaks.csv")
    wanted = set(CODES.values())
    compare("breaks", [(r["code"], *facts(r)) for r in report("breaks") if r["code"] in wanted],
            [(CODES[r["kind"]], *facts(r)) for r in breaks if r["kind"] in CODES])
    batch = row("entry_id", "n", "amount_fen")
    compare("batches", [batch(r) for r in report("matches") if r["kind"] == "N:1"],
            [(r["subject"], r["n"], r["amount_fen"]) for r in breaks if r["kind"] == "batch_settlement"])
    sys.exit(bad != 0)


if __name__ == "__main__":
    main()
