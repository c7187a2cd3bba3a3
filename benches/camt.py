#!/usr/bin/env python3
"""Memory and speed of a long camt file.

    benches/camt.py [--bytes N] [--pairs N] [--max-mib M] [--min-ratio R] [--import] [--statements N]

Writes a camt.053 file of N bytes (default 1 GB) and reads it in turn with `jintuo statement inspect`, with the
streaming parser alone, and with a bare quick-xml pass over the same bytes. Prints CPU seconds, MB/s and peak memory,
and the ratio of the parser's speed to the bare pass. More than M MiB (default 64) in either reader, or a ratio below R
(default 0.5), is an error. Compare ratios, never seconds.

With --import the file holds N statements (default 1,000), each of an account of its own, and `jintuo import` takes it
into a SQLite database that knows the accounts: CPU and wall seconds, lines/s, peak memory. More than M MiB is an error.
"""
import argparse, json, os, sqlite3, statistics, subprocess, sys, time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
TARGET = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
WORK = os.environ.get("BENCH_DIR", os.path.join(TARGET, "bench"))


def built():
    """The product and the bench program."""
    subprocess.run(["cargo", "build", "--release"], cwd=ROOT, check=True)
    lines = subprocess.run(["cargo", "bench", "--bench", "camt", "--no-run", "--message-format", "json"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    artefacts = [json.loads(line) for line in lines.splitlines() if line.startswith("{")]
    bench = [a["executable"] for a in artefacts if a.get("executable") and a["target"]["name"] == "camt"]
    return os.path.join(TARGET, "release", "jintuo"), bench[-1]


def timed(argv, out):
    """CPU seconds and peak MiB of a command."""
    pid = os.posix_spawn(argv[0], argv, os.environ, file_actions=[(os.POSIX_SPAWN_OPEN, 1, out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)])
    _, status, usage = os.wait4(pid, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        sys.exit(f"{' '.join(argv)} failed")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def imported(a, product, bench):
    """Takes a file of many statements in; true where it needs too much memory."""
    path, said = os.path.join(WORK, f"camt-{a.bytes}-{a.statements}.xml"), os.path.join(WORK, "camt.out")
    timed([bench, "write", str(a.bytes), str(a.statements)], path)
    bundle, db = os.path.join(WORK, "camt-bundle"), os.path.join(WORK, "camt.db")
    os.makedirs(bundle, exist_ok=True)
    accounts = [f"6217{at:015}" for at in range(1, a.statements + 1)]
    tables = {
        "districts": ["district_id,name", "D,示例区"],
        "institutions": ["institution_id,district_id,name"] + [f"I{n},D,示例培训中心{n[-4:]}" for n in accounts],
        "accounts": ["account_id,institution_id,kind,min_deposit_fen"] + [f"{n},I{n},CUSTODY,0" for n in accounts],
    }
    for name, rows in tables.items():
        with open(os.path.join(bundle, name + ".csv"), "w", encoding="utf-8") as out:
            out.write("\n".join(rows) + "\n")
    runs = []
    for _ in range(a.pairs):
        for suffix in ("", "-wal", "-shm", ".import-lock", ".run-lock"):
            if os.path.exists(db + suffix):
                os.remove(db + suffix)
        timed([product, "--db", f"sqlite:{db}", "import", bundle], said)
        start = time.perf_counter()
        cpu, peak = timed([product, "--db", f"sqlite:{db}", "import", path], said)
        runs.append((cpu, time.perf_counter() - start, peak))
    books = sqlite3.connect(db)
    lines, = books.execute("SELECT COUNT(*) FROM posting").fetchone()
    days, = books.execute("SELECT COUNT(*) FROM statement_day").fetchone()
    books.close()
    cpu, wall, peak = (statistics.median(run[i] for run in runs) for i in range(3))
    size = os.path.getsize(path)
    print(f"\nimport of {size / 1e6:.0f} MB, {lines} lines in {days} statements, SQLite, medians of {a.pairs} runs")
    print(f"{cpu:.2f} CPU s, {lines / cpu:.0f} lines/CPU s, {wall:.2f} s, {lines / wall:.0f} lines/s, peak {peak:.1f} MiB (at most {a.max_mib})")
    for left in (path, db):
        os.remove(left)
    return peak > a.max_mib or days != a.statements


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--bytes", type=int, default=1_000_000_000)
    ap.add_argument("--pairs", type=int, default=3)
    ap.add_argument("--max-mib", type=int, default=64)
    ap.add_argument("--min-ratio", type=float, default=0.5)
    ap.add_argument("--import", dest="take_in", action="store_true")
    ap.add_argument("--statements", type=int, default=1000)
    a = ap.parse_args()
    os.makedirs(WORK, exist_ok=True)
    product, bench = built()
    if a.take_in:
        sys.exit(imported(a, product, bench))
    path, said = os.path.join(WORK, f"camt-{a.bytes}.xml"), os.path.join(WORK, "camt.out")
    timed([bench, "write", str(a.bytes)], path)
    size = os.path.getsize(path)
    ways = {
        "statement inspect": [product, "statement", "inspect", "--json", path],
        "streaming parser": [bench, "stream", path],
        "bare quick-xml": [bench, "bare", path],
    }
    runs = {name: [] for name in ways}
    for _ in range(a.pairs):
        for name, argv in ways.items():
            runs[name].append(timed(argv, said))
            if name == "statement inspect":
                statement, = json.load(open(said))["statements"]
    os.remove(path)
    print(f"\n{size / 1e6:.0f} MB, {statement['entries']} entries, verdict {statement['verdict']}, medians of {a.pairs} runs in turn")
    print(f"{'':20}{'CPU s':>9}{'MB/s':>9}{'peak MiB':>10}")
    median = lambda name, i: statistics.median(run[i] for run in runs[name])
    for name in ways:
        print(f"{name:20}{median(name, 0):9.2f}{size / 1e6 / median(name, 0):9.0f}{median(name, 1):10.1f}")
    ratio = median("bare quick-xml", 0) / median("streaming parser", 0)
    peak = max(median("statement inspect", 1), median("streaming parser", 1))
    print(f"speed, parser / bare pass: {ratio:.2f} (at least {a.min_ratio})   peak memory: {peak:.1f} MiB (at most {a.max_mib})")
    sys.exit(ratio < a.min_ratio or peak > a.max_mib or statement["verdict"] != "balanced")


if __name__ == "__main__":
    main()
