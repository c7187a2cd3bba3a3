//! The SFTP feed against a small server in this process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use jintuo::bank_sim::sftp::{Disk, Door, Entry, Kind, key_of, serve};
use jintuo::feed::source::Source;

use super::{Basket, june, open};
use crate::harness::Dir;

/// Name, content, time of change; a link where the time is 0.
type Files = BTreeMap<String, (Vec<u8>, u32)>;

/// One folder, `/out`, and everything that was asked that changes something.
#[derive(Default)]
struct Out {
    files: Mutex<Files>,
    changes: Mutex<Vec<String>>,
}

impl Disk for Out {
    fn list(&self, folder: &str) -> Option<Vec<Entry>> {
        let entry = |name: &str, kind, size: usize, changed_at| Entry {
            name: name.to_owned(),
            kind,
            size: size as u64,
            changed_at,
        };
        let files = self.files.lock().unwrap();
        let mut entries: Vec<Entry> = (files.iter())
            .map(|(name, (content, at))| {
                let kind = if *at == 0 { Kind::Link } else { Kind::File };
                entry(name, kind, content.len(), *at)
            })
            .collect();
        entries.push(entry("sub.xml", Kind::Folder, 0, 0));
        (folder == "/out").then_some(entries)
    }

    fn read(&self, path: &str) -> Option<(Vec<u8>, u32)> {
        let files = self.files.lock().unwrap();
        files.get(path.strip_prefix("/out/")?).cloned()
    }

    fn refused(&self, what: &str) {
        self.changes.lock().unwrap().push(what.to_owned());
    }
}

struct Server {
    port: u16,
    host_key: String,
    disk: Arc<Out>,
    task: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Server {
    async fn start() -> Server {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
            .await
            .unwrap();
        let port = listener.local_addr().unwrap().port();
        let door = Door {
            host_key: key_of([1; 32]),
            user: "jintuo".to_owned(),
            password: Some("geheim".to_owned()),
            key: Some(key_of([2; 32]).public_key().clone()),
        };
        let host_key = door.host_key.public_key().to_openssh().unwrap();
        let disk = Arc::new(Out::default());
        let never = std::future::pending();
        let task = tokio::spawn(serve(listener, door, disk.clone(), never));
        Server {
            port,
            host_key,
            disk,
            task,
        }
    }

    fn put(&self, name: &str, content: &str, at: u32) {
        let mut files = self.disk.files.lock().unwrap();
        files.insert(name.to_owned(), (content.as_bytes().to_vec(), at));
    }

    fn settings(&self, more: &str) -> String {
        format!(
            "kind = \"sftp\"\nhost = \"127.0.0.1\"\nport = {}\nuser = \"jintuo\"\nfolder = \"/out\"\n\
             allow_loopback = true\ntimeout_seconds = 10\n{more}",
            self.port
        )
    }

    /// Logs in with the right password.
    fn pull(&self, dir: &Dir, more: &str) -> Box<dyn Source> {
        let password = secret(dir, "password", "geheim");
        open(&self.settings(&format!(
            "password = {{ file = {password:?} }}\nhost_key = {:?}\n{more}",
            self.host_key
        )))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test]
async fn files_beside_their_companion_are_read_and_left() {
    let (dir, bank) = (Dir::new(), Server::start().await);
    let pull = bank.pull(&dir, "companion = \".ok\"");
    let large = "x".repeat(200_000);
    bank.put("a.xml", &large, 100);
    bank.put("a.xml.ok", "", 100);
    bank.put("b.xml", "waits", 100);
    bank.put("c.xml.part", "half", 100);
    bank.put("c.xml.part.ok", "", 100);
    bank.put("link.xml", "elsewhere", 0);
    bank.put("link.xml.ok", "", 100);
    bank.put("sub.xml.ok", "", 100);
    let mut basket = Basket::default();
    let mark = pull.fetch(june(1, 30), None, &mut basket).await.unwrap();
    assert_eq!(basket.names(), ["a.xml"]);
    assert_eq!(basket.texts()[0], large);
    // Once taken, it is known by the mark; changed, it is a correction.
    let mark = pull.fetch(june(1, 30), mark, &mut basket).await.unwrap();
    assert_eq!(basket.files.len(), 1);
    bank.put("a.xml", "corrected", 101);
    let mark = pull.fetch(june(1, 30), mark, &mut basket).await.unwrap();
    assert_eq!(basket.texts()[1], "corrected");
    // What the bank tidied away is forgotten.
    bank.disk.files.lock().unwrap().clear();
    let mark = pull.fetch(june(1, 30), mark, &mut basket).await.unwrap();
    assert_eq!(mark.as_deref(), Some("{\"taken\":{}}"));
    assert!(
        bank.disk.changes.lock().unwrap().is_empty(),
        "the bank's folder is only read"
    );
}

#[tokio::test]
async fn without_companions_a_file_must_stand_still() {
    let (dir, bank) = (Dir::new(), Server::start().await);
    let pull = bank.pull(&dir, "body_max_bytes = 10");
    bank.put("a.xml", "A", 100);
    bank.put("giant.xml", "0123456789A", 100);
    let mut basket = Basket::default();
    let mark = pull.fetch(june(1, 30), None, &mut basket).await.unwrap();
    bank.put("a.xml", "AA", 101);
    let mark = pull.fetch(june(1, 30), mark, &mut basket).await.unwrap();
    assert!(basket.files.is_empty(), "it has grown");
    let mark = pull.fetch(june(1, 30), mark, &mut basket).await.unwrap();
    assert_eq!(basket.texts(), ["AA"]);
    assert!(basket.refused.iter().all(|r| r.starts_with("giant.xml")));
    pull.fetch(june(1, 30), mark, &mut basket).await.unwrap();
    assert_eq!(basket.files.len(), 1);
}

#[tokio::test]
async fn an_interrupted_pull_goes_on_after_what_was_kept() {
    let (dir, bank) = (Dir::new(), Server::start().await);
    let pull = bank.pull(&dir, "companion = \".ok\"");
    for name in ["a", "b", "c"] {
        bank.put(&format!("{name}.xml"), name, 100);
        bank.put(&format!("{name}.ok"), "", 100);
    }
    let mut first = Basket::breaking_at(1);
    pull.fetch(june(1, 30), None, &mut first).await.unwrap_err();
    let mut second = Basket::default();
    pull.fetch(june(1, 30), first.mark.clone(), &mut second)
        .await
        .unwrap();
    assert_eq!(
        [first.names(), second.names()].concat(),
        ["a.xml", "b.xml", "c.xml"]
    );
}

#[tokio::test]
async fn another_host_key_is_refused_before_the_log_in() {
    let (dir, bank) = (Dir::new(), Server::start().await);
    let password = secret(&dir, "password", "geheim");
    let other = key_of([9; 32]).public_key().to_openssh().unwrap();
    let pull = open(&bank.settings(&format!(
        "password = {{ file = {password:?} }}\nhost_key = {other:?}"
    )));
    let mut basket = Basket::default();
    let error = pull
        .fetch(june(1, 30), None, &mut basket)
        .await
        .unwrap_err();
    assert!(
        !error.is_temporary() && error.to_string().contains("pinned"),
        "{error}"
    );
}

#[tokio::test]
async fn a_key_opens_and_a_wrong_password_does_not() {
    let (dir, bank) = (Dir::new(), Server::start().await);
    bank.put("a.xml", "A", 100);
    bank.put("a.ok", "", 100);
    let text = key_of([2; 32]).to_openssh(Default::default()).unwrap();
    let key = secret(&dir, "key", &text);
    let pull = open(&bank.settings(&format!(
        "key = {{ file = {key:?} }}\nhost_key = {:?}\ncompanion = \".ok\"",
        bank.host_key
    )));
    let mut basket = Basket::default();
    pull.fetch(june(1, 30), None, &mut basket).await.unwrap();
    assert_eq!(basket.texts(), ["A"]);
    let wrong = secret(&dir, "wrong", "falsch");
    let pull = open(&bank.settings(&format!(
        "password = {{ file = {wrong:?} }}\nhost_key = {:?}",
        bank.host_key
    )));
    let error = pull
        .fetch(june(1, 30), None, &mut basket)
        .await
        .unwrap_err();
    assert!(!error.is_temporary(), "{error}");
    assert!(!format!("{error} {error:?}").contains("falsch"));
}

/// A file only its owner reads.
fn secret(dir: &Dir, name: &str, text: &str) -> String {
    use std::os::unix::fs::PermissionsExt as _;
    let path = dir.write(name, text);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path.display().to_string()
}
