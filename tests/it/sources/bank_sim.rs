//! Simulated banks: what was planted is what is delivered, and a feed that goes on at its mark gets it all.

use std::collections::{BTreeMap, BTreeSet};
use std::io::BufRead as _;
use std::process::{Child, Stdio};
use std::sync::Arc;

use jintuo::bank_sim::{
    Admitted, BANKS_USUAL, Door, Plan, Shown, Sim, Trouble, Truth, WireTrouble, drop_files,
};
use jintuo::base::{Clock, Day, Entropy};
use jintuo::config::{Algorithm, Feed, SecretBytes};
use jintuo::feed::source::resolver::{Trust, system_lookup};
use jintuo::feed::source::signature::{Key, Request, body_digest, sign, timestamp};
use jintuo::feed::source::{self, Surroundings};
use jintuo::wire;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{Basket, june, open};
use crate::harness::{Dir, command, day, jintuo, minute};

fn plan(seed: u64) -> Plan {
    Plan {
        seed,
        banks: BANKS_USUAL,
        absent: 0,
        days: day("2026-06-01").through(day("2026-06-12")).collect(),
        accounts: 6,
        trouble_permille: 300,
        wire_permille: 100,
    }
}

#[test]
fn the_same_seed_makes_the_same_trouble() {
    let (one, two, other) = (Sim::new(&plan(1)), Sim::new(&plan(1)), Sim::new(&plan(2)));
    assert_eq!(one.manifest, two.manifest);
    for (a, b) in one.banks.iter().zip(&two.banks) {
        assert_eq!(a.deliveries, b.deliveries);
        assert_eq!(a.wire, b.wire);
    }
    assert_ne!(one.manifest, other.manifest);
    let kinds: BTreeSet<Trouble> = one.manifest.planted.iter().map(|p| p.trouble).collect();
    assert_eq!(kinds.len(), 11, "{kinds:?}");
    let wire: BTreeSet<WireTrouble> = one.manifest.wire.iter().map(|p| p.trouble).collect();
    assert_eq!(wire.len(), 3, "{wire:?}");
    let calm = Sim::new(&Plan {
        trouble_permille: 0,
        wire_permille: 0,
        ..plan(1)
    });
    assert!(calm.manifest.planted.is_empty() && calm.manifest.wire.is_empty());
    let balances = |sim: &Sim| -> Vec<i64> {
        sim.manifest
            .statements
            .iter()
            .map(|t| t.closing_fen)
            .collect()
    };
    assert_eq!(
        balances(&calm),
        balances(&one),
        "trouble does not touch the truth"
    );
}

#[test]
fn the_manifest_says_what_the_files_hold() {
    let sim = Sim::new(&plan(3));
    let mut closings: BTreeMap<&str, i64> = BTreeMap::new();
    for truth in &sim.manifest.statements {
        let bank = sim.bank(truth.bank).unwrap();
        let before = closings.insert(&truth.account_id, truth.closing_fen);
        assert!(
            before.is_none_or(|before| before == truth.opening_fen),
            "the truth has no gap"
        );
        let file = bank.deliveries.iter().find(|d| d.name == truth.file);
        assert_eq!(file.map(|f| f.visible_from), truth.visible_from);
        let Some(file) = file else { continue };
        assert!(
            file.visible_from > truth.day,
            "not before its time: {truth:?}"
        );
        let format = wire::sniff(&file.bytes).unwrap();
        assert!(!format!("{format:?}").is_empty());
    }
    for planted in &sim.manifest.planted {
        let bank = sim.bank(planted.bank).unwrap();
        let at = |name: &str| bank.deliveries.iter().position(|d| d.name == name).unwrap();
        let truth = sim.manifest.statements.iter();
        let mut truth = truth.filter(|t| t.account_id == planted.account_id);
        let own = truth.clone().find(|t| t.day == planted.day).unwrap();
        if matches!(planted.trouble, Trouble::Never | Trouble::LostPage) {
            assert_eq!(own.visible_from, None);
            assert!(bank.deliveries.iter().all(|d| d.name != own.file));
            continue;
        }
        let (wrong, right) = (
            &bank.deliveries[at(&planted.file)],
            &bank.deliveries[at(&own.file)],
        );
        match planted.trouble {
            Trouble::Late => assert!(right.visible_from > planted.day.plus(1)),
            Trouble::Duplicate => assert_eq!(wrong.bytes, right.bytes),
            Trouble::Truncated => assert!(right.bytes.starts_with(&wrong.bytes)),
            Trouble::Corrected | Trouble::LatePage => {
                assert!(wrong.visible_from < right.visible_from);
            }
            Trouble::Contradicting => assert_ne!(wrong.bytes, right.bytes),
            Trouble::Overtaken => assert!(wrong.visible_from > right.visible_from),
            Trouble::Adrift => {
                let next = truth.find(|t| t.day > planted.day);
                let calm = |t: &Truth| {
                    let at = (&t.account_id, t.day);
                    (sim.manifest.planted.iter()).all(|p| (&p.account_id, p.day) != at)
                };
                assert!(next.is_none_or(calm), "{next:?}");
            }
            Trouble::Never | Trouble::LostPage => unreachable!("it is not there"),
            Trouble::Reordered => {
                let next = truth.find(|t| t.day > planted.day && t.visible_from.is_some());
                let next = next.unwrap();
                let overtaken =
                    next.visible_from > own.visible_from || at(&next.file) < at(&own.file);
                assert!(overtaken, "{own:?} comes after {next:?}");
            }
        }
    }
}

#[test]
fn pages_make_the_true_statement_together() {
    let (mut late, mut lost) = (0, 0);
    for seed in 1..4 {
        let sim = Sim::new(&plan(seed));
        let bank = sim.bank("sim-c").unwrap();
        for planted in sim.manifest.planted.iter().filter(|p| p.bank == "sim-c") {
            let truth = (sim.manifest.statements.iter())
                .find(|t| (&t.account_id, t.day) == (&planted.account_id, planted.day))
                .unwrap();
            let bytes = |name: &str| {
                let file = bank.deliveries.iter().find(|d| d.name == name);
                file.map(|f| f.bytes.clone()).unwrap_or_default()
            };
            let pages = [bytes(&planted.file), bytes(&truth.file)].concat();
            let joined = wire::join_pages(wire::parse(wire::Format::Mt940, &pages[..]).0);
            match planted.trouble {
                Trouble::LatePage => {
                    late += 1;
                    let [whole] = &joined[..] else {
                        panic!("{joined:?}");
                    };
                    let fen = |b: &Option<wire::Balance>| {
                        let amount = b.as_ref().unwrap().amount;
                        jintuo::base::Money::from_yuan(amount).unwrap().fen()
                    };
                    let said = (
                        fen(&whole.opening),
                        fen(&whole.closing),
                        whole.entries.len(),
                    );
                    let expected = (truth.opening_fen, truth.closing_fen, truth.lines);
                    assert_eq!(said, expected);
                    assert!(!wire::is_page(whole));
                }
                Trouble::LostPage => {
                    lost += 1;
                    assert!(joined.len() == 1 && wire::is_page(&joined[0]), "{joined:?}");
                }
                _ => {}
            }
        }
    }
    assert!(late > 0 && lost > 0, "{late} {lost}");
}

#[tokio::test]
async fn a_folder_feed_takes_what_the_gateway_drops() {
    let dir = Dir::new();
    let sim = Sim::new(&plan(1));
    let mut basket = Basket::default();
    let path = dir.path().join("sim-c").display().to_string();
    std::fs::create_dir_all(&path).unwrap();
    let folder = open(&format!(
        "kind = \"folder\"\npath = {path:?}\ncompanion = \".ok\""
    ));
    let mut shown: BTreeSet<String> = BTreeSet::new();
    for today in day("2026-06-01").through(day("2026-06-20")) {
        drop_files(&sim, today, dir.path()).unwrap();
        let bank = sim.bank("sim-c").unwrap();
        let visible = bank.visible(Day::MIN, Day::MAX, today);
        shown.extend(visible.iter().map(|d| d.name.clone()));
        folder.fetch(june(1, 30), None, &mut basket).await.unwrap();
        let names: BTreeSet<String> = basket.files.iter().map(|f| f.name.clone()).collect();
        assert_eq!(names, shown, "{today}");
    }
    assert_eq!(shown.len(), sim.bank("sim-c").unwrap().deliveries.len());
}

#[tokio::test]
async fn a_pull_that_goes_on_at_its_mark_gets_everything_through_trouble() {
    let sim = Sim::new(&plan(1));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
        .await
        .unwrap();
    let address = listener.local_addr().unwrap();
    let today = day("2026-06-30");
    let never = std::future::pending();
    let server = tokio::spawn(jintuo::web::bank_sim::serve(
        listener,
        sim.clone(),
        Arc::new(move || today),
        never,
    ));
    let source = format!(
        "kind = \"https\"\nurl = \"http://{address}/banks/sim-a/statements\"\nwindow_days = 5\n\
         allow_loopback_http = true\nmin_interval_ms = 0\ntimeout_seconds = 1"
    );
    let pull = open(&source);
    let mut basket = Basket::default();
    let mut failures = 0;
    // Trouble is planned, so that the number of fetches is no matter of luck.
    while let Err(error) = pull
        .fetch(june(4, 12), basket.mark.clone(), &mut basket)
        .await
    {
        assert!(error.is_temporary(), "{error}");
        failures += 1;
        assert!(failures < 100, "{error}");
    }
    server.abort();
    assert!(failures > 0, "there was trouble");
    let bank = sim.bank("sim-a").unwrap();
    let mut wanted: Vec<(&str, &[u8])> = bank
        .deliveries
        .iter()
        .map(|d| (d.name.as_str(), d.bytes.as_slice()))
        .collect();
    let mut kept: Vec<(&str, &[u8])> = basket
        .files
        .iter()
        .map(|f| (f.name.as_str(), f.bytes.as_slice()))
        .collect();
    wanted.sort_unstable();
    kept.sort_unstable();
    kept.dedup();
    assert_eq!(kept, wanted);
}

/// Ends the process it holds.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn the_command_writes_its_files_and_says_where_it_serves() {
    let dir = Dir::new();
    let path = dir.path().join("sim").display().to_string();
    let args = [
        "bank-sim",
        "--dir",
        &path,
        "--today",
        "2026-07-10",
        "--wire-trouble",
        "0",
    ];
    let mut child = command(&args)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let stdout = child.stdout.take().unwrap();
    let _running = Running(child);
    let mut line = String::new();
    std::io::BufReader::new(stdout)
        .read_line(&mut line)
        .unwrap();
    let source = format!(
        "kind = \"https\"\nurl = \"{}banks/sim-d/statements\"\nallow_loopback_http = true\n\
         min_interval_ms = 0",
        line.trim()
    );
    let mut basket = Basket::default();
    open(&source)
        .fetch(june(1, 30), None, &mut basket)
        .await
        .unwrap();
    let text = std::fs::read_to_string(dir.path().join("sim/manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
    let stated = manifest["statements"].as_array().unwrap();
    let own = stated.iter().filter(|t| t["bank"] == "sim-d").count();
    assert_eq!(own, 30, "3 accounts, 10 days");
    let names: BTreeSet<&str> = basket.names().into_iter().collect();
    for truth in stated.iter().filter(|t| t["bank"] == "sim-d") {
        let shown = !truth["visible_from"].is_null();
        let file = truth["file"].as_str().unwrap();
        assert_eq!(names.contains(file), shown, "{truth}");
    }
    let dropped = std::fs::read_dir(dir.path().join("sim/drop/sim-d"))
        .unwrap()
        .count();
    assert_eq!(dropped, 2 * basket.files.len(), "each with its companion");
    // The accounts are made known by the bundle beside them.
    let url = format!("sqlite:{}", dir.path().join("books.db").display());
    let registry = dir.path().join("sim/registry").display().to_string();
    jintuo(&["--db", &url, "import", &registry]).ended(0);
}

/// The command with its arguments, and the lines it says on standard error up to one that ends so.
fn say(args: &[&str], last: &str) -> (Running, Vec<String>) {
    let mut child = command(args)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stderr = child.stderr.take().unwrap();
    let running = Running(child);
    let mut lines = Vec::new();
    let mut stderr = std::io::BufReader::new(stderr).lines();
    while !lines.last().is_some_and(|l: &String| l.ends_with(last)) {
        lines.push(stderr.next().expect("it serves").unwrap());
    }
    (running, lines)
}

fn line_with<'a>(lines: &'a [String], start: &str, end: &str) -> &'a str {
    let found = (lines.iter()).find(|l| l.starts_with(start) && l.ends_with(end));
    found.unwrap_or_else(|| panic!("{start}…{end} in {lines:?}"))
}

#[tokio::test]
async fn the_command_serves_https_to_clients_of_its_authority_only() {
    let dir = Dir::new();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (sim, tls, ca, client) = (
        path("sim"),
        path("tls"),
        path("tls/ca.pem"),
        path("tls/client.pem"),
    );
    let base = [
        "bank-sim",
        "--dir",
        &sim,
        "--today",
        "2026-07-10",
        "--wire-trouble",
        "0",
    ];
    let own = ["--tls", &tls, "--client-ca", &ca];
    let args = [&base[..], &own[..]].concat();
    let ask = async |lines: &[String], client: &str| {
        let url = line_with(lines, "https://", "/sim-a/statements");
        let source = format!(
            "kind = \"https\"\nurl = {url:?}\nallow_loopback_http = true\nmin_interval_ms = 0\n\
             ca_file = {ca:?}\n{client}"
        );
        let mut basket = Basket::default();
        let asked = open(&source).fetch(june(1, 30), None, &mut basket).await;
        asked.map(|_| basket.files.len())
    };
    let shown = format!("client_cert_file = {client:?}");
    let last = "/sim-d/statements";
    {
        let (_running, lines) = say(&args, last);
        assert!(ask(&lines, &shown).await.unwrap() > 0);
        assert!(ask(&lines, "").await.is_err(), "no certificate, no answer");
    }
    // Another start shows the same certificate, from files or from the folder.
    let before = std::fs::read(&ca).unwrap();
    let (cert, key) = (path("tls/server.pem"), path("tls/server.key"));
    let files = ["--tls-cert", &cert, "--tls-key", &key];
    for how in [&files[..], &["--tls", &tls][..]] {
        let args = [&base[..], how].concat();
        let (_running, lines) = say(&args, last);
        assert!(ask(&lines, "").await.unwrap() > 0, "{how:?}");
    }
    assert_eq!(std::fs::read(&ca).unwrap(), before);
    std::fs::remove_file(&key).unwrap();
    let ran = jintuo(&args).ended(1);
    assert!(ran.stderr.contains("server.key"), "{}", ran.stderr);
}

#[tokio::test]
async fn the_command_answers_only_who_proves_what_a_bank_asks_for() {
    let dir = Dir::new();
    let secret = |name: &str, text: &str| {
        let path = dir.write(name, text);
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&path, mode).unwrap();
        path.display().to_string()
    };
    let token = secret("token", "a token of the bank");
    let key = secret("key", "0123456789abcdef0123456789abcdef");
    let other = secret("other", "another one of enough bytes");
    let sim = dir.path().join("sim").display().to_string();
    let base = ["bank-sim", "--dir", &sim, "--today", "2026-07-10"];
    let calm = ["--wire-trouble", "0", "--trouble", "0"];
    let doors = [
        format!("--bearer=sim-a={token}"),
        format!("--hmac-sha256=sim-b={key}"),
        format!("--hmac-sm3=sim-c={key}"),
    ];
    let doors: Vec<&str> = doors.iter().map(String::as_str).collect();
    let (_running, lines) = say(&[&base[..], &calm, &doors].concat(), "/sim-d/statements");
    let ask = async |bank: &str, auth: String| {
        let url = line_with(&lines, "http://", &format!("/{bank}/statements"));
        let feed = format!(
            "name = {bank:?}\nbank = {bank:?}\n[source]\nkind = \"https\"\nurl = {url:?}\n\
             allow_loopback_http = true\nmin_interval_ms = 0\n{auth}"
        );
        let feed: Feed = toml::from_str(&feed).unwrap();
        let surroundings = Surroundings {
            clock: Clock::system(chrono_tz::Asia::Shanghai),
            entropy: Entropy::system(),
            trust: Trust::Demo,
            lookup: system_lookup(),
        };
        let source = source::open(&feed, &surroundings).unwrap().unwrap();
        let mut basket = Basket::default();
        let asked = source.fetch(june(1, 30), None, &mut basket).await;
        asked.map(|_| basket.files.len()).map_err(|e| {
            assert!(!e.is_temporary(), "{e}");
            e.to_string()
        })
    };
    let bearer =
        |file: &str| format!("auth = {{ kind = \"bearer\", token = {{ file = {file:?} }} }}");
    let hmac = |id: &str, algorithm: &str, file: &str| {
        format!(
            "auth = {{ kind = \"hmac\", key_id = {id:?}, algorithm = {algorithm:?}, \
             key = {{ file = {file:?} }} }}"
        )
    };
    let (sha, sm3) = ("hmac-sha256", "hmac-sm3");
    for (bank, auth) in [
        ("sim-a", bearer(&token)),
        ("sim-b", hmac("sim-b", sha, &key)),
        ("sim-c", hmac("sim-c", sm3, &key)),
        ("sim-d", String::new()),
    ] {
        assert_eq!(ask(bank, auth).await, Ok(30), "{bank}: 3 accounts, 10 days");
    }
    for (bank, auth) in [
        ("sim-a", String::new()),
        ("sim-a", bearer(&other)),
        ("sim-a", hmac("sim-a", sha, &key)),
        ("sim-b", String::new()),
        ("sim-b", bearer(&key)),
        ("sim-b", hmac("sim-b", sha, &other)),
        ("sim-b", hmac("sim-c", sha, &key)),
        ("sim-b", hmac("sim-b", sm3, &key)),
        ("sim-c", hmac("sim-c", sha, &key)),
    ] {
        let refused = ask(bank, auth.clone()).await.unwrap_err();
        assert!(refused.contains("401"), "{bank} {auth}: {refused}");
    }
    // What cannot be asked for is said before anything is served.
    let twice = [doors[0], &format!("--hmac-sm3=sim-a={key}")];
    let absent = format!("--bearer=sim-l={token}");
    for (wrong, said) in [(&twice[..], "one proof"), (&[absent.as_str()], "--banks")] {
        let ran = jintuo(&[&base[..], wrong].concat()).ended(1);
        assert!(ran.stderr.contains(said), "{}", ran.stderr);
    }
    jintuo(&[&base[..], &["--bearer=nobody=f"]].concat()).ended(2);
}

#[test]
fn a_signed_request_is_admitted_while_its_time_is_now() {
    let now = minute(0);
    let clock = |at| Clock::fixed(at, chrono_tz::Asia::Shanghai);
    let key = SecretBytes::new("0123456789abcdef0123456789abcdef");
    let target = "/banks/sim-b/statements?from=2026-06-01&to=2026-06-02";
    let signer = Key::new("sim-b", Algorithm::HmacSm3, key.clone()).unwrap();
    let request = Request {
        method: "GET",
        target,
        feed: "sim-b",
    };
    let (time, nonce) = (timestamp(now), "nonce-nonce-0001");
    let signature = sign(&signer, request, &time, nonce, &body_digest(b""));
    let shown = Shown {
        key_id: "sim-b",
        timestamp: &time,
        nonce,
        signature: &signature,
        ..Shown::default()
    };
    let admits = |at, target: &str| {
        let door = Door::signed("sim-b", Algorithm::HmacSm3, (key.clone(), clock(at))).unwrap();
        door.admits(("sim-b", target), shown)
    };
    assert!(matches!(admits(now, target), Admitted::Once(_)));
    let late = now + chrono::TimeDelta::seconds(301);
    assert_eq!(admits(late, target), Admitted::No);
    assert_eq!(admits(now, "/banks/sim-b/statements"), Admitted::No);
}

#[tokio::test]
async fn a_signed_request_that_is_repeated_is_refused() {
    let now = minute(0);
    let key = SecretBytes::new("0123456789abcdef0123456789abcdef");
    let mut sim = Sim::new(&Plan {
        trouble_permille: 0,
        wire_permille: 0,
        ..plan(1)
    });
    let clock = Clock::fixed(now, chrono_tz::Asia::Shanghai);
    let door = Door::signed("sim-a", Algorithm::HmacSha256, (key.clone(), clock));
    sim.banks[0].door = door.unwrap();
    let listener = (tokio::net::TcpListener::bind(("127.0.0.1", 0)).await).unwrap();
    let address = listener.local_addr().unwrap();
    let today = Arc::new(|| day("2026-06-30"));
    let never = std::future::pending();
    let server = tokio::spawn(jintuo::web::bank_sim::serve(listener, sim, today, never));
    let target = "/banks/sim-a/statements?from=2026-06-01&to=2026-06-02";
    let signer = Key::new("sim-a", Algorithm::HmacSha256, key).unwrap();
    let request = Request {
        method: "GET",
        target,
        feed: "sim-a",
    };
    let time = timestamp(now);
    let mut answers = Vec::new();
    for nonce in ["nonce-nonce-0001", "nonce-nonce-0001", "nonce-nonce-0002"] {
        let signature = sign(&signer, request, &time, nonce, &body_digest(b""));
        let head = format!(
            "GET {target} HTTP/1.1\r\nhost: bank\r\nconnection: close\r\njintuo-key: sim-a\r\n\
             jintuo-timestamp: {time}\r\njintuo-nonce: {nonce}\r\njintuo-signature: {signature}\r\n\r\n"
        );
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut text = Vec::new();
        stream.read_to_end(&mut text).await.unwrap();
        let text = String::from_utf8_lossy(&text).into_owned();
        answers.push(text.split(' ').nth(1).unwrap().to_owned());
    }
    server.abort();
    assert_eq!(answers, ["200", "401", "200"]);
}

#[cfg(feature = "sftp")]
#[tokio::test]
async fn the_command_serves_sftp_with_keys_of_its_own() {
    let dir = Dir::new();
    let sim = dir.path().join("sim").display().to_string();
    let args = [
        "bank-sim",
        "--dir",
        &sim,
        "--today",
        "2026-07-10",
        "--sftp",
        "127.0.0.1:0",
    ];
    let (_running, lines) = say(&args, "/sim-d");
    let address = line_with(&lines, "sftp://jintuo@127.0.0.1:", "/sim-a");
    let port = address.split([':', '/']).nth(4).unwrap();
    let host_key = std::fs::read_to_string(dir.path().join("sim/sftp/host_key.pub")).unwrap();
    let key = dir.path().join("sim/sftp/login_key").display().to_string();
    let pull = open(&format!(
        "kind = \"sftp\"\nhost = \"127.0.0.1\"\nport = {port}\nuser = \"jintuo\"\nfolder = \"/sim-a\"\n\
         allow_loopback = true\ncompanion = \".ok\"\nhost_key = {:?}\nkey = {{ file = {key:?} }}",
        host_key.trim()
    ));
    let mut basket = Basket::default();
    pull.fetch(june(1, 30), None, &mut basket).await.unwrap();
    // The same files, byte by byte, as in the folder.
    let drop = dir.path().join("sim/drop/sim-a");
    for file in &basket.files {
        assert_eq!(std::fs::read(drop.join(&file.name)).unwrap(), file.bytes);
    }
    let dropped = std::fs::read_dir(drop).unwrap().count();
    assert_eq!(dropped, 2 * basket.files.len(), "each with its companion");
}
