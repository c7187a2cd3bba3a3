//! `config check`, `config print` and keys taken anew by a hang-up, with the built binary.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use jintuo::base::Clock;
use jintuo::base::entropy::hex;
use jintuo::config::{Algorithm, SecretBytes};
use jintuo::feed::source::signature::{Key, Request, body_digest, sign, timestamp};
use serde_json::Value;

use crate::bundle::Bundle;
use crate::harness::{Dir, Ran, command, jintuo};

fn check(file: &Path) -> (i32, Value) {
    let ran = jintuo(&["config", "check", "--json", "--config", path(file)]);
    let text = ran.text();
    let object = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
    (ran.code, object)
}

fn path(file: &Path) -> &str {
    file.to_str().unwrap()
}

#[test]
fn a_door_of_the_demo_is_refused_by_the_service() {
    let dir = Dir::new();
    for (source, key) in [
        (
            "{ kind = \"https\", url = \"http://127.0.0.1:8099/\", allow_loopback_http = true }",
            "allow_loopback_http",
        ),
        (
            "{ kind = \"https\", url = \"https://bank.example/\", allow_loopback_http = true }",
            "allow_loopback_http",
        ),
        (
            "{ kind = \"sftp\", host = \"bank.example\", user = \"u\", host_key = \"k\", folder = \"/\", \
             allow_loopback = true }",
            "allow_loopback",
        ),
    ] {
        let text = format!(
            "[database]\nurl = \"sqlite:{}/books.db\"\n[server]\nlisten = \"127.0.0.1:0\"\n\
             admin_listen = \"\"\n[[feed]]\nname = \"sim\"\nbank = \"SIM\"\nsource = {source}\n",
            dir.path().display()
        );
        let file = dir.write("jintuo.toml", text);
        let key = format!("feed[sim].source.{key}");
        let (code, object) = check(&file);
        assert_eq!(code, 1, "{object}");
        assert!(keys_of(&object).contains(&key.as_str()), "{object}");
        let refused = jintuo(&["serve", "--config", path(&file)]).ended(1);
        let said = "is honoured by the demo and by tests only";
        assert!(
            refused.stderr.contains(&key) && refused.stderr.contains(said),
            "{}",
            refused.stderr
        );
        assert!(!dir.path().join("books.db").exists(), "nothing was opened");
    }
}

/// A file that only its owner may read.
pub(crate) fn secret(dir: &Dir, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let file = dir.write(name, bytes);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    file
}

pub(crate) fn keys_of(object: &Value) -> Vec<&str> {
    let problems = object["problems"].as_array().unwrap();
    let mut keys: Vec<&str> = problems
        .iter()
        .map(|p| p["key"].as_str().unwrap())
        .collect();
    keys.sort_unstable();
    keys
}

#[test]
fn everything_that_is_wrong_is_named_at_once() {
    let dir = Dir::new();
    let short = secret(&dir, "short.key", "short");
    let open = dir.write("open.key", "0123456789abcdef0123456789abcdef");
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o644)).unwrap();
    let no_pem = dir.write("no.pem", "no certificate");
    let text = format!(
        r#"
[site]
city = ""
zone = "Mars/Base"
[database]
url = "sqlite:{dir}/nowhere/books.db"
[server]
listen = "everywhere"
admin_listen = "here"
[run]
policy = "none"
catch_up_days = 0
[sever]
listen = "127.0.0.1:1"
[[feed]]
name = "a b"
bank = ""
schedule = "every morning"
source = {{ kind = "folder", path = "{dir}/none" }}
[[feed]]
name = "icbc"
bank = "ICBC"
[feed.source]
kind = "https"
url = "https://10.0.0.1/"
ca_file = "{no_pem}"
client_cert_file = "{dir}/none.pem"
allow_private = ["8.8.8.0/24"]
window_days = 0
min_interval_ms = 86_400_001
auth = {{ kind = "hmac", key_id = "k", algorithm = "hmac-sm3", key = {{ file = "{short}" }} }}
[[feed]]
name = "icbc"
bank = "ICBC"
account = "6222 0001"
[feed.source]
kind = "sftp"
host = "127.0.0.1"
user = "city"
host_key = "no key"
folder = "/out"
password = {{ env = "NO_SUCH_VARIABLE_OF_OURS" }}
[[feed]]
name = "cmb"
bank = "CMB"
[feed.source]
kind = "push"
keys = [
  {{ id = "k", algorithm = "hmac-sm3", key = {{ file = "{open}" }} }},
  {{ id = "k", algorithm = "hmac-sha256", key = {{ file = "{dir}/none.key" }} }},
]
[[feed]]
name = "ccb"
bank = "CCB"
expected_by = "25:00"
source = {{ kind = "push", keys = [] }}
[[feed]]
name = "boc"
bank = "BOC"
amount_unit = "dollar"
source = {{ kind = "push", keys = [] }}
"#,
        dir = dir.path().display(),
        no_pem = no_pem.display(),
        short = short.display(),
        open = open.display(),
    );
    let file = dir.write("jintuo.toml", text);
    let (code, object) = check(&file);
    assert_eq!(code, 1);
    assert_eq!(object["schema"], "jintuo.config/1");
    assert_eq!(object["usable"], false);
    let mut expected = vec![
        "site.city",
        "site.zone",
        "database.url",
        "server.listen",
        "server.admin_listen",
        "run.policy",
        "run.catch_up_days",
        "sever",
        "feed number 1",
        "feed[a b].bank",
        "feed[a b].schedule",
        "feed[a b].source.path",
        "feed[icbc].name",
        "feed[icbc].account",
        "feed[boc]",
        "feed[icbc].source.url",
        "feed[icbc].source.ca_file",
        "feed[icbc].source.client_cert_file",
        "feed[icbc].source.allow_private",
        "feed[icbc].source.window_days",
        "feed[icbc].source.min_interval_ms",
        "feed[icbc].source.auth.key",
        "feed[icbc].source.host",
        "feed[icbc].source.password",
        "feed[cmb].source.keys",
        "feed[cmb].source.keys[k]",
        "feed[cmb].source.keys[k]",
        "feed[ccb]",
    ];
    if cfg!(feature = "sftp") {
        expected.push("feed[icbc].source.host_key");
    }
    expected.sort_unstable();
    assert_eq!(keys_of(&object), expected, "{object:#}");
    for problem in object["problems"].as_array().unwrap() {
        assert!(!problem["remedy"].as_str().unwrap().is_empty(), "{problem}");
    }
    // For people: the same, with what to do.
    let Ran { stderr, .. } = jintuo(&["config", "check", "--config", path(&file)]).ended(1);
    assert!(stderr.contains("server.listen: \"everywhere\""), "{stderr}");
    assert!(stderr.contains("chmod 600"), "{stderr}");
    assert!(
        stderr.contains(&format!("{} things to mend", expected.len())),
        "{stderr}"
    );
}

#[test]
fn defaults_can_be_used_and_a_risk_is_a_warning() {
    let dir = Dir::new();
    let (code, object) = check(&dir.write("empty.toml", ""));
    assert_eq!((code, &object["usable"]), (0, &Value::Bool(true)));
    assert!(keys_of(&object).is_empty(), "{object}");
    let open = "[server]\nlisten = \"0.0.0.0:80\"\n[database]\nunsafe_dev = true\n";
    let (code, object) = check(&dir.write("open.toml", open));
    assert_eq!(code, 0, "{object}");
    assert_eq!(keys_of(&object), ["database.unsafe_dev", "server.listen"]);
}

#[test]
fn the_environment_and_the_file_itself_are_looked_at_too() {
    let dir = Dir::new();
    let file = dir.write("jintuo.toml", "[site]\nzone = \"Mars\n");
    let mut command = command(&["config", "check", "--json", "--config", path(&file)]);
    command.env("JINTUO__LISTEN", "x");
    command.env("JINTUO__SERVER__LISTEN", "nowhere");
    let output = command.output().unwrap();
    let object: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        keys_of(&object),
        ["JINTUO__LISTEN", "line 2", "server.listen"]
    );
    let gone = jintuo(&["config", "check", "--config", "nowhere.toml"]).ended(1);
    assert!(gone.stderr.contains("nowhere.toml"), "{}", gone.stderr);
}

const PRINTED: &str = r#"
[database]
url = "postgres://city:Secret-1@db.example/jintuo?password=Secret-2"
[[feed]]
name = "icbc"
bank = "ICBC"
[feed.source]
kind = "https"
url = "https://bank.example/v1?token=Secret-3"
ca_file = "/place/ca.pem"
allow_private = ["10.9.0.0/16"]
auth = { kind = "bearer", token = { file = "/place/token" } }
[[feed]]
name = "abc"
bank = "ABC"
account = "6228000000000001"
amount_unit = "fen"
[feed.source]
kind = "sftp"
host = "sftp.example"
user = "login-7"
host_key = "ssh-ed25519 AAAA"
folder = "/out"
password = { env = "PLACE_OF_PASSWORD" }
"#;

#[test]
fn what_is_in_force_is_printed_and_no_secret() {
    let dir = Dir::new();
    let file = dir.write("jintuo.toml", PRINTED);
    let print = |arguments: &[&str]| {
        let mut command =
            command(&[&["config", "print", "--config", path(&file)], arguments].concat());
        command.env("JINTUO__SERVER__LISTEN", "10.0.0.9:80");
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let plain = print(&[]);
    let line = |start: &str| plain.lines().find(|l| l.starts_with(start)).unwrap();
    assert!(
        line("listen").ends_with("# JINTUO__SERVER__LISTEN"),
        "{plain}"
    );
    assert!(line("zone").ends_with("# default"), "{plain}");
    assert!(line("grace_minutes").ends_with("# default"), "{plain}");
    assert!(line("ca_file").ends_with("# file"), "{plain}");
    for shown in [
        "city:***@db.example",
        "/place/token",
        "PLACE_OF_PASSWORD",
        "login-7",
        "account = \"6228000000000001\"",
        "amount_unit = \"fen\"",
    ] {
        assert!(plain.contains(shown), "{shown}: {plain}");
    }
    let redacted = print(&["--redact"]);
    let json = print(&["--json"]);
    let redacted_json = print(&["--redact", "--json"]);
    for text in [&plain, &redacted, &json, &redacted_json] {
        assert!(!text.contains("Secret-"), "{text}");
    }
    for text in [&redacted, &redacted_json] {
        for hidden in [
            "/place", "PLACE_OF", "login-7", "6228", "city:", "example", "10.9.", "10.0.0.9",
        ] {
            assert!(!text.contains(hidden), "{hidden}: {text}");
        }
        assert!(text.contains("icbc") && text.contains("***:80"), "{text}");
    }
    let object: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(object["schema"], "jintuo.settings/1");
    assert_eq!(object["origins"]["site.city"], "default");
    assert_eq!(object["origins"]["feed[1].source.host"], "file");
    let flag = print(&["--db", "sqlite:other.db"]);
    assert!(flag.contains("url = \"sqlite:other.db\"  # --db"), "{flag}");
    // What was printed can be read again.
    let again = dir.write("again.toml", flag);
    let again = jintuo(&["config", "print", "--config", path(&again)]).ended(0);
    assert!(
        again.text().contains("name = \"icbc\"  # file"),
        "{}",
        again.text()
    );
}

#[test]
fn a_feed_whose_bank_holds_no_account_is_told_where_the_books_are_asked() {
    let dir = Dir::new();
    let registry = registry_of(&["6217000001"], ",ICBC").write(&dir, "registry");
    let settings = |bank: &str| {
        let text = format!(
            "[database]\nurl = \"sqlite:{}/books.db\"\n[[feed]]\nname = \"a\"\nbank = {bank:?}\n\
             source = {{ kind = \"folder\", path = {:?} }}\n",
            dir.path().display(),
            dir.path()
        );
        dir.write("jintuo.toml", text)
    };
    let file = settings("icbc");
    let ask = |more: &[&str]| {
        let base = ["config", "check", "--json", "--config", path(&file)];
        let ran = jintuo(&[&base[..], more].concat());
        let object: Value = serde_json::from_str(&ran.text()).unwrap();
        let problems = object["problems"].as_array().unwrap().clone();
        let of_bank = problems.into_iter().filter(|p| p["key"] != "server.listen");
        (ran.code, of_bank.collect::<Vec<_>>())
    };
    // There are no books yet: the settings can be used, what was asked cannot be answered.
    assert_eq!(ask(&[]), (0, vec![]));
    let (code, found) = ask(&["--accounts"]);
    assert_eq!((code, &found[0]["key"]), (1, &Value::from("database.url")));
    assert!(!dir.path().join("books.db").exists(), "none are made");
    jintuo(&["import", "--config", path(&file), path(&registry)]).ended(0);
    let (code, found) = ask(&["--accounts"]);
    assert_eq!((code, found.len()), (0, 1), "a warning: {found:?}");
    assert_eq!(found[0]["key"], "feed[a].bank");
    let said = found[0]["problem"].as_str().unwrap();
    assert!(said.contains("is spelt \"ICBC\""), "{said}");
    // Space around a code is none of it, wherever it is used.
    settings(" ICBC ");
    assert_eq!(ask(&["--accounts"]), (0, vec![]));
    let printed = jintuo(&["config", "print", "--json", "--config", path(&file)]).ended(0);
    let printed: Value = serde_json::from_str(&printed.text()).unwrap();
    assert_eq!(printed["settings"]["feed"][0]["bank"], "ICBC");
}

/// A bundle that makes accounts known at a bank.
fn registry_of(accounts: &[&str], bank: &str) -> Bundle {
    let rows = accounts.iter().map(|a| format!("{a},I1,CUSTODY,0{bank}\n"));
    let accounts = format!(
        "account_id,institution_id,kind,min_deposit_fen,bank_code\n{}",
        rows.collect::<String>()
    );
    Bundle::of(&[
        ("districts", "district_id,name\nD1,示例区\n"),
        (
            "institutions",
            "institution_id,district_id,name\nI1,D1,示例机构\n",
        ),
        ("accounts", accounts.as_str()),
    ])
}

#[test]
fn a_secret_written_into_the_settings_is_not_repeated() {
    let dir = Dir::new();
    for source in [
        "kind = \"push\"\nkeys = [{ id = \"k\", algorithm = \"hmac-sm3\", key = \"S3cret\" }]",
        "kind = \"https\"\nurl = \"https://b.example\"\nauth = { kind = \"bearer\", token = \"S3cret\" }",
        "kind = \"https\"\nurl = \"https://b.example\"\nauth = { kind = \"bearer\", token = { value = \"S3cret\" } }",
        "kind = \"sftp\"\npassword = \"S3cret",
    ] {
        let text = format!("[[feed]]\nname = \"a\"\nbank = \"A\"\n[feed.source]\n{source}\n");
        let file = dir.write("jintuo.toml", text);
        for arguments in [&["config", "check"][..], &["config", "print"], &["check"]] {
            let ran = jintuo(&[arguments, &["--config", path(&file)]].concat()).ended(1);
            assert!(!ran.stderr.contains("S3cret"), "{}", ran.stderr);
            assert!(!ran.text().contains("S3cret"), "{}", ran.text());
        }
    }
}

const OLD: &str = "0123456789abcdef0123456789abcdef";
const NEW: &str = "fedcba9876543210fedcba9876543210";

/// A push signed with a key, and what it is answered with.
fn push(address: &str, id: &str, key: &str, nonce: &str) -> u16 {
    let target = "/v1/feeds/icbc/statements";
    let request = Request {
        method: "POST",
        target,
        feed: "icbc",
    };
    let time = timestamp(Clock::system(chrono_tz::Asia::Shanghai).now());
    let secret = SecretBytes::new(key);
    let key = Key::new(id, Algorithm::HmacSha256, secret).unwrap();
    let digest = body_digest(b"statement");
    let signature = sign(&key, request, &time, nonce, &digest);
    let digest = hex(&digest);
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    write!(
        stream,
        "POST {target} HTTP/1.1\r\nhost: jintuo\r\nconnection: close\r\ncontent-length: 9\r\n\
         content-type: text/plain\r\njintuo-key: {id}\r\njintuo-timestamp: {time}\r\n\
         jintuo-nonce: {nonce}\r\njintuo-digest: {digest}\r\n\
         jintuo-signature: {signature}\r\n\r\nstatement"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn keys_of_pushes_are_taken_anew_by_a_hang_up() {
    let dir = Dir::new();
    let settings = |keys: &[(&str, &Path)]| {
        let keys = keys.iter().map(|(id, file)| {
            format!("{{ id = {id:?}, algorithm = \"hmac-sha256\", key = {{ file = {file:?} }} }}")
        });
        let keys: Vec<String> = keys.collect();
        format!(
            "[database]\nurl = \"sqlite:{}/books.db\"\n[[feed]]\nname = \"icbc\"\nbank = \"ICBC\"\n\
             [feed.source]\nkind = \"push\"\nkeys = [{}]\n",
            dir.path().display(),
            keys.join(", ")
        )
    };
    let old = secret(&dir, "old.key", OLD);
    let file = dir.write("jintuo.toml", settings(&[("k1", &old)]));
    let ports = ["--listen", "127.0.0.1:0", "--admin-listen", ""];
    let mut service = command(&[&["serve", "--config", path(&file)], &ports[..]].concat())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(service.stderr.take().unwrap()).lines();
    let mut until = |word: &str| {
        let line = log.find(|l| l.as_ref().is_ok_and(|l| l.contains(word)));
        line.expect("the service goes on").unwrap()
    };
    let serving = until("serving http://");
    let address = serving
        .split("http://")
        .nth(1)
        .unwrap()
        .trim_end_matches('/')
        .to_owned();
    let hang_up = || {
        let pid = service.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-HUP", &pid])
                .status()
                .unwrap()
                .success()
        );
    };
    assert_eq!(push(&address, "k1", OLD, "nonce-nonce-0001"), 202);
    assert_eq!(push(&address, "k2", NEW, "nonce-nonce-0002"), 401);
    // A second key beside the first.
    let new = secret(&dir, "new.key", NEW);
    dir.write("jintuo.toml", settings(&[("k1", &old), ("k2", &new)]));
    hang_up();
    assert!(!until("are read again").contains("restart"));
    assert_eq!(push(&address, "k1", OLD, "nonce-nonce-0003"), 200);
    assert_eq!(push(&address, "k2", NEW, "nonce-nonce-0004"), 200);
    // One that cannot be used changes nothing.
    secret(&dir, "new.key", "short");
    dir.write("jintuo.toml", settings(&[("k2", &new)]));
    hang_up();
    until("stay as they are");
    assert_eq!(push(&address, "k1", OLD, "nonce-nonce-0005"), 200);
    assert_eq!(push(&address, "k2", NEW, "nonce-nonce-0006"), 200);
    // And the old one goes. What else has changed is named.
    secret(&dir, "new.key", NEW);
    let more = "[[feed]]\nname = \"ccb\"\nbank = \"CCB\"\nsource = { kind = \"folder\", path = \"/in\" }\n";
    let text = settings(&[("k2", &new)]).replace("bank =", "grace_minutes = 60\nbank =");
    dir.write(
        "jintuo.toml",
        format!("{text}{more}[run]\ncatch_up_days = 7\n"),
    );
    hang_up();
    let line = until("are read again");
    assert!(
        line.contains("feed[ccb], feed[icbc], run") && line.contains("wait for a restart"),
        "{line}"
    );
    assert_eq!(push(&address, "k1", OLD, "nonce-nonce-0007"), 401);
    assert_eq!(push(&address, "k2", NEW, "nonce-nonce-0008"), 200);
    let pid = service.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .unwrap()
            .success()
    );
    assert!(service.wait().unwrap().success());
}

#[test]
fn feeds_of_one_bank_agree_when_its_statements_are_due() {
    let dir = Dir::new();
    for (second, refused) in [("08:30", false), ("23:00", true)] {
        let mut text = "[server]\nlisten = \"127.0.0.1:0\"\n".to_owned();
        for (name, expected) in [("b", "08:30"), ("b2", second)] {
            let folder = dir.path().join(name);
            std::fs::create_dir_all(&folder).unwrap();
            text += &format!(
                "[[feed]]\nname = \"{name}\"\nbank = \"BANKB\"\nexpected_by = \"{expected}\"\n\
                 source = {{ kind = \"folder\", path = {folder:?} }}\n"
            );
        }
        let (_, object) = check(&dir.write("jintuo.toml", text));
        let named = keys_of(&object).contains(&"feed[b2].bank");
        assert_eq!(named, refused, "{object}");
    }
}
