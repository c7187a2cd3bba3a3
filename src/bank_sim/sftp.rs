//! An SFTP server that only lets read: folders of files as [`Disk`] shows them.
//!
//! Invariants: what would change something is refused and told to the disk; one user logs in, with the
//! password or the key that [`Door`] names.
//! Absent on purpose: writing, links that lead somewhere, sub-folders; any use by the service itself.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::keys::{PrivateKey, PublicKey, decode_secret_key};
use russh::server::{Auth, ChannelOpenHandle, Msg, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId};
use russh_sftp::protocol::{
    Attrs, Data, File, FileAttributes, Handle, Name, OpenFlags, Status, StatusCode, Version,
};
use tokio::net::TcpListener;

use super::{Sim, SimBank, Today, write_own};
use crate::base::{Day, Entropy};

/// What a listed name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    File,
    Link,
    Folder,
}

/// One name in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub name: String,
    pub kind: Kind,
    pub size: u64,
    /// Seconds since the epoch.
    pub changed_at: u32,
}

/// What the server shows.
pub trait Disk: Send + Sync {
    /// What is in a folder; `None` where there is none.
    fn list(&self, folder: &str) -> Option<Vec<Entry>>;

    /// A file's bytes and when it was changed.
    fn read(&self, path: &str) -> Option<(Vec<u8>, u32)>;

    /// Hears of an attempt to change something.
    fn refused(&self, what: &str);
}

/// Who comes in.
#[derive(Clone, Debug)]
pub struct Door {
    pub host_key: PrivateKey,
    pub user: String,
    pub password: Option<String>,
    pub key: Option<PublicKey>,
}

/// A key that is the same for the same bytes.
pub fn key_of(bytes: [u8; 32]) -> PrivateKey {
    PrivateKey::from(Ed25519Keypair::from_seed(&bytes))
}

/// Makes a host key and a user's key in a folder unless they are there, and writes beside the first what a
/// feed's settings call `host_key`.
///
/// # Errors
/// A folder that cannot be written, or a file that holds no key.
pub fn door(folder: &Path, user: &str, entropy: &Entropy) -> io::Result<Door> {
    std::fs::create_dir_all(folder)?;
    let host_key = own_key(&folder.join("host_key"), entropy)?;
    let public = host_key.public_key().to_openssh();
    let public = public.map_err(io::Error::other)?;
    std::fs::write(folder.join("host_key.pub"), format!("{public}\n"))?;
    let login = own_key(&folder.join("login_key"), entropy)?;
    Ok(Door {
        host_key,
        user: user.to_owned(),
        password: None,
        key: Some(login.public_key().clone()),
    })
}

fn own_key(path: &Path, entropy: &Entropy) -> io::Result<PrivateKey> {
    if !path.exists() {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(entropy.token()?.as_bytes());
        let text = key_of(bytes).to_openssh(LineEnding::LF);
        write_own(path, text.map_err(io::Error::other)?.as_bytes())?;
    }
    let text = std::fs::read_to_string(path)?;
    decode_secret_key(&text, None).map_err(|e| io::Error::other(format!("{}: {e}", path.display())))
}

/// What simulated banks show over SFTP: a folder a bank, each file with its `.ok`.
pub struct SimDisk {
    pub sim: Arc<Sim>,
    pub today: Today,
}

impl SimDisk {
    fn bank(&self, folder: &str) -> Option<&SimBank> {
        self.sim.bank(folder.trim_matches('/'))
    }
}

impl Disk for SimDisk {
    fn list(&self, folder: &str) -> Option<Vec<Entry>> {
        let shown = (self.bank(folder)?).visible(Day::MIN, Day::MAX, (self.today)());
        let entries = shown.into_iter().flat_map(|d| {
            let entry = |name: String, size: usize| Entry {
                name,
                kind: Kind::File,
                size: size as u64,
                changed_at: at(d.visible_from),
            };
            [
                entry(d.name.clone(), d.bytes.len()),
                entry(format!("{}.ok", d.name), 0),
            ]
        });
        Some(entries.collect())
    }

    fn read(&self, path: &str) -> Option<(Vec<u8>, u32)> {
        let (folder, name) = path.rsplit_once('/')?;
        let shown = (self.bank(folder)?).visible(Day::MIN, Day::MAX, (self.today)());
        let (whole, is_companion) = match name.strip_suffix(".ok") {
            Some(whole) => (whole, true),
            None => (name, false),
        };
        let file = shown.into_iter().find(|d| d.name == whole)?;
        let bytes = if is_companion {
            Vec::new()
        } else {
            file.bytes.clone()
        };
        Some((bytes, at(file.visible_from)))
    }

    fn refused(&self, what: &str) {
        tracing::warn!(sftp.refused = %what, "a simulated bank's folder is only read");
    }
}

/// The start of a day in UTC.
fn at(day: Day) -> u32 {
    let start = day.date().and_time(chrono::NaiveTime::MIN).and_utc();
    u32::try_from(start.timestamp()).unwrap_or_default()
}

/// Serves a disk until `stop` completes.
///
/// # Errors
/// A listener that fails.
pub async fn serve(
    listener: TcpListener,
    door: Door,
    disk: Arc<dyn Disk>,
    stop: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let settings = Arc::new(russh::server::Config {
        keys: vec![door.host_key.clone()],
        auth_rejection_time: Duration::ZERO,
        ..Default::default()
    });
    let door = Arc::new(door);
    let accepting = async {
        loop {
            let (stream, _) = listener.accept().await?;
            let peer = Peer {
                door: Arc::clone(&door),
                disk: Arc::clone(&disk),
                channels: HashMap::new(),
            };
            let settings = Arc::clone(&settings);
            tokio::spawn(async move {
                if let Ok(session) = russh::server::run_stream(settings, stream, peer).await {
                    let _ = session.await;
                }
            });
        }
    };
    tokio::select! {
        failed = accepting => failed,
        () = stop => Ok(()),
    }
}

struct Peer {
    door: Arc<Door>,
    disk: Arc<dyn Disk>,
    channels: HashMap<ChannelId, Channel<Msg>>,
}

impl Peer {
    fn answer(good: bool) -> Auth {
        if good {
            return Auth::Accept;
        }
        Auth::Reject {
            proceed_with_methods: None,
            partial_success: false,
        }
    }
}

impl russh::server::Handler for Peer {
    type Error = russh::Error;

    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Auth, russh::Error> {
        let good = user == self.door.user && self.door.password.as_deref() == Some(password);
        Ok(Peer::answer(good))
    }

    async fn auth_publickey(
        &mut self,
        user: &str,
        key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, russh::Error> {
        let known = (self.door.key.as_ref())
            .is_some_and(|known| known.key_data() == key.public_key.key_data());
        Ok(Peer::answer(user == self.door.user && known))
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
        let channel = self.channels.remove(&id).filter(|_| name == "sftp");
        let Some(channel) = channel else {
            return session.channel_failure(id);
        };
        session.channel_success(id)?;
        let reader = Reader {
            disk: Arc::clone(&self.disk),
            listed: false,
        };
        russh_sftp::server::run(channel.into_stream(), reader).await;
        Ok(())
    }
}

struct Reader {
    disk: Arc<dyn Disk>,
    listed: bool,
}

impl Reader {
    fn file(&self, path: &str) -> Result<(Vec<u8>, u32), StatusCode> {
        self.disk.read(path).ok_or(StatusCode::NoSuchFile)
    }
}

fn attributes(kind: Kind, size: u64, changed_at: u32) -> FileAttributes {
    let mut attributes = FileAttributes::empty();
    attributes.size = Some(size);
    attributes.atime = Some(changed_at);
    attributes.mtime = Some(changed_at);
    attributes.permissions = Some(match kind {
        Kind::File => 0o100_644,
        Kind::Link => 0o120_777,
        Kind::Folder => 0o040_755,
    });
    attributes
}

impl russh_sftp::server::Handler for Reader {
    type Error = StatusCode;

    fn unimplemented(&self) -> StatusCode {
        self.disk.refused("something that is not reading");
        StatusCode::OpUnsupported
    }

    async fn init(&mut self, _: u32, _: HashMap<String, String>) -> Result<Version, StatusCode> {
        Ok(Version::new())
    }

    async fn opendir(&mut self, id: u32, path: String) -> Result<Handle, StatusCode> {
        self.listed = false;
        match self.disk.list(&path) {
            Some(_) => Ok(Handle { id, handle: path }),
            None => Err(StatusCode::NoSuchFile),
        }
    }

    async fn readdir(&mut self, id: u32, handle: String) -> Result<Name, StatusCode> {
        if std::mem::replace(&mut self.listed, true) {
            return Err(StatusCode::Eof);
        }
        let entries = self.disk.list(&handle).ok_or(StatusCode::NoSuchFile)?;
        let mut files = vec![File::new(".", attributes(Kind::Folder, 0, 0))];
        let listed = entries.iter();
        files.extend(listed.map(|e| File::new(&e.name, attributes(e.kind, e.size, e.changed_at))));
        Ok(Name { id, files })
    }

    async fn open(
        &mut self,
        id: u32,
        path: String,
        flags: OpenFlags,
        _: FileAttributes,
    ) -> Result<Handle, StatusCode> {
        if flags.bits() != OpenFlags::READ.bits() {
            self.disk.refused(&format!("opening {path} to write"));
            return Err(StatusCode::PermissionDenied);
        }
        self.file(&path)?;
        Ok(Handle { id, handle: path })
    }

    async fn fstat(&mut self, id: u32, handle: String) -> Result<Attrs, StatusCode> {
        let (content, at) = self.file(&handle)?;
        let attrs = attributes(Kind::File, content.len() as u64, at);
        Ok(Attrs { id, attrs })
    }

    async fn read(
        &mut self,
        id: u32,
        handle: String,
        offset: u64,
        len: u32,
    ) -> Result<Data, StatusCode> {
        let (content, _) = self.file(&handle)?;
        let from = usize::try_from(offset).map_or(content.len(), |n| n.min(content.len()));
        let to = (from + len as usize).min(content.len());
        if from == to {
            return Err(StatusCode::Eof);
        }
        let data = content[from..to].to_vec();
        Ok(Data { id, data })
    }

    async fn close(&mut self, id: u32, _: String) -> Result<Status, StatusCode> {
        Ok(Status {
            id,
            status_code: StatusCode::Ok,
            error_message: String::new(),
            language_tag: String::new(),
        })
    }
}
