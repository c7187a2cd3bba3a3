//! Settings looked at piece by piece, so that everything that is wrong is named at once; and where each
//! value came from.
//!
//! Invariants: a section that cannot be read does not keep the others from being looked at; no message
//! holds a secret: not a line of the file, not the password of an address.
//! Absent on purpose: asking the network or the database; files that only a feed's source understands, which
//! are looked at by `feed::source::check`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use serde::Serialize;

use super::{Config, Feed, Https, Layers, Source, show};

/// The most characters of a feed's and a bank's name.
const NAME_CHARS_MAX: usize = 64;
/// The most days that are caught up with.
const CATCH_UP_DAYS_MAX: u32 = 366;
/// A day.
const MIN_INTERVAL_MS_MAX: u64 = 24 * 60 * 60 * 1000;

/// Something wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Section and key: `server.listen`, `feed[icbc].source.url`.
    pub key: String,
    pub problem: String,
    /// What to do.
    pub remedy: String,
    /// False where the service can work all the same.
    pub fatal: bool,
}

impl Problem {
    pub fn new(
        key: impl Into<String>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Problem {
        Problem {
            key: key.into(),
            problem: problem.into(),
            remedy: remedy.into(),
            fatal: true,
        }
    }

    fn warning(
        key: impl Into<String>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Problem {
        Problem {
            fatal: false,
            ..Problem::new(key, problem, remedy)
        }
    }
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    Default,
    File,
    /// The variable's name.
    Environment(String),
    CommandLine,
}

/// Settings with everything that is known of them.
#[derive(Clone, Debug)]
pub struct Examined {
    /// What could be read; defaults stand for the rest.
    pub config: Config,
    /// Sections that could not be read.
    pub unreadable: Vec<Problem>,
    /// Values that cannot be used or should not be.
    pub problems: Vec<Problem>,
    pub(super) file: toml::Table,
    pub(super) elsewhere: BTreeMap<String, Origin>,
}

impl Examined {
    pub(super) fn new(layers: Layers, url_of_flag: Option<&str>) -> Examined {
        let mut unreadable = layers.problems;
        let mut good = toml::Table::new();
        for (section, value) in layers.merged {
            match value {
                toml::Value::Array(entries) if section == "feed" => {
                    let mut feeds = Vec::new();
                    for (at, entry) in entries.into_iter().enumerate() {
                        match alone("feed", toml::Value::Array(vec![entry.clone()])) {
                            Ok(()) => feeds.push(entry),
                            Err(reason) => {
                                unreadable.push(unread(&feed_key(&entry, at), &reason));
                            }
                        }
                    }
                    good.insert(section, toml::Value::Array(feeds));
                }
                value => match alone(&section, value.clone()) {
                    Ok(()) => {
                        good.insert(section, value);
                    }
                    Err(reason) => unreadable.push(unread(&section, &reason)),
                },
            }
        }
        // Every section was read alone just now.
        let mut config: Config = good.try_into().unwrap_or_default();
        let mut elsewhere = layers.elsewhere;
        if let Some(url) = layers.url {
            config.database.url = url;
            elsewhere.insert(
                "database.url".to_owned(),
                Origin::Environment("JINTUO_DB".to_owned()),
            );
        }
        if let Some(url) = url_of_flag {
            url.clone_into(&mut config.database.url);
            elsewhere.insert("database.url".to_owned(), Origin::CommandLine);
        }
        Examined {
            problems: problems(&config),
            config,
            unreadable,
            file: layers.file,
            elsewhere,
        }
    }
}

fn alone(section: &str, value: toml::Value) -> Result<(), String> {
    let table = toml::Table::from_iter([(section.to_owned(), value)]);
    let read: Result<Config, toml::de::Error> = table.try_into();
    read.map(drop).map_err(|e| e.message().to_owned())
}

fn unread(key: &str, reason: &str) -> Problem {
    Problem::new(
        key,
        reason,
        "write the key as deploy/README.md and deploy/jintuo.toml have it",
    )
}

fn feed_key(entry: &toml::Value, at: usize) -> String {
    let name = entry.get("name").and_then(toml::Value::as_str);
    name.map_or_else(
        || format!("feed number {}", at + 1),
        |name| format!("feed[{name}]"),
    )
}

/// What is wrong with settings that could be read, as far as they alone can tell.
pub(super) fn problems(config: &Config) -> Vec<Problem> {
    let mut found = Vec::new();
    if let Err(reason) = config.zone() {
        found.push(Problem::new(
            "site.zone",
            reason,
            "name one such as Asia/Shanghai",
        ));
    }
    if config.site.city.trim().is_empty() {
        let remedy = "write the city's name as pages are to print it";
        found.push(Problem::new("site.city", "is empty", remedy));
    }
    let pages = "there is no sign-in";
    found.extend(of_listen("server.listen", &config.server.listen, pages));
    let admin = &config.server.admin_listen;
    if !admin.is_empty() {
        let says = "it tells how the service and its feeds are";
        found.extend(of_listen("server.admin_listen", admin, says));
        if *admin == config.server.listen {
            let problem = format!("{admin} is server.listen");
            let remedy = "give the admin port a port of its own, or leave it empty";
            found.push(Problem::new("server.admin_listen", problem, remedy));
        }
    }
    found.extend(of_database(config));
    let days = config.run.catch_up_days;
    if days == 0 || days > CATCH_UP_DAYS_MAX {
        let problem = format!("{days} is not 1 to {CATCH_UP_DAYS_MAX}");
        let remedy = "leave the key out for its default";
        found.push(Problem::new("run.catch_up_days", problem, remedy));
    }
    for (at, feed) in config.feed.iter().enumerate() {
        found.extend(of_feed(config, at, feed));
    }
    found
}

fn of_listen(key: &str, listen: &str, open: &str) -> Option<Problem> {
    if let Ok(address) = listen.parse::<SocketAddr>() {
        return (!address.ip().is_loopback()).then(|| {
            Problem::warning(
                key,
                format!("{address} is reached from other machines, and {open}"),
                "listen on 127.0.0.1, or let nobody but a gateway that authenticates reach it",
            )
        });
    }
    let (host, port) = listen.rsplit_once(':').unwrap_or_default();
    let good = !host.is_empty() && !host.contains([':', '/', '[']) && port.parse::<u16>().is_ok();
    (!good).then(|| {
        let problem = format!("{listen:?} is no address with a port");
        Problem::new(key, problem, "write it as 127.0.0.1:8080")
    })
}

fn of_database(config: &Config) -> Vec<Problem> {
    let mut found = Vec::new();
    let (key, url) = ("database.url", config.database.url.as_str());
    if let Some(path) = url.strip_prefix("sqlite:") {
        let path = Path::new(path.trim_start_matches("//"));
        let folder = path.parent().filter(|f| !f.as_os_str().is_empty());
        if let Some(folder) = folder.filter(|f| !f.is_dir()) {
            let problem = format!("there is no folder {}", folder.display());
            let remedy = "make the folder, on a local disk, owned by the service's user";
            found.push(Problem::new(key, problem, remedy));
        }
    } else if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        let problem = format!("{:?} is no database's address", show::masked_url(url));
        let remedy = "write sqlite:PATH or postgres://LOGIN:PASSWORD@HOST/NAME";
        found.push(Problem::new(key, problem, remedy));
    }
    if config.database.unsafe_dev {
        found.push(Problem::warning(
            "database.unsafe_dev",
            "storage that may lose acknowledged money is accepted",
            "remove the key before the service holds real money's books",
        ));
    }
    found
}

fn of_feed(config: &Config, at: usize, feed: &Feed) -> Vec<Problem> {
    let mut found = Vec::new();
    let key = |key: &str| format!("feed[{}].{key}", feed.name);
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let fits = !feed.name.is_empty() && feed.name.len() <= NAME_CHARS_MAX;
    if !fits || !feed.name.chars().all(plain) {
        let problem = format!(
            "name {:?} is not 1 to {NAME_CHARS_MAX} letters, digits, '-' or '_'",
            feed.name
        );
        let key = format!("feed number {}", at + 1);
        found.push(Problem::new(key, problem, "give it such a name"));
    }
    let before = &config.feed[..at];
    if before.iter().any(|f| f.name == feed.name) {
        let problem = format!("feed {:?} is set twice", feed.name);
        found.push(Problem::new(key("name"), problem, "give each its own name"));
    }
    let bank = &feed.bank;
    let owes_by = |f: &Feed| (f.expected_by, f.grace_minutes, f.first_day);
    if let Some(other) = (before.iter()).find(|f| f.bank == *bank && owes_by(f) != owes_by(feed)) {
        let problem = format!(
            "feeds {:?} and {:?} bring statements of one bank and say otherwise when they are due",
            other.name, feed.name
        );
        let remedy = "give both the same expected_by, grace_minutes and first_day";
        found.push(Problem::new(key("bank"), problem, remedy));
    }
    if bank.is_empty() || !is_printed(bank) {
        found.push(Problem::new(
            key("bank"),
            format!("{:?} is no bank's code", feed.bank),
            "write the bank_code that its accounts carry in accounts.csv",
        ));
    }
    let is_plain = |id: &String| !id.is_empty() && !id.contains([' ', '/']) && is_printed(id);
    if let Some(account) = feed.account.as_ref().filter(|id| !is_plain(id)) {
        found.push(Problem::new(
            key("account"),
            format!("{account:?} is no account"),
            "write the account_id that accounts.csv gives it",
        ));
    }
    if let Err(e) = feed.schedule.parse::<cron::Schedule>() {
        found.push(Problem::new(
            key("schedule"),
            format!("schedule {:?} is no cron expression: {e}", feed.schedule),
            "write six fields, seconds first, such as 0 */15 6-12 * * *",
        ));
    }
    match &feed.source {
        Source::Folder { path, .. } => {
            let same = |f: &&Feed| matches!(&f.source, Source::Folder { path: p, .. } if p == path);
            if let Some(other) = before.iter().find(same) {
                let problem = format!("feed {:?} takes the same folder", other.name);
                let remedy = "give each feed a folder of its own";
                found.push(Problem::new(key("source.path"), problem, remedy));
            }
        }
        Source::Https(https) => found.extend(of_https(&key, https)),
        Source::Sftp(sftp) => {
            for (name, empty) in [
                ("source.user", sftp.user.trim().is_empty()),
                ("source.folder", sftp.folder.trim().is_empty()),
            ] {
                if empty {
                    let remedy = "write what the bank has given you";
                    found.push(Problem::new(key(name), "is empty", remedy));
                }
            }
            found.extend(nothing(&key, "source.body_max_bytes", sftp.body_max_bytes));
            found.extend(nothing(
                &key,
                "source.timeout_seconds",
                sftp.timeout_seconds,
            ));
        }
        Source::Push { keys } => {
            if keys.is_empty() {
                let remedy = "set one: { id = …, algorithm = …, key = { file = … } }";
                found.push(Problem::new(key("source.keys"), "there is no key", remedy));
            }
            for (at, own) in keys.iter().enumerate() {
                if keys[..at].iter().any(|k| k.id == own.id) {
                    let problem = format!("key id {:?} is set twice", own.id);
                    let remedy = "give the new key an id of its own, so that both work for a while";
                    found.push(Problem::new(key("source.keys"), problem, remedy));
                }
            }
        }
    }
    found
}

fn is_printed(text: &str) -> bool {
    text.chars().count() <= NAME_CHARS_MAX && !text.contains(char::is_control)
}

fn of_https(key: &dyn Fn(&str) -> String, https: &Https) -> Vec<Problem> {
    let mut found = Vec::new();
    if https.min_interval_ms > MIN_INTERVAL_MS_MAX {
        let problem = format!("is {}", https.min_interval_ms);
        let remedy = format!("set the bank's limit in milliseconds, up to {MIN_INTERVAL_MS_MAX}");
        found.push(Problem::new(key("source.min_interval_ms"), problem, remedy));
    }
    let limits = [
        ("source.window_days", u64::from(https.window_days)),
        ("source.body_max_bytes", https.body_max_bytes),
        ("source.timeout_seconds", https.timeout_seconds),
    ];
    found.extend((limits.into_iter()).filter_map(|(name, value)| nothing(key, name, value)));
    found
}

fn nothing(key: &dyn Fn(&str) -> String, name: &str, value: u64) -> Option<Problem> {
    let remedy = "leave the key out for its default";
    (value == 0).then(|| Problem::new(key(name), "is 0", remedy))
}
