#!/usr/bin/env python3
"""Cost of storing verified statement lines, beside the database's own bulk loader of the same rows.

    benches/lines.py [--lines N] [--pairs N] [--max-sqlite R] [--max-postgres R]

Writes camt.053 and MT940 files (ten days of 300 accounts at four banks) and takes in turn, on SQLite (WAL, synchronous
FULL) and on a PostgreSQL server of its own (fsync, checksums):
  import    `jintuo import` of the files into a database that knows the accounts
  parts     parsing, proof and identity of the same files, and the hash chain over as many postings (benches/lines.rs)
  loader    `sqlite3 .import` and `psql \\copy` of exactly the rows the import stored for its lines (posting,
            posting_note, statement, statement_day), in the order it stored them, into tables of the same definition
            with the same keys and indexes, without triggers
CPU is user + system seconds, of the server's processes too. Storing = import - parse - chain; the bytes of the files,
which the import keeps as well and the loader does not, count against the import. R bounds the median of the pairs'
ratios storing / loader; a ratio beyond it is an error where even the best pair is beyond it. Compare ratios, never
seconds.
"""
import argparse, csv, json, os, random, re, shutil, signal, socket, sqlite3, statistics, subprocess, sys, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
TARGET = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
WORK = os.path.join(os.environ.get("BENCH_DIR", os.path.join(TARGET, "bench")), "lines")
DAYS = [f"2026-06-{day:02}" for day in range(1, 11)]
ACCOUNTS, BANKS = 300, 4
ROWS = {  # in the order an import writes them: file by file
    "statement_day": "SELECT * FROM statement_day ORDER BY source_no, inst_id, account_no, day",
    "statement": "SELECT * FROM statement ORDER BY source_no, inst_id, account_no",
    "posting_note": "SELECT n.* FROM posting p JOIN posting_note n USING (inst_id, seq) ORDER BY p.source_no, inst_id, seq",
    "posting": "SELECT * FROM posting ORDER BY source_no, inst_id, seq",
}


def built():
    """The product and the bench program."""
    subprocess.run(["cargo", "build", "--release"], cwd=ROOT, check=True)
    said = subprocess.run(["cargo", "bench", "--bench", "lines", "--no-run", "--message-format", "json"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    artefacts = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    bench = [a["executable"] for a in artefacts if a.get("executable") and a["target"]["name"] == "lines"]
    return os.path.join(TARGET, "release", "jintuo"), bench[-1]


# The workload

def entries(rng, account, day, n):
    """Signed fen, label, customer reference, bank reference, counterparty, memo."""
    family, given, course = "王李张刘陈杨赵黄周吴徐孙", "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超秀霞平", ("初二数学春季班", "少儿美术启蒙", "钢琴一对一", "篮球暑期营", "英语阅读提高")
    compact = day.replace("-", "")
    for at in range(n):
        order = f"{compact[2:]}{account[-4:]}{at:05}"
        name = rng.choice(family) + rng.choice(given) + rng.choice(["", rng.choice(given)])
        kind = rng.random()
        if kind < 0.9:
            yield rng.randrange(10_000, 600_000), "TRF", f"O{order}", f"B{order[:-1]}{at * 7919 % 97:02}", name, f"{name} 学费 订单{order} {rng.choice(course)}"
        elif kind < 0.95:
            yield rng.randrange(100_000, 9_000_000), "STL", f"S{order}", f"B{order[:-1]}{at * 7919 % 97:02}", "示例支付有限公司", f"商户结算 批次{order}"
        else:
            yield -rng.randrange(10_000, 300_000), "DBT", f"R{order}", f"B{order[:-1]}{at * 7919 % 97:02}", name, f"退费 订单{order}"


def yuan(fen, mark):
    return f"{abs(fen) // 100}{mark}{abs(fen) % 100:02}"


def camt(day, stated):
    side = lambda fen: "DBIT" if fen < 0 else "CRDT"
    out = [f'<?xml version="1.0" encoding="UTF-8"?>\n<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08">\n<BkToCstmrStmt>\n<GrpHdr><MsgId>M{day}</MsgId><CreDtTm>{day}T18:30:00+08:00</CreDtTm></GrpHdr>\n']
    for account, number, opening, closing, lines in stated:
        out.append(f"<Stmt><Id>{account}-{number:04}</Id><ElctrncSeqNb>{number}</ElctrncSeqNb><FrToDt><FrDtTm>{day}T00:00:00+08:00</FrDtTm><ToDtTm>{day}T23:59:59+08:00</ToDtTm></FrToDt>\n<Acct><Id><Othr><Id>{account}</Id></Othr></Id><Ccy>CNY</Ccy></Acct>\n")
        for kind, fen in (("OPBD", opening), ("CLBD", closing)):
            out.append(f'<Bal><Tp><CdOrPrtry><Cd>{kind}</Cd></CdOrPrtry></Tp><Amt Ccy="CNY">{yuan(fen, ".")}</Amt><CdtDbtInd>{side(fen)}</CdtDbtInd><Dt><Dt>{day}</Dt></Dt></Bal>\n')
        for fen, label, own, bank, name, memo in lines:
            amount, party = yuan(fen, "."), "Cdtr" if fen < 0 else "Dbtr"
            out.append(f'<Ntry><NtryRef>{bank}</NtryRef><Amt Ccy="CNY">{amount}</Amt><CdtDbtInd>{side(fen)}</CdtDbtInd><Sts><Cd>BOOK</Cd></Sts><BookgDt><Dt>{day}</Dt></BookgDt><ValDt><Dt>{day}</Dt></ValDt><AcctSvcrRef>{bank}</AcctSvcrRef><BkTxCd><Prtry><Cd>{label}</Cd></Prtry></BkTxCd><NtryDtls><TxDtls><Refs><EndToEndId>{own}</EndToEndId></Refs><Amt Ccy="CNY">{amount}</Amt><CdtDbtInd>{side(fen)}</CdtDbtInd><RltdPties><{party}><Pty><Nm>{name}</Nm></Pty></{party}></RltdPties><RmtInf><Ustrd>{memo}</Ustrd></RmtInf></TxDtls></NtryDtls></Ntry>\n')
        out.append("</Stmt>\n")
    return "".join(out) + "</BkToCstmrStmt>\n</Document>\n"


def swift(day, stated):
    short = day.replace("-", "")[2:]
    side = lambda fen: "D" if fen < 0 else "C"
    out = []
    for account, number, opening, closing, lines in stated:
        out += [f":20:{short}{account[-8:]}", f":25:{account}", f":28C:{number:05}/001", f":60F:{side(opening)}{short}CNY{yuan(opening, ',')}"]
        for fen, label, own, bank, name, memo in lines:
            out += [f":61:{short}{short[2:]}{side(fen)}{yuan(fen, ',')}N{label}{own}//{bank}", f":86:{memo}"]
        out += [f":62F:{side(closing)}{short}CNY{yuan(closing, ',')}", "-"]
    return "\r\n".join(out) + "\r\n"


def generated(lines):
    """A bundle of accounts and the statement files, one a bank and day."""
    folder = os.path.join(WORK, str(lines))
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(os.path.join(folder, "bundle"))
    rng = random.Random(lines)
    accounts = [f"62170012{at:011}" for at in range(ACCOUNTS)]
    tables = {
        "districts": ["district_id,name", "D,示例区"],
        "institutions": ["institution_id,district_id,name"] + [f"I{a},D,示例培训中心{a[-4:]}" for a in accounts],
        "accounts": ["account_id,institution_id,kind,min_deposit_fen"] + [f"{a},I{a},CUSTODY,0" for a in accounts],
    }
    for name, rows in tables.items():
        with open(os.path.join(folder, "bundle", name + ".csv"), "w", encoding="utf-8") as out:
            out.write("\n".join(rows) + "\n")
    # A few large institutions and many small ones.
    weights = [1 / (1 + at % 75) ** 0.5 for at in range(ACCOUNTS)]
    share = [max(1, round(lines * w / sum(weights) / len(DAYS))) for w in weights]
    balance, files, total = dict.fromkeys(accounts, 0), [], 0
    for number, day in enumerate(DAYS, 1):
        for bank in range(BANKS):
            stated = []
            for at in range(bank, ACCOUNTS, BANKS):
                account = accounts[at]
                booked = list(entries(rng, account, day, share[at]))
                opening, total = balance[account], total + len(booked)
                balance[account] += sum(fen for fen, *_ in booked)
                stated.append((account, number, opening, balance[account], booked))
            write, suffix = (camt, "xml") if bank % 2 == 0 else (swift, "sta")
            files.append(os.path.join(folder, f"{day}-{bank}.{suffix}"))
            with open(files[-1], "w", encoding="utf-8", newline="") as out:
                out.write(write(day, stated))
    return folder, files, total


# Measures

def timed(argv, stdin=os.devnull, user=None):
    """CPU seconds, wall seconds, peak MiB of a command, and what it said."""
    start = time.perf_counter()
    said = os.path.join(WORK, "said")
    if user:
        argv = ["runuser", "-u", user, "--", *argv]
    pid = os.posix_spawnp(argv[0], argv, os.environ, file_actions=[(os.POSIX_SPAWN_OPEN, 0, stdin, os.O_RDONLY, 0), (os.POSIX_SPAWN_OPEN, 1, said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), (os.POSIX_SPAWN_DUP2, 1, 2)])
    _, status, usage = os.wait4(pid, 0)
    out = open(said, encoding="utf-8").read()
    if os.waitstatus_to_exitcode(status) != 0:
        sys.exit(f"{' '.join(argv)[:300]} failed: {out[-2000:]}")
    return usage.ru_utime + usage.ru_stime, time.perf_counter() - start, usage.ru_maxrss / 1024, out


def remove(path):
    for suffix in ("", "-wal", "-shm", ".import-lock", ".run-lock"):
        if os.path.exists(path + suffix):
            os.remove(path + suffix)


class Sqlite:
    name, loader = "SQLite", "sqlite3 .import"

    def __init__(self, product, folder, files):
        self.product, self.files = product, files
        self.base, self.db, self.bare = (os.path.join(WORK, name) for name in ("base.db", "product.db", "bare.db"))
        remove(self.base)
        timed([product, "--db", f"sqlite:{self.base}", "import", os.path.join(folder, "bundle")])
        self.script = os.path.join(WORK, "import.sql")

    def take_in(self):
        remove(self.db)
        shutil.copyfile(self.base, self.db)
        cpu, wall, peak, _ = timed([self.product, "--db", f"sqlite:{self.db}", "import", *self.files])
        return cpu, wall, peak

    def dump(self):
        """The rows as CSV. `.import` knows neither NULL nor bytes: an absent number becomes an empty text, a link
        of the chain 33 characters, as long as its bytes, and the tables are not STRICT."""
        db = sqlite3.connect(self.db)
        stored = {}
        definitions = db.execute("SELECT sql FROM sqlite_master WHERE type IN ('table', 'index') AND sql IS NOT NULL AND tbl_name IN (%s)" % ",".join("?" * len(ROWS)), list(ROWS)).fetchall()
        with open(self.script, "w") as out:
            out.write("PRAGMA journal_mode = WAL;\nPRAGMA synchronous = FULL;\nPRAGMA cache_size = -65536;\n.mode csv\n")
            for definition, in definitions:
                out.write(re.sub(r",?\s*STRICT\b", "", definition) + ";\n")
            for table, rows in ROWS.items():
                cursor = db.execute(rows)
                names = [c[0] for c in cursor.description]
                at = names.index("hash") if "hash" in names else None
                stored[table] = 0
                with open(os.path.join(WORK, f"{table}.csv"), "w", newline="", encoding="utf-8") as plain, open(os.path.join(WORK, f"{table}-pg.csv"), "w", newline="", encoding="utf-8") as hexed:
                    plain, hexed = csv.writer(plain, lineterminator="\n"), csv.writer(hexed, lineterminator="\n")
                    for row in cursor:
                        stored[table] += 1
                        row = ["" if v is None else v for v in row]
                        link = row[at] if at is not None else None
                        plain.writerow(row if link is None else row[:at] + [link.hex()[:33]] + row[at + 1:])
                        hexed.writerow(row if link is None else row[:at] + ["\\x" + link.hex()] + row[at + 1:])
                out.write(f".import {os.path.join(WORK, table)}.csv {table}\n")
        db.close()
        return stored

    def load(self):
        remove(self.bare)
        cpu, wall, _, said = timed(["sqlite3", "-bail", self.bare], self.script)
        return cpu, wall, said

    def count(self, bare):
        path = self.bare if bare else self.db
        return sqlite3.connect(path).execute("SELECT COUNT(*) FROM posting").fetchone()[0]

    def stop(self):
        for path in (self.base, self.db, self.bare):
            remove(path)


class Postgres:
    name, loader = "PostgreSQL", "psql \\copy"

    def __init__(self, product, folder, files):
        self.product, self.files = product, files
        found = sorted((f"/usr/lib/postgresql/{v}/bin" for v in os.listdir("/usr/lib/postgresql")), key=lambda p: float(p.split("/")[-2]))
        self.bin = found[-1]
        self.user = "postgres" if os.geteuid() == 0 else None
        self.cluster = tempfile.mkdtemp(prefix="jintuo-pg.")
        if self.user:
            shutil.chown(self.cluster, self.user)
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        data = os.path.join(self.cluster, "data")
        timed([f"{self.bin}/initdb", "--data-checksums", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8"], user=self.user)
        # No autovacuum: it would work beside either side, by chance.
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c shared_buffers=512MB -c max_wal_size=4GB -c autovacuum=off"
        timed([f"{self.bin}/pg_ctl", "-D", data, "-w", "-t", "60", "-l", os.path.join(self.cluster, "log"), "-o", options, "start"], user=self.user)
        self.postmaster = int(open(os.path.join(data, "postmaster.pid")).readline())
        self.sql("postgres", "CREATE DATABASE base")
        timed([product, "--db", self.url("base"), "import", os.path.join(folder, "bundle")])
        self.script = os.path.join(WORK, "copy.sql")

    def url(self, database):
        return f"postgres://postgres@127.0.0.1:{self.port}/{database}"

    def sql(self, database, text):
        return subprocess.run([f"{self.bin}/psql", "-X", "-q", "-At", "-d", self.url(database), "-v", "ON_ERROR_STOP=1", "-c", "SET client_min_messages = warning", "-c", text], check=True, stdout=subprocess.PIPE, text=True).stdout

    def fresh(self, database):
        self.sql("postgres", f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")
        self.sql("postgres", f"CREATE DATABASE {database} TEMPLATE base")

    def server(self):
        """CPU seconds of the server: its first process, those it has reaped, and those that live."""
        def ticks(pid, reaped):
            fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
            return sum(int(f) for f in fields[11:15 if reaped else 13])
        total = ticks(self.postmaster, True)
        for pid in open(f"/proc/{self.postmaster}/task/{self.postmaster}/children").read().split():
            total += ticks(pid, False)
        return total / os.sysconf("SC_CLK_TCK")

    def beside(self, argv, stdin=os.devnull):
        """A command with what it makes the server do, up to a checkpoint."""
        self.sql("postgres", "CHECKPOINT")
        before = self.server()
        cpu, wall, peak, said = timed(argv, stdin)
        self.sql("postgres", "CHECKPOINT")
        return cpu + self.server() - before, wall, peak, said

    def take_in(self):
        self.fresh("product")
        return self.beside([self.product, "--db", self.url("product"), "import", *self.files])[:3]

    def load(self):
        self.fresh("bare")
        with open(self.script, "w") as out:
            out.write("BEGIN;\n")
            for table in ROWS:
                texts = self.texts(table)
                absent = f", FORCE_NOT_NULL ({texts})" if texts else ""
                out.write(f"ALTER TABLE {table} DISABLE TRIGGER ALL;\n\\copy {table} FROM '{os.path.join(WORK, table)}-pg.csv' WITH (FORMAT csv{absent})\n")
            out.write("COMMIT;\n")
        cpu, wall, _, said = self.beside([f"{self.bin}/psql", "-X", "-q", "-d", self.url("bare"), "-v", "ON_ERROR_STOP=1"], self.script)
        return cpu, wall, said

    def texts(self, table):
        """Columns in which an empty cell is an empty text."""
        return self.sql("bare", f"SELECT string_agg(column_name, ', ') FROM information_schema.columns WHERE table_name = '{table}' AND data_type IN ('text', 'bytea')").strip()

    def count(self, bare):
        return int(self.sql("bare" if bare else "product", "SELECT COUNT(*) FROM posting"))

    def stop(self):
        subprocess.run((["runuser", "-u", self.user, "--"] if self.user else []) + [f"{self.bin}/pg_ctl", "-D", os.path.join(self.cluster, "data"), "-m", "fast", "-w", "stop"], stdout=subprocess.DEVNULL)
        shutil.rmtree(self.cluster, ignore_errors=True)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--lines", type=int, default=500_000)
    ap.add_argument("--pairs", type=int, default=5)
    ap.add_argument("--max-sqlite", type=float)
    ap.add_argument("--max-postgres", type=float)
    a = ap.parse_args()
    os.makedirs(WORK, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the server is stopped first
    product, bench = built()
    folder, files, lines = generated(a.lines)
    size = sum(os.path.getsize(f) for f in files)
    engines, failed, pairs = [], False, {}
    try:
        for kind in (Sqlite, Postgres):
            engines.append(kind(product, folder, files))
        parts = []
        for at in range(a.pairs):
            said = json.loads(timed([bench, *files])[3])
            parts.append((said["parse_ns"] / 1e9, said["chain_ns"] / 1e9))
            for engine in engines:
                took = engine.take_in()
                if at == 0 and engine is engines[0]:
                    stored = engine.dump()
                loaded = engine.load()
                if not lines == said["lines"] == engine.count(False) == engine.count(True):
                    sys.exit(f"{engine.name} has {engine.count(False)} and {engine.count(True)} postings of {lines} lines")
                pairs.setdefault(engine.name, []).append((took, loaded))
    finally:
        for engine in engines:
            engine.stop()
    median = lambda values: statistics.median(list(values))
    parse, chain = median(p for p, _ in parts), median(c for _, c in parts)
    print(f"\n{lines} lines in {len(files)} files, {size / 1e6:.0f} MB; rows {stored}; medians of {a.pairs} runs in turn")
    print(f"{'':30}{'CPU s':>9}{'lines/CPU s':>13}{'wall s':>9}{'lines/s':>10}{'peak MiB':>10}")
    print(f"{'parse, proof, identity':30}{parse:9.2f}{lines / parse:13.0f}\n{'hash chain':30}{chain:9.2f}{lines / chain:13.0f}")
    for engine, bound in zip(engines, (a.max_sqlite, a.max_postgres)):
        runs = pairs[engine.name]
        storing = [took[0] - p - c for (took, _), (p, c) in zip(runs, parts)]
        ratios = [s / loaded[0] for s, (_, loaded) in zip(storing, runs)]
        cpu, wall, peak = (median(took[i] for took, _ in runs) for i in range(3))
        print(f"{engine.name + ': import':30}{cpu:9.2f}{lines / cpu:13.0f}{wall:9.2f}{lines / wall:10.0f}{peak:10.0f}")
        print(f"{engine.name + ': of it storing':30}{median(storing):9.2f}{lines / median(storing):13.0f}")
        cpu, wall = (median(loaded[i] for _, loaded in runs) for i in range(2))
        print(f"{engine.name + ': ' + engine.loader:30}{cpu:9.2f}{lines / cpu:13.0f}{wall:9.2f}{lines / wall:10.0f}")
        print(f"CPU, storing / {engine.loader}: {median(ratios):.2f} [{min(ratios):.2f}-{max(ratios):.2f}]")
        if bound and median(ratios) > bound and min(ratios) > bound:
            print(f"that exceeds {bound}")
            failed = True
    sys.exit(failed)


if __name__ == "__main__":
    main()
