//! Settings of feeds: where each bank's statements come from, when they are owed, and which secrets open
//! the door. A secret is named by the file or the variable that holds it, never written here.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::{AmountUnit, Day};

/// One bank's feed.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Feed {
    /// Its name in logs, in `feed status` and in the address of a push: letters, digits, `-`, `_`.
    pub name: String,
    /// The `bank_code` of the accounts whose statements it brings, without space around it.
    #[serde(deserialize_with = "trimmed")]
    pub bank: String,
    /// When it is fetched: a cron expression of six fields (seconds first) in the site's zone. A push
    /// feed is not fetched.
    #[serde(default = "every_morning")]
    pub schedule: String,
    /// The time of the day after, in the site's zone, by which a day's statement is owed.
    #[serde(default = "half_past_eight")]
    pub expected_by: ClockTime,
    /// Minutes after `expected_by` until a missing statement is a gap.
    #[serde(default = "two_hours")]
    pub grace_minutes: u32,
    /// The first day its accounts owe a statement for; without it, from each account's first known one.
    #[serde(default)]
    pub first_day: Option<Day>,
    /// The account of its files that name none (a WeChat fund bill, some replies of direct links), as
    /// `accounts.csv` has it. A file that names another one is refused.
    #[serde(default)]
    pub account: Option<String>,
    /// The unit of amounts of direct links whose contract leaves it open (ICBC).
    #[serde(default)]
    pub amount_unit: Option<AmountUnit>,
    pub source: Source,
}

/// Where a feed's files come from.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Source {
    /// Files that a bank or a gateway drops into a folder.
    Folder {
        path: PathBuf,
        /// Where files that were kept are moved; `path/.taken` without it.
        #[serde(default)]
        taken: Option<PathBuf>,
        /// Read a file only beside a companion of this ending (`.ok`); without it, once its size has
        /// stood still between two looks.
        #[serde(default)]
        companion: Option<String>,
    },
    /// Statements pulled over HTTPS.
    Https(Https),
    /// Files pulled over SFTP.
    Sftp(Sftp),
    /// Statements the bank pushes to `POST /v1/feeds/{name}/statements`, signed.
    Push {
        /// Keys a push may be signed with; the algorithm belongs to the key.
        keys: Vec<PushKey>,
    },
}

impl Source {
    /// Whether its files come by themselves.
    pub const fn is_pushed(&self) -> bool {
        matches!(self, Source::Push { .. })
    }

    /// The least time between two requests to the bank; zero where it sets no limit.
    pub const fn min_interval(&self) -> Duration {
        match self {
            Source::Https(https) => Duration::from_millis(https.min_interval_ms),
            _ => Duration::ZERO,
        }
    }
}

/// A pull over HTTPS. One GET per window and page; the answer's body is a statement file, its header
/// `Jintuo-Next` the cursor of the next page, and 204 means that there is nothing.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Https {
    /// Asked with `from`, `to` (days) and, from the second page on, `cursor`.
    pub url: String,
    #[serde(default)]
    pub auth: Auth,
    /// Days asked for at once: the bank's limit.
    #[serde(default = "days_31")]
    pub window_days: u32,
    /// Working days before the wanted one that are asked for again, so that late corrections show.
    #[serde(default = "days_3")]
    pub overlap_days: u32,
    /// The least time between two requests, whichever fetch, start or replica makes them; at most a day.
    #[serde(default = "millis_350")]
    pub min_interval_ms: u64,
    /// The most one answer may hold.
    #[serde(default = "mib_64")]
    pub body_max_bytes: u64,
    #[serde(default = "seconds_60")]
    pub timeout_seconds: u64,
    /// PEM file of the only authority that is trusted for this bank.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// PEM file of our certificate and key, for banks that ask for one.
    #[serde(default)]
    pub client_cert_file: Option<PathBuf>,
    /// Addresses inside private networks that this feed may reach, as CIDR blocks.
    #[serde(default)]
    pub allow_private: Vec<String>,
    /// Loopback, also over plain HTTP; honoured by builds for development and by tests only.
    #[serde(default)]
    pub allow_loopback_http: bool,
}

/// How a pull proves who asks.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Auth {
    #[default]
    None,
    Bearer {
        token: Secret,
    },
    /// Signs the request like a push ([`PushKey`]).
    Hmac {
        key_id: String,
        algorithm: Algorithm,
        key: Secret,
    },
}

/// A pull over SFTP.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Sftp {
    pub host: String,
    #[serde(default = "port_22")]
    pub port: u16,
    pub user: String,
    /// OpenSSH private key, or a password.
    #[serde(default)]
    pub key: Option<Secret>,
    #[serde(default)]
    pub password: Option<Secret>,
    /// The server's key as `ssh-keyscan` prints it (`ssh-ed25519 AAAA…`); no other is accepted.
    pub host_key: String,
    pub folder: String,
    #[serde(default)]
    pub companion: Option<String>,
    #[serde(default = "mib_64")]
    pub body_max_bytes: u64,
    #[serde(default = "seconds_60")]
    pub timeout_seconds: u64,
    #[serde(default)]
    pub allow_private: Vec<String>,
    /// SFTP to loopback; honoured by builds for development and by tests only.
    #[serde(default)]
    pub allow_loopback: bool,
}

/// A key of signed pushes.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PushKey {
    pub id: String,
    pub algorithm: Algorithm,
    pub key: Secret,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    HmacSha256,
    HmacSm3,
}

/// Where a secret is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "Place", into = "Place")]
pub enum Secret {
    File(PathBuf),
    Env(String),
}

/// A secret's place as it is written. Anything else is read as well and refused without being repeated: it
/// may be the secret itself.
#[derive(Clone, Deserialize, Serialize)]
#[serde(untagged)]
enum Place {
    File(InFile),
    Env(InVariable),
    #[serde(skip_serializing)]
    Other(serde::de::IgnoredAny),
}

#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct InFile {
    file: PathBuf,
}

#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct InVariable {
    env: String,
}

impl TryFrom<Place> for Secret {
    type Error = &'static str;

    fn try_from(place: Place) -> Result<Secret, &'static str> {
        match place {
            Place::File(InFile { file }) => Ok(Secret::File(file)),
            Place::Env(InVariable { env }) => Ok(Secret::Env(env)),
            Place::Other(_) => Err(
                "a secret is named by its place, { file = … } or { env = … }, and never written here",
            ),
        }
    }
}

impl From<Secret> for Place {
    fn from(secret: Secret) -> Place {
        match secret {
            Secret::File(file) => Place::File(InFile { file }),
            Secret::Env(env) => Place::Env(InVariable { env }),
        }
    }
}

/// Why a secret cannot be used; never holds any of it.
#[derive(Debug, thiserror::Error)]
#[error("the secret in {place} cannot be used: {reason}")]
pub struct SecretError {
    pub place: String,
    pub reason: String,
}

impl Secret {
    /// The secret's bytes, without the line ends a file closes with.
    ///
    /// # Errors
    /// A file or variable that is not there, is empty, or, on Unix, a file that others may read.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the environment"
    )]
    pub fn read(&self) -> Result<SecretBytes, SecretError> {
        let failed = |reason: String| SecretError {
            place: self.to_string(),
            reason,
        };
        let bytes = match self {
            Secret::File(path) => {
                let data = std::fs::metadata(path).map_err(|e| failed(e.to_string()))?;
                if others_may_read(&data) {
                    return Err(failed("others may read the file; chmod 600 it".to_owned()));
                }
                std::fs::read(path).map_err(|e| failed(e.to_string()))?
            }
            Secret::Env(name) => std::env::var(name)
                .map_err(|e| failed(e.to_string()))?
                .into_bytes(),
        };
        let end = bytes
            .iter()
            .rposition(|b| !matches!(b, b'\n' | b'\r'))
            .map_or(0, |at| at + 1);
        if end == 0 {
            return Err(failed("it is empty".to_owned()));
        }
        Ok(SecretBytes(bytes[..end].to_vec()))
    }
}

#[cfg(unix)]
fn others_may_read(data: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    data.permissions().mode() & 0o077 != 0
}

#[cfg(not(unix))]
fn others_may_read(_: &std::fs::Metadata) -> bool {
    false
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Secret::File(path) => write!(f, "file {}", path.display()),
            Secret::Env(name) => write!(f, "variable {name}"),
        }
    }
}

/// A secret in memory: it has no text form.
#[derive(Clone)]
pub struct SecretBytes(Vec<u8>);

impl SecretBytes {
    pub fn new(bytes: impl Into<Vec<u8>>) -> SecretBytes {
        SecretBytes(bytes.into())
    }

    /// The bytes, for the moment they are used.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretBytes(…)")
    }
}

/// A time of day, `08:30`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClockTime {
    pub hour: u32,
    pub minute: u32,
}

impl TryFrom<String> for ClockTime {
    type Error = String;

    fn try_from(text: String) -> Result<ClockTime, String> {
        let time = text.split_once(':').and_then(|(hour, minute)| {
            let time = ClockTime {
                hour: hour.parse().ok()?,
                minute: minute.parse().ok()?,
            };
            (time.hour < 24 && time.minute < 60 && text.len() == 5).then_some(time)
        });
        time.ok_or_else(|| format!("{text:?} is no time of day such as 08:30"))
    }
}

impl From<ClockTime> for String {
    fn from(time: ClockTime) -> String {
        time.to_string()
    }
}

impl fmt::Display for ClockTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.hour, self.minute)
    }
}

impl Feed {
    /// How long after `expected_by` a missing statement is merely late.
    pub fn grace(&self) -> Duration {
        Duration::from_secs(u64::from(self.grace_minutes) * 60)
    }
}

/// A code as registries write it.
fn trimmed<'de, D: serde::Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    Ok(String::deserialize(from)?.trim().to_owned())
}

fn every_morning() -> String {
    "0 */15 6-12 * * *".to_owned()
}

fn half_past_eight() -> ClockTime {
    ClockTime {
        hour: 8,
        minute: 30,
    }
}

const fn two_hours() -> u32 {
    120
}

const fn days_31() -> u32 {
    31
}

const fn days_3() -> u32 {
    3
}

const fn millis_350() -> u64 {
    350
}

const fn mib_64() -> u64 {
    64 << 20
}

const fn seconds_60() -> u64 {
    60
}

const fn port_22() -> u16 {
    22
}
