//! Settings for people's eyes: what is in force, where it comes from, and nothing that opens a door.
//!
//! Invariants: a secret is shown as the place it lies in; a password or a token inside of an address is
//! masked always, since what is printed ends in tickets and chats. Redacted, the places of secrets, hosts,
//! private networks, logins and account numbers go too, so that the rest may leave the house.

use std::collections::BTreeMap;

use super::{Examined, Origin};

/// What stands for what is not shown.
const MASK: &str = "***";
/// Keys of a feed that are hidden in what leaves the house.
const REDACTED_KEYS: [&str; 8] = [
    "account",
    "allow_private",
    "ca_file",
    "client_cert_file",
    "env",
    "file",
    "host",
    "user",
];

/// Settings to print, section by section.
pub struct Shown {
    pub settings: toml::Table,
    /// By key, `site.city`, `feed[0].source.url`.
    pub origins: BTreeMap<String, Origin>,
}

impl Examined {
    /// The settings in force.
    ///
    /// # Errors
    /// A value that TOML cannot hold.
    pub fn shown(&self, redact: bool) -> Result<Shown, String> {
        let settings = toml::Table::try_from(&self.config).map_err(|e| e.to_string())?;
        let mut origins = BTreeMap::new();
        for (section, value) in &settings {
            self.origins_of(section, value, self.file.get(section), &mut origins);
        }
        let settings = settings
            .into_iter()
            .map(|(section, value)| {
                let value = masked(&section, value, redact, section == "feed");
                (section, value)
            })
            .collect();
        Ok(Shown { settings, origins })
    }

    fn origins_of(
        &self,
        key: &str,
        value: &toml::Value,
        in_file: Option<&toml::Value>,
        origins: &mut BTreeMap<String, Origin>,
    ) {
        match value {
            toml::Value::Table(table) => {
                for (name, value) in table {
                    let in_file = in_file.and_then(|v| v.get(name));
                    self.origins_of(&format!("{key}.{name}"), value, in_file, origins);
                }
            }
            toml::Value::Array(entries) if entries.iter().any(toml::Value::is_table) => {
                for (at, value) in entries.iter().enumerate() {
                    let in_file = in_file.and_then(|v| v.get(at));
                    self.origins_of(&format!("{key}[{at}]"), value, in_file, origins);
                }
            }
            _ => {
                let file = in_file.map_or(Origin::Default, |_| Origin::File);
                let origin = self.elsewhere.get(key).cloned().unwrap_or(file);
                origins.insert(key.to_owned(), origin);
            }
        }
    }
}

/// A value without what is not to be seen. `inside` a feed, more names are hidden.
fn masked(key: &str, value: toml::Value, redact: bool, inside: bool) -> toml::Value {
    let hide = redact && inside && REDACTED_KEYS.contains(&key);
    match value {
        _ if hide => toml::Value::String(MASK.to_owned()),
        toml::Value::Table(table) => {
            let masked = table.into_iter().map(|(name, value)| {
                let value = masked(&name, value, redact, inside);
                (name, value)
            });
            toml::Value::Table(masked.collect())
        }
        toml::Value::Array(entries) => {
            let masked = entries.into_iter().map(|v| masked(key, v, redact, inside));
            toml::Value::Array(masked.collect())
        }
        toml::Value::String(text) => toml::Value::String(match (key, redact) {
            ("url", false) => masked_url(&text),
            ("url", true) => redacted_url(&text),
            ("listen" | "admin_listen", true) if !text.is_empty() => {
                let port = text.rsplit_once(':').map_or("", |(_, port)| port);
                format!("{MASK}:{port}")
            }
            _ => text,
        }),
        other => other,
    }
}

/// An address without its password, and without the values of its query that may be one.
pub(super) fn masked_url(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    // The last '@' of all: a password that holds one, or a '/', is a mistake, and no less secret.
    let rest = match rest.rsplit_once('@') {
        None => rest.to_owned(),
        Some((login, host)) => match login.split_once(':') {
            None => format!("{login}@{host}"),
            Some((user, _)) => format!("{user}:{MASK}@{host}"),
        },
    };
    let Some((path, query)) = rest.split_once('?') else {
        return format!("{scheme}://{rest}");
    };
    // What a database's address may carry in the open; anything else may be a token.
    let open = ["sslmode", "application_name", "options[search_path]"];
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, _)) if !open.contains(&name) => format!("{name}={MASK}"),
        _ => pair.to_owned(),
    });
    format!("{scheme}://{path}?{}", pairs.collect::<Vec<_>>().join("&"))
}

/// An address without login, host and query.
fn redacted_url(url: &str) -> String {
    match url.split_once(':') {
        Some((scheme, rest)) if rest.starts_with("//") => format!("{scheme}://{MASK}"),
        Some((scheme, _)) => format!("{scheme}:{MASK}"),
        None => MASK.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_of_an_address_is_shown() {
        for (url, shown) in [
            ("sqlite:jintuo.db", "sqlite:jintuo.db"),
            ("postgres://db/jintuo", "postgres://db/jintuo"),
            ("postgres://a@db/jintuo", "postgres://a@db/jintuo"),
            ("postgres://a:pw@db/jintuo", "postgres://a:***@db/jintuo"),
            ("postgres://a:p@w/x@db/jintuo", "postgres://a:***@db/jintuo"),
            (
                "postgres://db/j?password=pw&sslmode=require",
                "postgres://db/j?password=***&sslmode=require",
            ),
            ("https://bank/v1?token=t", "https://bank/v1?token=***"),
        ] {
            assert_eq!(masked_url(url), shown);
            let redacted = redacted_url(url);
            for word in ["pw", "db", "bank", "token", "a:"] {
                assert!(
                    !redacted.trim_end_matches(MASK).contains(word),
                    "{redacted}"
                );
            }
        }
    }
}
