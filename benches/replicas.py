#!/usr/bin/env python3
"""Three servers on one PostgreSQL, stopped and continued at random.

    benches/replicas.py --db postgres|postgres://USER@HOST:PORT/DATABASE [--binary BIN] [--seed N] [--days N]
                        [--stops N] [--long-stop SECONDS] [--seconds N]

Makes a database of its own beside the one that is named (`postgres` alone starts a cluster of its own and takes it away
again), lets simulated banks drop the files of some days into folders, starts three `jintuo serve` at once and stops one
of them (SIGSTOP) for a random time, again and again, once for longer than a stopped holder keeps its lock unless
--long-stop is 0. In the end each day must have been reconciled once, each feed's day fetched
once, each line be there once as the banks' manifest says, and `jintuo check` be silent. Ends its own processes only.
"""
import argparse, datetime, json, os, random, signal, subprocess, sys, tempfile, time
from urllib.parse import urlsplit, urlunsplit

from killed import Cluster

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TARGET = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
BANKS = ["sim-a", "sim-b", "sim-c", "sim-d"]
# The stop that is the long one.
LONG_AT = 12


def psql(url, sql):
    return subprocess.run(["psql", "-X", "-qAt", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", sql], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def settings(folder):
    text = "[database]\nunsafe_dev = true\n"
    for bank in BANKS:
        path = json.dumps(os.path.join(folder, "drop", bank))
        text += f'[[feed]]\nname = "{bank}"\nbank = "{bank}"\nschedule = "*/20 * * * * *"\n'
        text += f'source = {{ kind = "folder", path = {path}, companion = ".ok" }}\n'
    return text


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--db", required=True)
    ap.add_argument("--binary", default=os.path.join(TARGET, "release", "jintuo"))
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--days", type=int, default=20)
    ap.add_argument("--accounts", type=int, default=150, help="of each bank")
    ap.add_argument("--stops", type=int, default=LONG_AT + 1, help="at least so many")
    ap.add_argument("--long-stop", type=int, default=75, help="seconds; 0 for none")
    ap.add_argument("--seconds", type=int, default=300, help="give up after so many")
    a = ap.parse_args()
    chance = random.Random(a.seed)
    cluster = Cluster() if a.db == "postgres" else None
    try:
        beside(a, chance, cluster.url if cluster else a.db)
    finally:
        if cluster:
            cluster.stop()


def beside(a, chance, db):
    """Runs the trial in a database of its own beside `db`."""
    name = f"replicas_{os.getpid()}"
    psql(db, f"CREATE DATABASE {name}")
    url = urlunsplit(urlsplit(db)._replace(path="/" + name))
    servers = []
    try:
        with tempfile.TemporaryDirectory() as folder:
            trial(a, chance, url, folder, servers)
    finally:
        for server in servers:
            if server.poll() is None:
                server.send_signal(signal.SIGCONT)
                server.kill()
            server.wait()
        psql(db, f"DROP DATABASE {name} WITH (FORCE)")


def trial(a, chance, url, folder, servers):
    yesterday = datetime.date.today() - datetime.timedelta(days=1)
    sim = [a.binary, "bank-sim", "--dir", folder, "--no-serve", "--trouble", "0", "--accounts", str(a.accounts), "--seed", str(a.seed), "--days", str(a.days), "--last", str(yesterday)]
    subprocess.run(sim, check=True, stderr=subprocess.DEVNULL)
    config = os.path.join(folder, "jintuo.toml")
    with open(config, "w") as out:
        out.write(settings(folder))
    manifest = json.load(open(os.path.join(folder, "manifest.json")))
    base = [a.binary, "--config", config, "--db", url]
    subprocess.run(base + ["import", os.path.join(folder, "registry")], check=True, stderr=subprocess.DEVNULL)
    days = sorted({t["day"] for t in manifest["statements"]})
    for n in range(3):
        log = open(os.path.join(folder, f"serve-{n}.log"), "w")
        servers.append(subprocess.Popen(base + ["serve", "--listen", "127.0.0.1:0", "--admin-listen", ""], stderr=log, stdout=log))
    started, stops, long_one = time.monotonic(), 0, False
    complete = "SELECT COUNT(DISTINCT as_of) FROM run WHERE completed_at IS NOT NULL"
    while time.monotonic() - started < a.seconds:
        victim = chance.choice(servers)
        victim.send_signal(signal.SIGSTOP)
        long_now = a.long_stop > 0 and stops == LONG_AT
        seconds = a.long_stop if long_now else chance.uniform(0.05, 1)
        long_one = long_one or long_now
        time.sleep(seconds)
        victim.send_signal(signal.SIGCONT)
        stops += 1
        time.sleep(chance.uniform(0.05, 0.4))
        if stops >= a.stops and (long_one or a.long_stop == 0) and int(psql(url, complete)) >= len(days):
            break
    for server in servers:
        server.send_signal(signal.SIGTERM)
    codes = [server.wait(timeout=60) for server in servers]
    runs = psql(url, "SELECT as_of, COUNT(*) FROM run WHERE completed_at IS NOT NULL GROUP BY as_of HAVING COUNT(*) <> 1")
    fetched = psql(url, "SELECT state, COUNT(*) FROM job WHERE kind = 'fetch' GROUP BY state")
    lines = int(psql(url, "SELECT COUNT(*) FROM posting"))
    truth = sum(t["lines"] for t in manifest["statements"])
    check = subprocess.run(base + ["check", "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    done = int(psql(url, complete))
    seconds = time.monotonic() - started
    print(f"{stops} stops in {seconds:.0f} s: {done} of {len(days)} days reconciled, days not once: {runs or 'none'}, fetches: {fetched}, "
          f"lines {lines} of {truth}, check {check.returncode}, servers ended with {codes}")
    if done < len(days) or runs or lines != truth or check.returncode != 0 or any(codes):
        sys.exit("not each effect once")


if __name__ == "__main__":
    main()
