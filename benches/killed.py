#!/usr/bin/env python3
"""A real server, killed again and again in the middle of its work, ends in the books of one that was not.

    benches/killed.py --db sqlite|postgres|postgres://USER@HOST:PORT/DATABASE [--binary BIN] [--kills N] [--seed S]
                      [--banks N] [--accounts N] [--days N] [--lines N] [--interval MS] [--address IP]

Banks answer over HTTPS with a certificate of an authority made here: simulated ones, with trouble in their files, and one
with a single long statement. `jintuo serve` asks them on a schedule of seconds. It is killed (SIGKILL) and started again,
at seeded moments and at aimed ones: while a bank has sent a part of a body, right after an answer, while deliveries are
read, while the long statement is read, while a day is reconciled. When all is booked, the books (lines, statement days,
disputes, balances, quarantine, deliveries, and the reports of each day, everything but times and numbering) are compared
with those of a server that was left alone, and `jintuo check` has to be silent. On PostgreSQL a claim outlives its holder
by ten minutes; here they pass at once. `postgres` alone starts a cluster of its own and takes it away again.

BIN is a build for development (target/debug/jintuo): no other reaches loopback. With --address, an address of this machine
in a private network, any build will do. Ends its own processes only. Exit 0: the same books; 1: others; 2: no trial made.
"""
import argparse, datetime, glob, http.client, http.server, json, os, random, shutil, signal, socket, sqlite3, ssl, subprocess, sys, tempfile, threading, time
from urllib.parse import parse_qs, urlsplit, urlunsplit

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TARGET = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
LONG = "sim-long"
LONG_ACCOUNT = "6222000000000000001"
AIMS = ["body", "long", "answer", "run", "intake", "chance", "body", "chance", "answer", "intake", "run", "chance"]
# A reader that ends three times with a delivery is blamed on it, as it should be: no more than two kills there.
ATTEMPTS_KILLED_MAX = 2
GIVE_UP_SECONDS = 900


class Books:
    """SQL on the database a server works at. Connections are short: the last one to leave would tidy up after a kill."""

    def __init__(self, url, path=None):
        self.url, self.path = url, path

    def rows(self, sql):
        if self.path:
            db = sqlite3.connect(self.path, timeout=30)
            try:
                return ["|".join("" if v is None else str(v) for v in row) for row in db.execute(sql).fetchall()]
            finally:
                db.close()
        done = subprocess.run(["psql", "-X", "-qAt", "-v", "ON_ERROR_STOP=1", "-d", self.url, "-c", sql], check=True, stdout=subprocess.PIPE, text=True)
        return done.stdout.splitlines()

    def number(self, sql):
        return int(self.rows(sql)[0])

    def hex(self, column):
        return f"lower(hex({column}))" if self.path else f"encode({column}, 'hex')"

    def export(self):
        """What must not depend on who was killed when."""
        who = "JOIN institution_directory i ON i.inst_id = x.inst_id"
        account = f"{who} LEFT JOIN account_directory a ON a.inst_id = x.inst_id AND a.account_no = x.account_no"
        tables = {
            "lines": f"SELECT i.institution_id, a.account_id, x.kind, x.debit, x.credit, x.amount_fen, x.business_day, x.source_id, x.revision, "
                     f"r.source_id, r.revision, x.reference, x.channel, x.state, x.quantity, x.stated_fen, x.confirmed_day, n.note FROM posting x {account} "
                     f"LEFT JOIN posting r ON r.inst_id = x.inst_id AND r.seq = x.reverses LEFT JOIN posting_note n ON n.inst_id = x.inst_id AND n.seq = x.seq",
            "statement days": f"SELECT a.account_id, x.day, x.version, x.opening_fen, x.closing_fen FROM statement_day x {account}",
            "statements": f"SELECT a.account_id, x.family, x.number, x.first_day, x.last_day, x.version, x.lines, x.lines_added, x.lines_removed, x.lines_changed FROM statement x {account}",
            "disputes": f"SELECT a.account_id, x.day, x.opening_fen, x.closing_fen, {self.hex('x.lines_digest')}, x.settled FROM statement_dispute x {account}",
            "balances": f"SELECT i.institution_id, x.ledger_account, x.debit_fen, x.credit_fen FROM ledger_balance x {who}",
            "quarantine": "SELECT file, line, column_name, code, found FROM quarantine",
            "deliveries": f"SELECT feed, name, {self.hex('digest')}, state, COUNT(*) FROM delivery GROUP BY feed, name, digest, state",
            "raw files": f"SELECT {self.hex('digest')}, bytes FROM raw_file",
            "pages that wait": f"SELECT {self.hex('digest')}, account FROM waiting_page",
        }
        return {name: sorted(self.rows(sql)) for name, sql in tables.items()}


class Banks:
    """An HTTPS front of the simulated banks that can hold an answer at a byte, and says so."""

    def __init__(self, folder, address, upstream, long):
        self.lock, self.aim, self.hit = threading.Lock(), None, threading.Event()
        self.chance, self.asked = random.Random(1), 0
        banks, (path, day) = self, long

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                query = parse_qs(urlsplit(self.path).query)
                if f"/{LONG}/" in self.path:
                    asked = query["from"][0] <= day <= query["to"][0]
                    status, headers = (200, {"content-disposition": f'attachment; filename="{LONG}.xml"'}) if asked else (204, {})
                    body = open(path, "rb").read() if asked else b""
                else:
                    up = http.client.HTTPConnection(*upstream)
                    up.request("GET", self.path)
                    answer = up.getresponse()
                    status, body = answer.status, answer.read()
                    headers = {k: v for k, v in answer.getheaders() if k in ("content-disposition", "content-type", "jintuo-next")}
                    up.close()
                with banks.lock:
                    banks.asked += 1
                    aim = banks.aim if body else None
                    banks.aim = None if aim else banks.aim
                try:
                    self.send_response(status)
                    for name, value in headers.items():
                        self.send_header(name, value)
                    if status != 204:
                        self.send_header("content-length", str(len(body)))
                    self.end_headers()
                    cut = banks.chance.randrange(len(body)) if aim == "body" else len(body)
                    self.wfile.write(body[:cut])
                    self.wfile.flush()
                    if aim:
                        banks.hit.set()
                    if aim == "body":
                        # Until whoever asked is dead.
                        self.close_connection = True
                        self.connection.recv(1)
                except OSError:
                    self.close_connection = True

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass

            def get_request(self):
                connection, peer = super().get_request()
                connection.settimeout(60)
                return banks.tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), peer

        authority(folder, address)
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(os.path.join(folder, "bank.pem"), os.path.join(folder, "bank.key"))
        self.server = Server((address, 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take_aim(self, aim, seed):
        with self.lock:
            self.hit.clear()
            self.chance, self.aim = random.Random(seed), aim

    def drop_aim(self):
        with self.lock:
            self.aim = None


class Cluster:
    """A PostgreSQL of this trial alone, on a free port of loopback."""

    def __init__(self):
        found = glob.glob("/usr/lib/postgresql/*/bin/initdb")
        self.bin = os.path.dirname(max(found, key=lambda p: float(p.split("/")[-3]))) if found else os.path.dirname(shutil.which("initdb") or "")
        if not self.bin:
            print("PostgreSQL is not there", file=sys.stderr)
            sys.exit(2)
        # The server refuses to run as root.
        self.user = "postgres" if os.geteuid() == 0 else None
        self.folder = tempfile.mkdtemp(prefix="jintuo-pg.")
        if self.user:
            shutil.chown(self.folder, self.user)
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        self.url = f"postgres://postgres@127.0.0.1:{port}/postgres"
        self.run("initdb", "--data-checksums", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8")
        self.run("pg_ctl", "-w", "-t", "60", "-l", os.path.join(self.folder, "log"), "-o", f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories=''", "start")

    def run(self, program, *args):
        subprocess.run([os.path.join(self.bin, program), "-D", os.path.join(self.folder, "data"), *args], check=True, stdout=subprocess.DEVNULL, user=self.user, cwd="/")

    def stop(self):
        self.run("pg_ctl", "-m", "fast", "-w", "stop")
        shutil.rmtree(self.folder, ignore_errors=True)


def authority(folder, address):
    """An authority of this trial alone and its certificate for the banks' address."""
    def openssl(*args):
        subprocess.run(["openssl", *args], cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl("req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=trial", "-addext", "basicConstraints=critical,CA:TRUE")
    openssl("req", *curve, "-keyout", "bank.key", "-out", "bank.csr", "-subj", "/CN=bank")
    with open(os.path.join(folder, "bank.ext"), "w") as out:
        out.write(f"subjectAltName=IP:{address}\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE\n")
    openssl("x509", "-req", "-in", "bank.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-out", "bank.pem", "-extfile", "bank.ext")


def long_statement(path, day, lines):
    """One account's day of many lines, as camt.053."""
    fen = [100 + n % 97 for n in range(lines)]
    yuan = lambda f: f"{f // 100}.{f % 100:02}"
    balance = lambda kind, f: f'<Bal><Tp><CdOrPrtry><Cd>{kind}</Cd></CdOrPrtry></Tp><Amt Ccy="CNY">{yuan(f)}</Amt><CdtDbtInd>CRDT</CdtDbtInd><Dt><Dt>{day}</Dt></Dt></Bal>\n'
    with open(path, "w") as out:
        out.write('<?xml version="1.0" encoding="UTF-8"?>\n<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"><BkToCstmrStmt><Stmt><Id>LONG</Id>'
                  f"<Acct><Id><Othr><Id>{LONG_ACCOUNT}</Id></Othr></Id><Ccy>CNY</Ccy></Acct>\n" + balance("OPBD", 0) + balance("CLBD", sum(fen)))
        for n, f in enumerate(fen):
            out.write(f'<Ntry><NtryRef>{n}</NtryRef><Amt Ccy="CNY">{yuan(f)}</Amt><CdtDbtInd>CRDT</CdtDbtInd><Sts><Cd>BOOK</Cd></Sts><BookgDt><Dt>{day}</Dt></BookgDt>'
                      f"<AcctSvcrRef>L{n:09}</AcctSvcrRef><NtryDtls><TxDtls><RmtInf><Ustrd>学费 {n}</Ustrd></RmtInf></TxDtls></NtryDtls></Ntry>\n")
        out.write("</Stmt></BkToCstmrStmt></Document>\n")


class Trial:
    """One database and the servers that work at it, one after the other."""

    def __init__(self, a, folder, name, config, url, path):
        self.a, self.folder, self.name = a, folder, name
        self.books = Books(url, path)
        self.base = [a.binary, "--config", config, "--db", url]
        self.log = open(os.path.join(folder, f"{name}.log"), "w")
        self.server = None
        subprocess.run(self.base + ["import", os.path.join(folder, "registry")], check=True, stderr=subprocess.DEVNULL)

    def start(self):
        self.server = subprocess.Popen(self.base + ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "", "--log", "info"], stdout=self.log, stderr=self.log)

    def alive(self):
        if self.server.poll() is not None:
            sys.exit(f"{self.name}: the server ended by itself with {self.server.returncode}; see {self.log.name}")

    def is_done(self, days):
        """Every day reconciled, and nothing left to fetch or to read."""
        return self.books.number("SELECT COUNT(*) FROM job WHERE state <> 'done'") == 0 \
            and self.books.number("SELECT COUNT(*) FROM job WHERE kind = 'run'") >= days \
            and self.books.number("SELECT COUNT(*) FROM delivery WHERE state = 'received'") == 0

    def finish(self, days):
        """Waits until all is booked and stays so, then stops the server as its keeper would."""
        started, still = time.monotonic(), 0
        while still < 4:
            self.alive()
            still = still + 1 if self.is_done(days) else 0
            if time.monotonic() - started > GIVE_UP_SECONDS:
                left = self.books.rows("SELECT feed, day, kind, state, attempts, due_at, note FROM job WHERE state <> 'done' ORDER BY day LIMIT 5")
                sys.exit(f"{self.name}: not done after {GIVE_UP_SECONDS} s, among what is left {left}")
            time.sleep(0.7)
        self.server.send_signal(signal.SIGTERM)
        if self.server.wait(timeout=60) != 0:
            sys.exit(f"{self.name}: the server ended with {self.server.returncode} when told to stop")

    def doing(self):
        """What a server is in the middle of."""
        what = self.books.rows("SELECT kind FROM job WHERE state = 'working' UNION ALL SELECT 'intake' FROM delivery WHERE state = 'received' AND attempts > 0")
        return set(what)

    def kill(self):
        self.server.kill()
        self.server.wait()
        if not self.books.path:
            # Ten minutes pass for whoever held a claim.
            self.books.rows("UPDATE job SET held_until = '2000-01-01T00:00:00Z' WHERE state = 'working'")

    def results(self, days):
        """The reports of each day, without what counts arrivals."""
        found = {}
        for day in days:
            for report in ("institutions", "districts", "breaks", "matches"):
                done = subprocess.run(self.base + ["report", report, "--as-of", day, "--format", "csv"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                if done.returncode:
                    sys.exit(f"{self.name}: no report {report} of {day}: {done.stderr}")
                found[f"{report} of {day}"] = sorted(done.stdout.splitlines())
        return found

    def check(self):
        done = subprocess.run(self.base + ["check"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        return done.stdout + done.stderr if done.returncode or done.stdout else ""


def until(trial, seconds, met):
    """Whether something comes to be so in time, while the server lives."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        trial.alive()
        if met():
            return True
        time.sleep(0.002)
    return False


def killed(trial, banks, a, chance, days):
    """Kills and starts again until there have been enough kills, or nothing is left to do."""
    tally, made = {}, 0
    begun = "SELECT COUNT(*) FROM delivery WHERE state = 'received' AND attempts > 0"
    blamed = f"SELECT COUNT(*) FROM delivery WHERE state = 'received' AND attempts >= {ATTEMPTS_KILLED_MAX}"
    waiting = {
        "intake": begun,
        "long": f"{begun} AND feed = '{LONG}'",
        "run": "SELECT COUNT(*) FROM job WHERE kind = 'run' AND state = 'working'",
    }
    while made < a.kills and not trial.is_done(len(days)):
        aim = AIMS[made % len(AIMS)]
        if aim in ("body", "answer"):
            banks.take_aim(aim, chance.random())
        trial.start()
        if aim in ("body", "answer"):
            met = until(trial, 10, lambda: banks.hit.is_set())
            banks.drop_aim()
        elif aim == "chance":
            time.sleep(chance.uniform(0.05, 2.5))
            met = True
        else:
            met = until(trial, 3, lambda: trial.books.number(waiting[aim]) > 0)
            time.sleep(chance.uniform(0, 1.0 if aim == "long" else 0.05))
        trial.alive()
        until(trial, 120, lambda: trial.books.number(blamed) == 0)
        doing = trial.doing() or {"nothing"}
        trial.kill()
        made += 1
        for what in doing | ({f"aimed at {aim}"} if met else set()):
            tally[what] = tally.get(what, 0) + 1
    return made, tally


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--db", required=True)
    ap.add_argument("--binary", default=os.path.join(TARGET, "debug", "jintuo"))
    ap.add_argument("--kills", type=int, default=60)
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--banks", type=int, default=4)
    ap.add_argument("--accounts", type=int, default=8, help="of each bank")
    ap.add_argument("--days", type=int, default=12)
    ap.add_argument("--lines", type=int, default=20_000, help="of the long statement")
    ap.add_argument("--trouble", type=int, default=150, help="account-days with trouble in their files, of a thousand")
    ap.add_argument("--interval", type=int, default=200, help="milliseconds between two requests to a bank")
    ap.add_argument("--address", default="127.0.0.1")
    ap.add_argument("--keep", help="keep the folder of the trial here")
    a = ap.parse_args()
    if not shutil.which("openssl"):
        print("openssl is not there", file=sys.stderr)
        sys.exit(2)
    folder = tempfile.mkdtemp(prefix="jintuo-killed-")
    processes, databases = [], []
    cluster = Cluster() if a.db == "postgres" else None
    try:
        a.db = cluster.url if cluster else a.db
        sys.exit(trial(a, folder, processes, databases))
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
            process.wait()
        for name in [] if cluster else databases:
            Books(a.db).rows(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        if a.keep:
            shutil.copytree(folder, a.keep, dirs_exist_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        if cluster:
            cluster.stop()


def trial(a, folder, processes, databases):
    chance = random.Random(a.seed)
    # Days are cut in the site's zone.
    today = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=8)).date()
    sim = [a.binary, "bank-sim", "--dir", folder, "--trouble", str(a.trouble), "--wire-trouble", "0", "--banks", str(a.banks), "--accounts", str(a.accounts),
           "--seed", str(a.seed), "--days", str(a.days), "--last", str(today - datetime.timedelta(days=1)), "--today", str(today + datetime.timedelta(days=60))]
    upstream = subprocess.Popen(sim, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    processes.append(upstream)
    at = urlsplit(upstream.stdout.readline().strip())
    manifest = json.load(open(os.path.join(folder, "manifest.json")))
    days = sorted({t["day"] for t in manifest["statements"]})
    registry = os.path.join(folder, "registry")
    with open(os.path.join(registry, "institutions.csv"), "a") as out:
        out.write("LONG,SIM,长单机构\n")
    with open(os.path.join(registry, "accounts.csv"), "a") as out:
        out.write(f"{LONG_ACCOUNT},LONG,CUSTODY,0,filed,{LONG}\n")
    long = os.path.join(folder, "long.xml")
    long_statement(long, days[-1], a.lines)
    banks = Banks(folder, a.address, (at.hostname, at.port), (long, days[-1]))
    names = sorted({t["bank"] for t in manifest["statements"]}) + [LONG]
    config = os.path.join(folder, "jintuo.toml")
    with open(config, "w") as out:
        out.write("[database]\nunsafe_dev = true\n")
        reach = "allow_loopback_http = true" if a.address.startswith("127.") else f'allow_private = ["{a.address}/32"]'
        for bank in names:
            out.write(f'[[feed]]\nname = "{bank}"\nbank = "{bank}"\nschedule = "* * * * * *"\nfirst_day = "{days[-1] if bank == LONG else days[0]}"\n'
                      f'[feed.source]\nkind = "https"\nurl = "https://{a.address}:{banks.port}/banks/{bank}/statements"\nca_file = {json.dumps(os.path.join(folder, "ca.pem"))}\n'
                      f"{reach}\nmin_interval_ms = {a.interval}\noverlap_days = 0\n")
    trials = []
    for name in ("left-alone", "killed"):
        if a.db == "sqlite":
            path = os.path.join(folder, f"{name}.db")
            url = f"sqlite:{path}"
        else:
            path, database = None, f"killed_{os.getpid()}_{len(trials)}"
            Books(a.db).rows(f"CREATE DATABASE {database}")
            databases.append(database)
            url = urlunsplit(urlsplit(a.db)._replace(path="/" + database))
        trials.append(Trial(a, folder, name, config, url, path))
    alone, other = trials
    started = time.monotonic()
    alone.start()
    processes.append(alone.server)
    alone.finish(len(days))
    undisturbed, started = time.monotonic() - started, time.monotonic()
    try:
        made, tally = killed(other, banks, a, chance, days)
        other.start()
        other.finish(len(days))
    finally:
        if other.server and other.server.poll() is None:
            other.server.kill()
            other.server.wait()
    took = time.monotonic() - started
    expected, found = alone.books.export() | alone.results(days), other.books.export() | other.results(days)
    wrong = []
    for what, rows in expected.items():
        if rows != found[what]:
            lost, extra = set(rows) - set(found[what]), set(found[what]) - set(rows)
            wrong.append(f"{what}: {len(lost)} lost, {len(extra)} other or too many of {len(rows)}; {sorted(lost)[:2]} {sorted(extra)[:2]}")
    doubled = len(found["lines"]) - len(set(found["lines"]))
    states = other.books.rows("SELECT state, COUNT(*) FROM delivery GROUP BY state ORDER BY state")
    for t in trials:
        if said := t.check():
            wrong.append(f"check of {t.name}: {said[:400]}")
        if "panicked" in open(t.log.name).read():
            wrong.append(f"{t.name} panicked")
    if made < a.kills // 2 or not any(k.startswith("aimed at body") for k in tally):
        wrong.append("too little was killed to say anything")
    lines = len(expected["lines"])
    print(f"{'SQLite' if a.db == 'sqlite' else 'PostgreSQL'}, seed {a.seed}: {made} kills in {took:.0f} s (left alone {undisturbed:.0f} s), in the middle of {dict(sorted(tally.items()))}; "
          f"{len(days)} days, {len(names)} banks, {lines} lines, {len(expected)} exports, deliveries {states}, {doubled} doubled")
    for line in wrong:
        print(line)
    return 1 if wrong else 0


if __name__ == "__main__":
    main()
