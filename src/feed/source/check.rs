//! What of a feed's settings cannot work, as far as it shows without the network: addresses that may not be
//! reached, secrets, keys and certificates that cannot be used, folders that are not there.
//!
//! Invariants: looks at each part by itself, so that all that is wrong is named at once; uses the same code
//! as the source does when it is opened.

use std::path::Path;

use reqwest::header::HeaderValue;

use super::https::{identity, roots};
use super::resolver::{Door, Trust, system_lookup};
use super::signature::{Key, KeyError};
use crate::config::{Auth, Feed, Https, Problem, PushKey, Sftp, Source};

const SECRET_REMEDY: &str =
    "put the secret there, in a file that only the service's user may read (chmod 600)";
const KEY_REMEDY: &str = "use a key of at least 16 bytes: openssl rand -hex 32";
const PEM_REMEDY: &str = "put the PEM file there that the bank has given you";
const ADDRESS_REMEDY: &str = "write the bank's public https address, its host as a name; open a private \
                              network with allow_private";

/// A door that only the demo and tests may open: a service never starts with it.
pub fn only_for_trials(feed: &Feed) -> Option<Problem> {
    let key = match &feed.source {
        Source::Https(https) if https.allow_loopback_http => "allow_loopback_http",
        Source::Sftp(sftp) if sftp.allow_loopback => "allow_loopback",
        _ => return None,
    };
    Some(Problem::new(
        format!("feed[{}].source.{key}", feed.name),
        "is honoured by the demo and by tests only: nothing on this machine is a bank",
        "remove the key; reach the bank over the network, or have a gateway drop files into a folder",
    ))
}

/// All that is wrong with a feed's source.
pub fn check(feed: &Feed) -> Vec<Problem> {
    let mut found = Found {
        prefix: format!("feed[{}].source", feed.name),
        problems: only_for_trials(feed).into_iter().collect(),
    };
    match &feed.source {
        Source::Folder { path, taken, .. } => {
            found.folder("path", path);
            if let Some(taken) = taken {
                found.taken(path, taken);
            }
        }
        Source::Https(https) => found.https(https),
        Source::Sftp(sftp) => found.sftp(sftp),
        Source::Push { keys } => {
            for key in keys {
                found.key(&format!("keys[{}]", key.id), key);
            }
        }
    }
    found.problems
}

struct Found {
    prefix: String,
    problems: Vec<Problem>,
}

impl Found {
    fn add(&mut self, key: &str, problem: impl ToString, remedy: &str) {
        let key = format!("{}.{key}", self.prefix);
        self.problems
            .push(Problem::new(key, problem.to_string(), remedy));
    }

    /// Notes an error and gives the value where there is none.
    fn note<T, E: ToString>(&mut self, key: &str, done: Result<T, E>, remedy: &str) -> Option<T> {
        done.map_err(|e| self.add(key, e, remedy)).ok()
    }

    fn folder(&mut self, key: &str, path: &Path) {
        let listed = std::fs::read_dir(path);
        if let Err(e) = listed {
            let remedy =
                "make the folder; the service's user must be able to list and rename in it";
            self.add(key, format!("{}: {e}", path.display()), remedy);
        }
    }

    /// A file is moved by renaming it, which ends at the border of a file system.
    fn taken(&mut self, path: &Path, taken: &Path) {
        use std::os::unix::fs::MetadataExt as _;
        // It is made when it is needed; then its parent decides.
        let there = taken.ancestors().find_map(|p| std::fs::metadata(p).ok());
        let apart = match (std::fs::metadata(path), there) {
            (Ok(path), Some(there)) => path.dev() != there.dev(),
            _ => false,
        };
        if apart {
            let problem = format!("{} is on another file system than path", taken.display());
            self.add("taken", problem, "name a folder on the same file system");
        }
    }

    /// The networks that are opened; those that are none are noted.
    fn door(&mut self, allow_private: &[String]) -> Option<Door> {
        let open = |blocks: &[String]| Door::new(blocks, false, Trust::Strict, system_lookup());
        let mut good = Vec::new();
        for block in allow_private {
            let remedy = "write a block of 10/8, 172.16/12, 192.168/16, 100.64/10 or fc00::/7";
            if self
                .note("allow_private", open(std::slice::from_ref(block)), remedy)
                .is_some()
            {
                good.push(block.clone());
            }
        }
        open(&good).ok()
    }

    fn https(&mut self, https: &Https) {
        if let Some(door) = self.door(&https.allow_private) {
            self.note("url", door.open(&https.url), ADDRESS_REMEDY);
        }
        match &https.auth {
            Auth::None => {}
            Auth::Bearer { token } => {
                let token = self.note("auth.token", token.read(), SECRET_REMEDY);
                let good = token.is_none_or(|t| HeaderValue::from_bytes(t.expose()).is_ok());
                if !good {
                    let problem = "the token holds what no header may";
                    self.add("auth.token", problem, "write the token alone, on one line");
                }
            }
            Auth::Hmac {
                key_id,
                algorithm,
                key,
            } => {
                let key = PushKey {
                    id: key_id.clone(),
                    algorithm: *algorithm,
                    key: key.clone(),
                };
                self.key("auth.key", &key);
            }
        }
        if let Some(path) = &https.ca_file {
            self.note("ca_file", roots(path), PEM_REMEDY);
        }
        if let Some(path) = &https.client_cert_file {
            let remedy = "put certificate and private key there as one PEM file, mode 0600";
            self.note("client_cert_file", identity(path), remedy);
        }
    }

    fn key(&mut self, key: &str, setting: &PushKey) {
        match Key::read(setting) {
            Ok(_) => {}
            Err(e @ KeyError::Secret(_)) => self.add(key, e, SECRET_REMEDY),
            Err(e @ KeyError::Short { .. }) => self.add(key, e, KEY_REMEDY),
            Err(e @ KeyError::Id { .. }) => self.add(key, e, "give the key an id"),
        }
    }

    fn sftp(&mut self, sftp: &Sftp) {
        if let Some(door) = self.door(&sftp.allow_private) {
            self.note(
                "host",
                door.check_host(&sftp.host),
                "write the bank's host as a name",
            );
        }
        self.login(sftp);
    }

    #[cfg(feature = "sftp")]
    fn login(&mut self, sftp: &Sftp) {
        let remedy = "copy the line that ssh-keyscan prints, and compare it with the bank's letter";
        self.note("host_key", super::sftp::host_key(&sftp.host_key), remedy);
        let key = if sftp.key.is_some() {
            "key"
        } else {
            "password"
        };
        self.note(key, super::sftp::login(sftp), SECRET_REMEDY);
    }

    #[cfg(not(feature = "sftp"))]
    fn login(&mut self, _: &Sftp) {
        let remedy = "build with the feature `sftp`";
        self.add("kind", "this build has no SFTP", remedy);
    }
}
