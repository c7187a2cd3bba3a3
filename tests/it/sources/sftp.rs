//! The SFTP feed against a small server in this process.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use jintuo::feed::source::Source;
use russh::keys::PrivateKey;
use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::server::{Auth, ChannelOpenHandle, Msg, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId};
use russh_sftp::protocol::{
    Attrs, Data, File, FileAttributes, Handle, Name, OpenFlags, Status, StatusCode, Version,
};

use super::{Basket, june, open};
use crate::harness::Dir;

/// Name, content, time of change; a link where the time is 0.
type Files = Arc<Mutex<BTreeMap<String, (Vec<u8>, u32)>>>;

/// Everything that was asked of the server that changes something.
type Changes = Arc<Mutex<Vec<String>>>;

struct Server {
    port: u16,
    host_key: String,
    files: Files,
    changes: Changes,
    task: tokio::task::JoinHandle<()>,
}

fn private_key(seed: u8) -> PrivateKey {
    PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32]))
}

impl Server {
    async fn start() -> Server {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
            .await
            .unwrap();
        let port = listener.local_addr().unwrap().port();
        let host = private_key(1);
        let host_key = host.public_key().to_openssh().unwrap();
        let settings = Arc::new(russh::server::Config {
            keys: vec![host],
            auth_rejection_time: std::time::Duration::ZERO,
            ..Default::default()
        });
        let (files, changes) = (Files::default(), Changes::default());
        let (shared, noted) = (files.clone(), changes.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let peer = Peer {
                    files: shared.clone(),
                    changes: noted.clone(),
                    channels: HashMap::new(),
                };
                let settings = settings.clone();
                tokio::spawn(async move {
                    if let Ok(session) = russh::server::run_stream(settings, stream, peer).await {
                        let _ = session.await;
                    }
                });
            }
        });
        Server {
            port,
            host_key,
            files,
            changes,
            task,
        }
    }

    fn put(&self, name: &str, content: &str, at: u32) {
        let mut files = self.files.lock().unwrap();
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

struct Peer {
    files: Files,
    changes: Changes,
    channels: HashMap<ChannelId, Channel<Msg>>,
}

fn reject() -> Auth {
    Auth::Reject {
        proceed_with_methods: None,
        partial_success: false,
    }
}

impl russh::server::Handler for Peer {
    type Error = russh::Error;

    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Auth, russh::Error> {
        let good = (user, password) == ("jintuo", "geheim");
        Ok(if good { Auth::Accept } else { reject() })
    }

    async fn auth_publickey(
        &mut self,
        user: &str,
        key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, russh::Error> {
        let known = private_key(2).public_key().key_data() == key.public_key.key_data();
        Ok(if user == "jintuo" && known {
            Auth::Accept
        } else {
            reject()
        })
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        self.channels.insert(channel.id(), channel);
        reply.accept().await;
        Ok(())
    }

    async fn subsystem_request(
        &mut self,
        id: ChannelId,
        name: &str,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        assert_eq!(name, "sftp");
        let channel = self.channels.remove(&id).expect("an open channel");
        session.channel_success(id)?;
        let disk = Disk {
            files: self.files.clone(),
            changes: self.changes.clone(),
            listed: false,
        };
        russh_sftp::server::run(channel.into_stream(), disk).await;
        Ok(())
    }
}

struct Disk {
    files: Files,
    changes: Changes,
    listed: bool,
}

fn attributes(content: &[u8], at: u32) -> FileAttributes {
    let mut attributes = FileAttributes::empty();
    attributes.size = Some(content.len() as u64);
    attributes.atime = Some(at);
    attributes.mtime = Some(at);
    attributes.permissions = Some(if at == 0 { 0o120_777 } else { 0o100_644 });
    attributes
}

fn ok(id: u32) -> Status {
    Status {
        id,
        status_code: StatusCode::Ok,
        error_message: String::new(),
        language_tag: String::new(),
    }
}

impl russh_sftp::server::Handler for Disk {
    type Error = StatusCode;

    fn unimplemented(&self) -> StatusCode {
        self.changes.lock().unwrap().push("unsupported".to_owned());
        StatusCode::OpUnsupported
    }

    async fn init(&mut self, _: u32, _: HashMap<String, String>) -> Result<Version, StatusCode> {
        Ok(Version::new())
    }

    async fn opendir(&mut self, id: u32, path: String) -> Result<Handle, StatusCode> {
        self.listed = false;
        if path == "/out" {
            Ok(Handle { id, handle: path })
        } else {
            Err(StatusCode::NoSuchFile)
        }
    }

    async fn readdir(&mut self, id: u32, _: String) -> Result<Name, StatusCode> {
        if std::mem::replace(&mut self.listed, true) {
            return Err(StatusCode::Eof);
        }
        let files = self.files.lock().unwrap();
        let mut names: Vec<File> = files
            .iter()
            .map(|(name, (content, at))| File::new(name, attributes(content, *at)))
            .collect();
        let mut folder = FileAttributes::empty();
        folder.permissions = Some(0o040_755);
        names.push(File::new(".", folder.clone()));
        names.push(File::new("sub.xml", folder));
        Ok(Name { id, files: names })
    }

    async fn open(
        &mut self,
        id: u32,
        path: String,
        flags: OpenFlags,
        _: FileAttributes,
    ) -> Result<Handle, StatusCode> {
        if flags.bits() != OpenFlags::READ.bits() {
            self.changes
                .lock()
                .unwrap()
                .push(format!("open {path} to write"));
        }
        let name = path.strip_prefix("/out/").unwrap_or_default().to_owned();
        if self.files.lock().unwrap().contains_key(&name) {
            Ok(Handle { id, handle: name })
        } else {
            Err(StatusCode::NoSuchFile)
        }
    }

    async fn fstat(&mut self, id: u32, handle: String) -> Result<Attrs, StatusCode> {
        let files = self.files.lock().unwrap();
        let (content, at) = files.get(&handle).ok_or(StatusCode::NoSuchFile)?;
        let attrs = attributes(content, *at);
        Ok(Attrs { id, attrs })
    }

    async fn read(
        &mut self,
        id: u32,
        handle: String,
        offset: u64,
        len: u32,
    ) -> Result<Data, StatusCode> {
        let files = self.files.lock().unwrap();
        let (content, _) = files.get(&handle).ok_or(StatusCode::NoSuchFile)?;
        let from = usize::try_from(offset).unwrap().min(content.len());
        let to = (from + len as usize).min(content.len());
        if from == to {
            return Err(StatusCode::Eof);
        }
        let data = content[from..to].to_vec();
        Ok(Data { id, data })
    }

    async fn close(&mut self, id: u32, _: String) -> Result<Status, StatusCode> {
        Ok(ok(id))
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
    bank.files.lock().unwrap().clear();
    let mark = pull.fetch(june(1, 30), mark, &mut basket).await.unwrap();
    assert_eq!(mark.as_deref(), Some("{\"taken\":{}}"));
    assert!(
        bank.changes.lock().unwrap().is_empty(),
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
    let other = private_key(9).public_key().to_openssh().unwrap();
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
    let text = private_key(2).to_openssh(Default::default()).unwrap();
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
