//! Addresses inside our network, however they are written or answered: nobody dials the tripwire.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use jintuo::feed::source::resolver::{Lookup, Trust};

use super::bank::{Bank, Tripwire, reply};
use super::{Basket, june, surroundings, try_open};

/// A resolver that gives its answers in turn, the last one for ever, and counts.
fn answering(answers: &'static [&'static [&'static str]]) -> (Lookup, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let asked = count.clone();
    let lookup: Lookup = Arc::new(move |_| {
        let n = asked.fetch_add(1, Ordering::Relaxed).min(answers.len() - 1);
        let found: Vec<IpAddr> = answers[n].iter().map(|a| a.parse().unwrap()).collect();
        Box::pin(async move { Ok(found) })
    });
    (lookup, count)
}

fn https(url: &str) -> String {
    format!(
        "kind = \"https\"\nurl = {url:?}\nallow_loopback_http = true\nmin_interval_ms = 0\n\
         timeout_seconds = 5\nallow_private = [\"10.0.0.0/8\"]"
    )
}

/// Hosts that are, or are answered as, loopback; the tripwire listens on their port.
const HOSTS: [&str; 64] = [
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "127.1.1.1",
    "127.255.255.254",
    "2130706433",
    "0x7f000001",
    "0x7f.0.0.1",
    "0x7f.1",
    "0X7F000001",
    "0177.0.0.1",
    "0177.1",
    "017700000001",
    "00177.0.0.01",
    "127.0.0.1.",
    "127.000.000.001",
    "%31%32%37.0.0.1",
    "127%2e0%2e0%2e1",
    "１２７.0.0.1",
    "127。0。0。1",
    "①②⑦.0.0.1",
    "0.0.0.0",
    "0",
    "0.0",
    "0x0",
    "00.00.00.00",
    "[::1]",
    "[::]",
    "[0:0:0:0:0:0:0:1]",
    "[0000::1]",
    "[::0001]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:7f00:1]",
    "[::127.0.0.1]",
    "[::7f00:1]",
    "[2002:7f00:1::]",
    "[2002:7f00:0001:0:0:0:0:0]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b:1::7f00:1]",
    "[2001:0:7f00:1::]",
    "[::ffff:0:127.0.0.1]",
    "[fe80::1]",
    "[fe80::1%25lo]",
    "[::1%25lo]",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "localhost.localdomain",
    "ip6-localhost",
    "bank.example.com",
    "bank.example.com.",
    "127.0.0.1.nip.example",
    "a.localhost",
    "xn--lcalhost-n4a",
    "user@127.0.0.1",
    "user:pw@localhost",
    "example.com@127.0.0.1",
    "example.com#@127.0.0.1",
    "127.0.0.1\\@example.com",
    "①②⑦。⓪.⓪.①",
    "0300.0250.1.1",
    "169.254.169.254",
];

#[tokio::test]
async fn no_form_of_an_address_reaches_loopback() {
    let tripwire = Tripwire::set().await;
    let (lookup, _) = answering(&[&["127.0.0.1"]]);
    let strict = surroundings(Trust::Strict, lookup);
    for host in HOSTS {
        for scheme in ["https", "http"] {
            let url = format!("{scheme}://{host}:{}/latest/meta-data", tripwire.port());
            let Ok(pull) = try_open(&https(&url), &strict) else {
                continue;
            };
            let mut basket = Basket::default();
            let error = pull.fetch(june(1, 2), None, &mut basket).await.unwrap_err();
            assert!(!error.is_temporary(), "{url}: {error}");
        }
    }
    tripwire.assert_untouched().await;
}

#[tokio::test]
async fn the_address_that_was_checked_is_the_one_that_is_dialled() {
    let tripwire = Tripwire::set().await;
    // One good answer beside a bad one is a bad one; so is a second answer.
    let answers: [&'static [&'static [&'static str]]; 4] = [
        &[&["8.8.8.8", "127.0.0.1"]],
        &[&["127.0.0.1"], &["8.8.8.8"]],
        &[&["10.1.2.3", "::1"]],
        &[&["::ffff:127.0.0.1"]],
    ];
    for answers in answers {
        let (lookup, count) = answering(answers);
        let strict = surroundings(Trust::Strict, lookup);
        let url = format!("https://bank.example.com:{}/", tripwire.port());
        let pull = try_open(&https(&url), &strict).unwrap();
        let mut basket = Basket::default();
        let error = pull.fetch(june(1, 2), None, &mut basket).await.unwrap_err();
        assert!(!error.is_temporary(), "{error}");
        assert_eq!(count.load(Ordering::Relaxed), 1, "looked up once");
    }
    tripwire.assert_untouched().await;
}

#[tokio::test]
async fn a_name_that_flips_is_refused_when_it_flips() {
    // The demo may reach loopback; where the name leads next it may not.
    let bank = Bank::start(|_, _| reply(200, &[("jintuo-next", "p2")], b"page")).await;
    let (lookup, count) = answering(&[&["127.0.0.1"], &["169.254.169.254"]]);
    let demo = surroundings(Trust::Demo, lookup);
    let url = format!("http://bank.example.com:{}/", bank.address.port());
    let pull = try_open(&https(&url), &demo).unwrap();
    let mut basket = Basket::default();
    let error = pull.fetch(june(1, 2), None, &mut basket).await.unwrap_err();
    assert!(
        !error.is_temporary() && error.to_string().contains("169.254"),
        "{error}"
    );
    assert_eq!(basket.texts(), ["page"]);
    assert_eq!(count.load(Ordering::Relaxed), 2, "one look-up a connection");
}

#[tokio::test]
async fn redirects_lead_nowhere() {
    for status in [301, 302, 303, 307, 308] {
        let tripwire = Tripwire::set().await;
        let place = format!("http://127.0.0.1:{}/", tripwire.port());
        let bank = Bank::start(move |_, _| reply(status, &[("location", &place)], b"")).await;
        let (lookup, _) = answering(&[&["127.0.0.1"]]);
        let url = format!("http://{}/", bank.address);
        let pull = try_open(&https(&url), &surroundings(Trust::Demo, lookup)).unwrap();
        let mut basket = Basket::default();
        let error = pull.fetch(june(1, 2), None, &mut basket).await.unwrap_err();
        assert!(
            !error.is_temporary() && error.to_string().contains("redirects"),
            "{error}"
        );
        tripwire.assert_untouched().await;
    }
}

#[cfg(feature = "sftp")]
#[tokio::test]
async fn sftp_goes_through_the_same_door() {
    let tripwire = Tripwire::set().await;
    let dir = crate::harness::Dir::new();
    let password = dir.write("password", "geheim");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&password, mode).unwrap();
    let (lookup, _) = answering(&[&["127.0.0.1"]]);
    let strict = surroundings(Trust::Strict, lookup);
    for host in HOSTS {
        let source = format!(
            "kind = \"sftp\"\nhost = {host:?}\nport = {}\nuser = \"u\"\npassword = {{ file = {:?} }}\n\
             folder = \"/\"\nallow_loopback = true\nhost_key = \"ssh-ed25519 \
             AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ\"",
            tripwire.port(),
            password.display().to_string(),
        );
        let Ok(pull) = try_open(&source, &strict) else {
            continue;
        };
        let mut basket = Basket::default();
        let error = pull.fetch(june(1, 2), None, &mut basket).await.unwrap_err();
        assert!(!error.is_temporary(), "{host}: {error}");
    }
    tripwire.assert_untouched().await;
}
