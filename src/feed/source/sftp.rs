//! Files pulled from a bank's SFTP server, which are left there.
//!
//! A file is taken beside its companion, or, without companions, once size and time of change are the same
//! at two fetches running. As nothing is removed or renamed at the bank, the mark remembers what was taken:
//! name, size and time; a file that changes afterwards is taken again, as a correction.
//!
//! Invariants: the server's key is the pinned one or there is no session; the address dialled is the one
//! that was checked; links and folders are not followed; the mark names only what is still in the folder,
//! so that it cannot grow for ever; a whole fetch has a time limit for each of its steps.
//! Absent on purpose: writing, renaming and removing; keyboard-interactive log-in; agents; certificates.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use russh::client::{self, Handle};
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{PrivateKeyWithHashAlg, PublicKey, PublicKeyOrCertificate, decode_secret_key};
use russh_sftp::client::RawSftpSession;
use russh_sftp::client::error::Error as SftpError;
use russh_sftp::protocol::{FileAttributes, OpenFlags, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;

use crate::config::{self, SecretBytes};

use super::resolver::{Door, Unresolved};
use super::{
    Arrived, BoxFuture, FOLDER_FILES_MAX, Sink, Source, SourceError, Surroundings, Window,
    is_unfinished, keep,
};

/// Bytes asked for at once.
const READ_BYTES: u32 = 32 * 1024;

/// An SFTP feed.
pub(super) struct Sftp {
    door: Door,
    host: String,
    port: u16,
    user: String,
    login: Login,
    host_key: KeyData,
    folder: String,
    companion: Option<String>,
    body_max: u64,
    timeout: Duration,
}

pub(super) enum Login {
    Key(Arc<russh::keys::PrivateKey>),
    Password(SecretBytes),
}

/// Size and time of change, by name.
type Look = BTreeMap<String, (u64, u32)>;

#[derive(Debug, Default, Deserialize, Serialize)]
struct Mark {
    #[serde(default)]
    taken: Look,
    #[serde(default, skip_serializing_if = "Look::is_empty")]
    look: Look,
}

impl Sftp {
    pub(super) fn new(
        settings: &config::Sftp,
        surroundings: &Surroundings,
    ) -> Result<Sftp, SourceError> {
        let door = Door::new(
            &settings.allow_private,
            settings.allow_loopback,
            surroundings.trust,
            surroundings.lookup.clone(),
        )?;
        door.check_host(&settings.host)?;
        Ok(Sftp {
            door,
            host: settings.host.clone(),
            port: settings.port,
            user: settings.user.clone(),
            login: login(settings)?,
            host_key: host_key(&settings.host_key)?,
            folder: settings.folder.trim_end_matches('/').to_owned(),
            companion: settings.companion.clone(),
            body_max: settings.body_max_bytes,
            timeout: Duration::from_secs(settings.timeout_seconds.max(1)),
        })
    }

    async fn run(
        &self,
        mark: Option<String>,
        sink: &mut dyn Sink,
    ) -> Result<Option<String>, SourceError> {
        let handle = self.connect().await?;
        let session = self.start(&handle).await?;
        let done = self.take(&session, mark, sink).await;
        // The server may have gone already; what was kept is kept.
        let _ = session.close_session();
        let ended = handle.disconnect(russh::Disconnect::ByApplication, "", "en");
        let _ = tokio::time::timeout(self.timeout, ended).await;
        done.map(Some)
    }

    /// Takes what is ready; what was taken before is known by the mark.
    async fn take(
        &self,
        session: &RawSftpSession,
        mark: Option<String>,
        sink: &mut dyn Sink,
    ) -> Result<String, SourceError> {
        let mut mark: Mark = mark
            .and_then(|m| serde_json::from_str(&m).ok())
            .unwrap_or_default();
        let files = self.list(session).await?;
        let last = std::mem::take(&mut mark.look);
        mark.taken.retain(|name, _| files.contains_key(name));
        for (name, seen) in &files {
            let companion = self.companion.as_deref();
            if is_unfinished(name) || companion.is_some_and(|end| name.ends_with(end)) {
                continue;
            }
            if mark.taken.get(name) == Some(seen) {
                continue;
            }
            let ready = match companion {
                Some(end) => {
                    let stem = name
                        .rsplit_once('.')
                        .map_or(name.as_str(), |(stem, _)| stem);
                    let there = |stem: &str| files.contains_key(&format!("{stem}{end}"));
                    there(name) || there(stem)
                }
                None => last.get(name) == Some(seen),
            };
            if ready && seen.0 > self.body_max {
                sink.refused(name, &format!("larger than {} bytes", self.body_max));
            }
            if !ready || seen.0 > self.body_max {
                if companion.is_none() {
                    mark.look.insert(name.clone(), *seen);
                }
                continue;
            }
            let Some(bytes) = self.read(session, name, *seen).await? else {
                continue;
            };
            mark.taken.insert(name.clone(), *seen);
            let name = name.clone();
            let mark = Some(text(&mark)?);
            keep(sink, Arrived { name, bytes, mark }).await?;
        }
        text(&mark)
    }

    /// Dials the checked address and logs in.
    async fn connect(&self) -> Result<Handle<Pinned>, SourceError> {
        let doing = "connecting to the bank";
        let resolving = self.door.resolve(&self.host);
        let found = match self.within(doing, resolving).await? {
            Ok(found) => found,
            Err(Unresolved::Refused(refused)) => return Err(refused.into()),
            Err(e) => return Err(SourceError::temporary(doing, e.to_string())),
        };
        let addresses: Vec<SocketAddr> = (found.into_iter())
            .map(|ip| SocketAddr::new(ip, self.port))
            .collect();
        let dialled = self
            .within(doing, TcpStream::connect(&addresses[..]))
            .await?;
        let stream = dialled.map_err(|e| SourceError::temporary(doing, e.kind().to_string()))?;
        let settings = client::Config {
            inactivity_timeout: Some(self.timeout),
            ..client::Config::default()
        };
        let pinned = Pinned(self.host_key.clone());
        let connecting = client::connect_stream(Arc::new(settings), stream, pinned);
        let mut handle = self.within(doing, connecting).await?.map_err(|e| match e {
            russh::Error::UnknownKey => {
                SourceError::permanent(doing, "the server's key is not the pinned one")
            }
            _ => SourceError::temporary(doing, "no SSH session could be made"),
        })?;
        let user = self.user.as_str();
        let log_in = async {
            match &self.login {
                Login::Password(secret) => {
                    let password = String::from_utf8_lossy(secret.expose());
                    handle.authenticate_password(user, password).await
                }
                Login::Key(key) => {
                    let hash = handle.best_supported_rsa_hash().await?.flatten();
                    let key = PrivateKeyWithHashAlg::new(key.clone(), hash);
                    handle.authenticate_publickey(user, key).await
                }
            }
        };
        match self.within("logging in", log_in).await? {
            Ok(answer) if answer.success() => Ok(handle),
            Ok(_) => Err(SourceError::permanent(
                "logging in",
                "the bank refuses the log-in",
            )),
            Err(_) => Err(SourceError::temporary(
                "logging in",
                "the session broke off",
            )),
        }
    }

    async fn start(&self, handle: &Handle<Pinned>) -> Result<RawSftpSession, SourceError> {
        let doing = "starting SFTP";
        let starting = async {
            let channel = handle.channel_open_session().await?;
            channel.request_subsystem(true, "sftp").await?;
            Ok::<_, russh::Error>(channel)
        };
        let channel = self.within(doing, starting).await?;
        let channel = channel.map_err(|_| SourceError::temporary(doing, "no channel"))?;
        let settings = russh_sftp::client::Config {
            request_timeout_secs: self.timeout.as_secs(),
            ..russh_sftp::client::Config::default()
        };
        let session = RawSftpSession::new_with_config(channel.into_stream(), settings);
        session.init().await.map_err(|e| failed(doing, &e))?;
        Ok(session)
    }

    /// Plain files of the folder. A folder without end is left.
    async fn list(&self, session: &RawSftpSession) -> Result<Look, SourceError> {
        let doing = "listing the bank's folder";
        let wrong = |e: SftpError| failed(doing, &e);
        let folder = if self.folder.is_empty() {
            "/"
        } else {
            &self.folder
        };
        let handle = session.opendir(folder).await.map_err(wrong)?.handle;
        let mut files = Look::new();
        let mut seen = 0;
        loop {
            let part = match session.readdir(handle.as_str()).await {
                Ok(part) => part,
                Err(SftpError::Status(s)) if s.status_code == StatusCode::Eof => break,
                Err(e) => return Err(wrong(e)),
            };
            seen += part.files.len();
            if part.files.is_empty() || seen > FOLDER_FILES_MAX {
                let reason = format!("more than {FOLDER_FILES_MAX} files; ask the bank to tidy up");
                return Err(SourceError::permanent(doing, reason));
            }
            for file in part.files {
                if file.filename.contains(['/', '\0']) || !file.attrs.file_type().is_file() {
                    continue;
                }
                files.insert(file.filename, stamp(&file.attrs));
            }
        }
        session.close(handle).await.map_err(wrong)?;
        Ok(files)
    }

    /// A file's bytes; `None` where it is not the one that was listed, or changes while it is read.
    async fn read(
        &self,
        session: &RawSftpSession,
        name: &str,
        seen: (u64, u32),
    ) -> Result<Option<Vec<u8>>, SourceError> {
        let doing = "reading a file of the bank";
        let path = format!("{}/{name}", self.folder);
        let opening = session.open(path, OpenFlags::READ, FileAttributes::empty());
        let handle = match opening.await {
            Ok(opened) => opened.handle,
            Err(SftpError::Status(s)) if s.status_code == StatusCode::NoSuchFile => {
                return Ok(None);
            }
            Err(e) => return Err(failed(doing, &e)),
        };
        let reading = async {
            let mut bytes = Vec::new();
            // One byte more than was listed tells whether the file has grown.
            while bytes.len() as u64 <= seen.0 {
                let at = bytes.len() as u64;
                let want = (seen.0 + 1 - at).min(u64::from(READ_BYTES));
                let want = u32::try_from(want).unwrap_or(READ_BYTES);
                match session.read(handle.as_str(), at, want).await {
                    Ok(part) if part.data.is_empty() => break,
                    Ok(part) => bytes.extend_from_slice(&part.data),
                    Err(SftpError::Status(s)) if s.status_code == StatusCode::Eof => break,
                    Err(e) => return Err(e),
                }
            }
            let now = stamp(&session.fstat(handle.as_str()).await?.attrs);
            Ok((bytes, now))
        };
        let (bytes, now) = reading.await.map_err(|e| failed(doing, &e))?;
        session.close(handle).await.map_err(|e| failed(doing, &e))?;
        Ok((bytes.len() as u64 == seen.0 && now == seen).then_some(bytes))
    }

    async fn within<T>(
        &self,
        doing: &'static str,
        work: impl Future<Output = T>,
    ) -> Result<T, SourceError> {
        let done = tokio::time::timeout(self.timeout, work).await;
        done.map_err(|_| SourceError::temporary(doing, "no answer in time"))
    }
}

impl Source for Sftp {
    fn fetch<'a>(
        &'a self,
        _window: Window,
        mark: Option<String>,
        sink: &'a mut dyn Sink,
    ) -> BoxFuture<'a, Result<Option<String>, SourceError>> {
        Box::pin(self.run(mark, sink))
    }
}

/// Accepts one key.
struct Pinned(KeyData);

impl client::Handler for Pinned {
    type Error = russh::Error;

    async fn check_server_key(
        &mut self,
        key: &PublicKeyOrCertificate,
    ) -> Result<bool, russh::Error> {
        Ok(match key {
            PublicKeyOrCertificate::PublicKey { key, .. } => *key.key_data() == self.0,
            PublicKeyOrCertificate::Certificate(_) => false,
        })
    }
}

fn wrong(reason: &str) -> SourceError {
    SourceError::permanent("reading the feed's settings", reason)
}

/// Reads the key or the password.
pub(super) fn login(settings: &config::Sftp) -> Result<Login, SourceError> {
    Ok(match (&settings.key, &settings.password) {
        (Some(key), None) => {
            let secret = key.read()?;
            let text = std::str::from_utf8(secret.expose()).ok();
            let key = text.and_then(|t| decode_secret_key(&format!("{t}\n"), None).ok());
            Login::Key(Arc::new(key.ok_or_else(|| {
                wrong("the key is no OpenSSH private key, or has a passphrase")
            })?))
        }
        (None, Some(password)) => Login::Password(password.read()?),
        _ => return Err(wrong("set either a key or a password")),
    })
}

/// Reads `ssh-ed25519 AAAA…`, with or without the host's name before it.
pub(super) fn host_key(text: &str) -> Result<KeyData, SourceError> {
    let parse = |text: &str| PublicKey::from_openssh(text).ok();
    let text = text.trim();
    let key = parse(text).or_else(|| parse(text.split_once(' ')?.1.trim()));
    let key = key.ok_or_else(|| {
        wrong("host_key is no key such as ssh-keyscan prints (ssh-ed25519 AAAA…)")
    })?;
    Ok(key.key_data().clone())
}

fn stamp(attrs: &FileAttributes) -> (u64, u32) {
    (attrs.size.unwrap_or(0), attrs.mtime.unwrap_or(0))
}

fn text(mark: &Mark) -> Result<String, SourceError> {
    let text = serde_json::to_string(mark);
    text.map_err(|e| SourceError::permanent("noting what was taken", e.to_string()))
}

/// The server's own texts stay out of it.
fn failed(doing: &'static str, error: &SftpError) -> SourceError {
    match error {
        SftpError::Status(s) => match s.status_code {
            StatusCode::NoSuchFile => SourceError::permanent(doing, "there is no such folder"),
            StatusCode::PermissionDenied => SourceError::permanent(doing, "the bank refuses it"),
            code => SourceError::temporary(doing, format!("the bank answers {code}")),
        },
        SftpError::Timeout => SourceError::temporary(doing, "no answer in time"),
        _ => SourceError::temporary(doing, "the session broke off"),
    }
}
