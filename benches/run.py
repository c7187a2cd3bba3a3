#!/usr/bin/env python3
"""Time the product beside its references on one workload, in turn, and check its figures against the truth.

    benches/run.sh S|M|L [--pairs N] [--max-ratio R]
    benches/run.sh S|M|L --db URL [--server PID …]

Prints a table: CPU seconds (user + system, of the process and its children), wall seconds, peak memory and rows/s
for the product's import + reconcile + report on SQLite, for bare prepared inserts of the same source rows and
indexes (benches/yardstick), and for DuckDB's match and coverage of the same files, and the ratios of the medians.
Compare ratios, never seconds. --max-ratio makes a ratio to the bare inserts beyond R an error.

With --db the product runs once on a new database of a server and is checked against the truth; no reference runs
beside it. --server names the server's first process, or those of all its nodes on this machine: their CPU is added up.
"""
import argparse, json, os, shutil, statistics, subprocess, sys, time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
TARGET = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
WORK = os.environ.get("BENCH_DIR", os.path.join(TARGET, "bench"))
BINARY = os.path.join(TARGET, "release", "jintuo")


def timed(argv, ok=(0,)):
    """CPU seconds, wall seconds, peak MiB of a command."""
    start = time.perf_counter()
    pid = os.posix_spawn(argv[0], argv, os.environ, file_actions=[
        (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0), (os.POSIX_SPAWN_OPEN, 2, os.path.join(WORK, "stderr"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)])
    _, status, usage = os.wait4(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code not in ok:
        sys.exit(f"{' '.join(argv)} ended with {code}: {open(os.path.join(WORK, 'stderr')).read()[-2000:]}")
    return usage.ru_utime + usage.ru_stime, time.perf_counter() - start, usage.ru_maxrss / 1024


def steps(data, as_of, url):
    """The product's commands, each with the exit codes that are well."""
    return {
        "import": ([BINARY, "--db", url, "import", data], (0,)),
        "reconcile": ([BINARY, "--db", url, "reconcile", "--as-of", as_of, "--policy", "workload"], (0, 3, 4)),
        "report": ([BINARY, "--db", url, "report", "institutions", "--as-of", as_of, "--policy", "workload", "--format", "csv"], (0,)),
    }


def product(data, as_of, url):
    return {name: timed(*step) for name, step in steps(data, as_of, url).items()}


def server_cpu(pids):
    """CPU seconds of servers so far: of their first processes, of the children they have and of those they had."""
    ticks = 0
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = open(f"/proc/{name}/stat").read().rsplit(")", 1)[1].split()
        except OSError:
            continue
        own, children = int(fields[11]) + int(fields[12]), int(fields[13]) + int(fields[14])
        if int(name) in pids:
            ticks += own + children
        elif int(fields[1]) in pids:
            ticks += own
    return ticks / os.sysconf("SC_CLK_TCK")


def on_server(a, data, as_of, rows):
    print(f"scale {a.scale}, seed {a.seed}, {rows} source rows, once, server processes {a.server or 'not named'}")
    print(f"{'':12}{'client CPU s':>14}{'server CPU s':>14}{'wall s':>9}")
    before = server_cpu(a.server)
    for name, step in steps(data, as_of, a.db).items():
        cpu, wall, _ = timed(*step)
        after = server_cpu(a.server)
        print(f"{name:12}{cpu:14.2f}{after - before:14.2f}{wall:9.2f}", flush=True)
        before = after
    sys.exit(subprocess.run([sys.executable, os.path.join(HERE, "truth.py"), data, a.db, "--binary", BINARY]).returncode)


def remove(path):
    for suffix in ("", "-wal", "-shm", ".import-lock", ".run-lock"):
        if os.path.exists(path + suffix):
            os.remove(path + suffix)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("scale", choices=["XS", "S", "M", "L"])
    ap.add_argument("--seed", type=int, default=20250301)
    ap.add_argument("--pairs", type=int, default=3)
    ap.add_argument("--db")
    ap.add_argument("--server", type=int, nargs="*", default=[])
    ap.add_argument("--max-ratio", type=float)
    ap.add_argument("--max-memory-ratio", type=float)
    a = ap.parse_args()
    os.makedirs(WORK, exist_ok=True)
    data = os.path.join(WORK, f"{a.scale}-{a.seed}")
    if not os.path.exists(os.path.join(data, "truth_summary.json")):
        subprocess.run([sys.executable, os.path.join(HERE, "reference", "gen_workload.py"), "--scale", a.scale, "--seed", str(a.seed), "--out", data], check=True, stdout=subprocess.DEVNULL)
    summary = json.load(open(os.path.join(data, "truth_summary.json")))
    as_of = summary["as_of"]
    rows = sum(v["rows"] for k, v in summary["files"].items() if not k.startswith("truth"))
    subprocess.run(["cargo", "build", "--release"], cwd=ROOT, check=True)
    if a.db:
        on_server(a, data, as_of, rows)
    target = os.path.join(WORK, "yardstick")
    subprocess.run(["cargo", "build", "--release", "--quiet", "--target-dir", target], cwd=os.path.join(HERE, "yardstick"), check=True)
    yardstick = os.path.join(target, "release", "yardstick")
    db, bare = os.path.join(WORK, "product.db"), os.path.join(WORK, "bare.db")
    runs = {"import": [], "reconcile": [], "report": [], "bare inserts": [], "duckdb": []}
    for _ in range(a.pairs):
        remove(db)
        for name, figures in product(data, as_of, f"sqlite:{db}").items():
            runs[name].append(figures)
        remove(bare)
        runs["bare inserts"].append(timed([yardstick, data, bare]))
        runs["duckdb"].append(timed([sys.executable, os.path.join(HERE, "reference", "oracle_duckdb.py"), data, "--threads", "2"]))
    truth = subprocess.run([sys.executable, os.path.join(HERE, "truth.py"), data, f"sqlite:{db}", "--binary", BINARY])
    median = lambda name, i: statistics.median(r[i] for r in runs[name])
    total = lambda i: sum(median(n, i) for n in ("import", "reconcile", "report"))
    peak = max(median(n, 2) for n in ("import", "reconcile", "report"))
    print(f"\nscale {a.scale}, seed {a.seed}, {rows} source rows, medians of {a.pairs} runs in turn, database {os.path.getsize(db) / 2**20:.0f} MiB")
    print(f"{'':28}{'CPU s':>9}{'wall s':>9}{'peak MiB':>10}{'rows/s':>11}")
    for name in runs:
        print(f"{name:28}{median(name, 0):9.2f}{median(name, 1):9.2f}{median(name, 2):10.0f}{rows / median(name, 1):11.0f}")
    print(f"{'import + reconcile + report':28}{total(0):9.2f}{total(1):9.2f}{peak:10.0f}{rows / total(1):11.0f}")
    ratio, memory = total(0) / median("bare inserts", 0), peak / median("duckdb", 2)
    print(f"CPU, product / bare inserts: {ratio:.2f}   CPU, product / duckdb (stores nothing): {total(0) / median('duckdb', 0):.2f}   peak memory, product / duckdb: {memory:.2f}")
    remove(db)
    remove(bare)
    failed = truth.returncode != 0
    if a.max_ratio and ratio > a.max_ratio:
        print(f"the CPU ratio exceeds {a.max_ratio}")
        failed = True
    if a.max_memory_ratio and memory > a.max_memory_ratio:
        print(f"the memory ratio exceeds {a.max_memory_ratio}")
        failed = True
    sys.exit(failed)


if __name__ == "__main__":
    main()
