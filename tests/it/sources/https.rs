//! The HTTPS feed, over plain HTTP to loopback as only tests may: windows, pages, marks, limits, errors.

use std::time::Duration;

use jintuo::base::entropy::hex;
use jintuo::config::{Algorithm, SecretBytes};
use jintuo::feed::source::signature::{Claim, Headers, Key, Request, body_digest};

use super::bank::{Bank, Reply, reply};
use super::{Basket, june, open};
use crate::harness::{Dir, minute};

fn source(bank: &Bank, more: &str) -> String {
    format!(
        "kind = \"https\"\nurl = \"http://{}/statements?branch=1\"\nallow_loopback_http = true\n\
         min_interval_ms = 0\n{more}",
        bank.address
    )
}

/// Every window has two pages.
fn two_pages(_: usize, asked: &super::bank::Asked) -> Reply {
    let from = asked.query("from").unwrap();
    match asked.query("cursor") {
        None => reply(
            200,
            &[("jintuo-next", "p2")],
            format!("{from} one").as_bytes(),
        ),
        Some("p2") => {
            let name = format!("attachment; filename=\"{from}-two.xml\"");
            let headers = [("content-disposition", name.as_str())];
            reply(200, &headers, format!("{from} two").as_bytes())
        }
        Some(_) => reply(410, &[], b""),
    }
}

#[tokio::test]
async fn windows_are_widened_cut_and_paged() {
    let bank = Bank::start(two_pages).await;
    let pull = open(&source(&bank, "window_days = 10\noverlap_days = 3"));
    let mut basket = Basket::default();
    // The 19th is a holiday, and a weekend follows: three working days back is the 16th.
    let mark = pull.fetch(june(22, 30), None, &mut basket).await.unwrap();
    assert_eq!(mark, None, "a complete pull leaves nothing to go on at");
    assert_eq!(basket.mark.as_deref(), Some(""));
    let asked: Vec<String> = bank.asked().into_iter().map(|a| a.target).collect();
    assert_eq!(
        asked,
        [
            "/statements?branch=1&from=2026-06-16&to=2026-06-25",
            "/statements?branch=1&from=2026-06-16&to=2026-06-25&cursor=p2",
            "/statements?branch=1&from=2026-06-26&to=2026-06-30",
            "/statements?branch=1&from=2026-06-26&to=2026-06-30&cursor=p2",
        ]
    );
    assert_eq!(
        basket.names(),
        [
            "2026-06-16_2026-06-25_0",
            "2026-06-16-two.xml",
            "2026-06-26_2026-06-30_0",
            "2026-06-26-two.xml"
        ]
    );
}

#[tokio::test]
async fn an_interrupted_pull_goes_on_at_its_cursor() {
    for broken_at in 1..4 {
        let bank = Bank::start(two_pages).await;
        let pull = open(&source(&bank, "window_days = 10\noverlap_days = 0"));
        let mut first = Basket::breaking_at(broken_at);
        pull.fetch(june(1, 20), None, &mut first).await.unwrap_err();
        let mut second = Basket::default();
        pull.fetch(june(1, 20), first.mark.clone(), &mut second)
            .await
            .unwrap();
        let texts = [first.texts(), second.texts()].concat();
        let whole = [
            "2026-06-01 one",
            "2026-06-01 two",
            "2026-06-11 one",
            "2026-06-11 two",
        ];
        assert_eq!(texts, whole, "broken at {broken_at}");
        // The page that was not kept is asked for twice, no other.
        assert_eq!(bank.asked().len(), 5);
    }
}

#[tokio::test]
async fn a_cursor_that_has_died_begins_its_window_again() {
    let bank = Bank::start(two_pages).await;
    let pull = open(&source(&bank, ""));
    let mark = "{\"first\":\"2026-06-03\",\"last\":\"2026-06-04\",\"cursor\":\"old\",\"page\":7}";
    let mut basket = Basket::default();
    pull.fetch(june(3, 4), Some(mark.to_owned()), &mut basket)
        .await
        .unwrap();
    assert_eq!(basket.texts(), ["2026-06-03 one", "2026-06-03 two"]);
    let refusing = Bank::start(|n, _| match n % 2 {
        0 => reply(410, &[], b""),
        _ => reply(200, &[("jintuo-next", "x")], b"page"),
    });
    let refusing = refusing.await;
    let pull = open(&source(&refusing, ""));
    let error = pull
        .fetch(june(3, 4), Some(mark.to_owned()), &mut basket)
        .await
        .unwrap_err();
    assert!(!error.is_temporary(), "{error}");
}

#[tokio::test]
async fn nothing_there_is_no_error_and_a_standing_cursor_is_one() {
    let bank = Bank::start(|_, _| reply(204, &[], b"")).await;
    let mut basket = Basket::default();
    let pull = open(&source(&bank, ""));
    pull.fetch(june(1, 2), None, &mut basket).await.unwrap();
    assert!(basket.files.is_empty());
    let bank = Bank::start(|_, _| reply(200, &[("jintuo-next", "same")], b"x")).await;
    let pull = open(&source(&bank, ""));
    let error = pull.fetch(june(1, 2), None, &mut basket).await.unwrap_err();
    assert!(
        !error.is_temporary() && error.to_string().contains("cursor"),
        "{error}"
    );
}

#[tokio::test]
async fn trouble_is_temporary_or_permanent_and_says_how_long() {
    let late = "Mon, 05 Jan 2026 00:02:00 GMT";
    let cases: [(u16, &str, bool, Option<u64>); 10] = [
        (429, "17", true, Some(17)),
        (503, late, true, Some(120)),
        (503, "", true, None),
        (500, "soon", true, None),
        (429, "99999999", true, Some(86_400)),
        (401, "", false, None),
        (403, "5", false, None),
        (404, "", false, None),
        (302, "", false, None),
        (206, "", false, None),
    ];
    for (status, retry, temporary, seconds) in cases {
        let bank = Bank::start(move |_, _| {
            let headers = [("retry-after", retry), ("location", "http://127.0.0.1:1/")];
            reply(status, &headers, b"SECRET BODY")
        });
        let bank = bank.await;
        let pull = open(&source(&bank, ""));
        let mut basket = Basket::default();
        let error = pull.fetch(june(1, 2), None, &mut basket).await.unwrap_err();
        assert_eq!(error.is_temporary(), temporary, "{status}: {error}");
        assert_eq!(error.after(), seconds.map(Duration::from_secs), "{status}");
        let text = format!("{error} {error:?}");
        assert!(
            text.contains(&status.to_string()) && !text.contains("SECRET"),
            "{text}"
        );
        assert!(basket.files.is_empty());
    }
}

#[tokio::test]
async fn bodies_are_counted_and_must_be_whole() {
    let chunked: &[u8] = b"10\r\n0123456789abcdef\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n";
    // (headers, body on the wire, temporary, what the error says)
    type Case = (
        &'static [(&'static str, &'static str)],
        &'static [u8],
        bool,
        &'static str,
    );
    let cases: [Case; 5] = [
        (
            &[],
            b"0123456789012345678901234567890123456789",
            false,
            "longer than 20 bytes",
        ),
        (
            &[("content-length", "40")],
            b"0123",
            false,
            "longer than 20 bytes",
        ),
        (
            &[("transfer-encoding", "chunked")],
            chunked,
            false,
            "longer than 20 bytes",
        ),
        (&[("content-length", "10")], b"0123", true, "broke off"),
        (
            &[("content-encoding", "gzip")],
            b"0123",
            false,
            "compressed",
        ),
    ];
    for (headers, body, temporary, says) in cases {
        let bank = Bank::start(move |_, _| reply(200, headers, body)).await;
        let pull = open(&source(&bank, "body_max_bytes = 20"));
        let mut basket = Basket::default();
        let error = pull.fetch(june(1, 2), None, &mut basket).await.unwrap_err();
        assert_eq!(error.is_temporary(), temporary, "{error}");
        assert!(error.to_string().contains(says), "{error} for {says}");
        assert!(basket.files.is_empty(), "half a file is no file");
    }
}

#[tokio::test]
async fn a_bank_that_never_answers_is_left_in_time() {
    let bank = Bank::start(|_, _| Reply::Silence).await;
    let pull = open(&source(&bank, "timeout_seconds = 1"));
    let mut basket = Basket::default();
    let error = pull.fetch(june(1, 2), None, &mut basket).await.unwrap_err();
    assert!(error.is_temporary(), "{error}");
    assert!(error.to_string().ends_with("no answer in time"), "{error}");
}

#[tokio::test]
async fn requests_keep_their_distance_also_across_fetches() {
    let bank = Bank::start(|_, _| reply(204, &[], b"")).await;
    let settings = source(&bank, "window_days = 1\noverlap_days = 0")
        .replace("min_interval_ms = 0", "min_interval_ms = 25");
    let pull = open(&settings);
    let started = std::time::Instant::now();
    for _ in 0..2 {
        let mut basket = Basket::default();
        pull.fetch(june(1, 2), None, &mut basket).await.unwrap();
        assert_eq!(basket.requests, 2, "each request is noted first");
    }
    assert_eq!(bank.asked().len(), 4);
    assert!(
        started.elapsed() >= Duration::from_millis(75),
        "three distances of 25 ms"
    );
}

#[tokio::test]
async fn a_token_is_sent_and_never_told() {
    let dir = Dir::new();
    let secret = secret(&dir, "geheim-token\n");
    let bank = Bank::start(|_, _| reply(403, &[], b"geheim-token")).await;
    let auth = format!("auth = {{ kind = \"bearer\", token = {{ file = {secret:?} }} }}");
    let pull = open(&source(&bank, &auth));
    let mut basket = Basket::default();
    let error = pull.fetch(june(1, 2), None, &mut basket).await.unwrap_err();
    assert_eq!(
        bank.asked()[0].header("authorization"),
        "Bearer geheim-token"
    );
    assert!(!format!("{error} {error:?}").contains("geheim"), "{error}");
}

#[tokio::test]
async fn a_signed_pull_is_proved_by_the_bank() {
    const KEY: &str = "0123456789abcdef0123456789abcdef";
    let dir = Dir::new();
    let secret = secret(&dir, KEY);
    for (name, algorithm) in [
        ("hmac-sha256", Algorithm::HmacSha256),
        ("hmac-sm3", Algorithm::HmacSm3),
    ] {
        let bank = Bank::start(|_, _| reply(204, &[], b"")).await;
        let auth = format!(
            "auth = {{ kind = \"hmac\", key_id = \"ours\", algorithm = \"{name}\", \
             key = {{ file = {secret:?} }} }}"
        );
        let pull = open(&source(&bank, &auth));
        let mut basket = Basket::default();
        pull.fetch(june(1, 2), None, &mut basket).await.unwrap();
        let keys = [Key::new("ours", algorithm, SecretBytes::new(KEY)).unwrap()];
        let asked = bank.asked().remove(0);
        let request = Request {
            method: "GET",
            target: &asked.target,
            feed: "icbc",
        };
        let digest = hex(&body_digest(b""));
        let headers = Headers {
            key_id: asked.header("jintuo-key"),
            timestamp: asked.header("jintuo-timestamp"),
            nonce: asked.header("jintuo-nonce"),
            digest: &digest,
            signature: asked.header("jintuo-signature"),
        };
        let claim = Claim::new(&keys, request, headers, minute(0)).unwrap();
        assert_eq!(claim.prove(), Ok(()));
    }
}

/// A file only its owner reads.
fn secret(dir: &Dir, text: &str) -> String {
    use std::os::unix::fs::PermissionsExt as _;
    let path = dir.write("secret", text);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path.display().to_string()
}
