//! Which addresses a feed may reach, decided where names become addresses.
//!
//! A feed's address is typed by an operator, but the name in it is answered by somebody else, who may answer
//! with an address inside our network, and with another one the second time. So the check sits inside the
//! client's own resolver: the address that was checked is the one that is dialled. Addresses written as
//! numbers skip a resolver and are checked when the address is read ([`Door::open`]).
//!
//! Invariants: one forbidden answer refuses the name, whatever else it answers; loopback, link-local and
//! metadata addresses are refused even where a private network that holds them is allowed; an address is
//! written the one plain way or not at all.
//! Absent on purpose: a list of forbidden names, since a name means what its resolver says; caching.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::BoxFuture;

/// Who asks: only tests and builds for development may reach loopback, and only where the feed's setting
/// says so too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    #[default]
    Strict,
    Demo,
}

/// How names become addresses: the system's resolver, or a table in tests.
pub type Lookup =
    Arc<dyn Fn(String) -> BoxFuture<'static, std::io::Result<Vec<IpAddr>>> + Send + Sync>;

/// The system's resolver.
pub fn system_lookup() -> Lookup {
    Arc::new(|host| {
        Box::pin(async move {
            let found = tokio::net::lookup_host((host, 0)).await?;
            Ok(found.map(|a| a.ip()).collect())
        })
    })
}

/// Why an address is not reached. Names the address, which an operator typed or a resolver answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("{0} is {1}, which a feed may not reach")]
    Address(IpAddr, Kind),
    #[error("{0} has no address")]
    NoAddress(String),
    #[error("the address of the feed {0}")]
    Form(&'static str),
    #[error("{0:?} is no block of a private network such as 10.1.0.0/16")]
    Block(String),
}

/// What sort of address it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Loopback,
    LinkLocal,
    Private,
    Metadata,
    Multicast,
    Reserved,
    /// An IPv4 address inside an IPv6 one.
    Wrapped,
    /// Plain HTTP goes to loopback only.
    NotLoopback,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Loopback => "loopback",
            Kind::LinkLocal => "link-local",
            Kind::Private => "in a private network",
            Kind::Metadata => "a metadata service",
            Kind::Multicast => "multicast",
            Kind::Reserved => "reserved",
            Kind::Wrapped => "an IPv4 address wrapped in IPv6",
            Kind::NotLoopback => "not loopback",
        })
    }
}

/// A block of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Block {
    base: IpAddr,
    bits: u32,
}

impl Block {
    /// Reads `10.1.0.0/16` or `fd00:1::/32`; only blocks inside private networks.
    fn parse(text: &str) -> Result<Block, Refused> {
        let wrong = || Refused::Block(text.to_owned());
        let (base, bits) = text.split_once('/').ok_or_else(wrong)?;
        let base: IpAddr = base.parse().map_err(|_| wrong())?;
        let bits: u32 = bits.parse().map_err(|_| wrong())?;
        let block = Block { base, bits };
        let inside = |outer: &Block| outer.bits <= bits && outer.holds(base);
        let width = if base.is_ipv4() { 32 } else { 128 };
        if bits <= width && private_blocks().iter().any(inside) {
            Ok(block)
        } else {
            Err(wrong())
        }
    }

    fn holds(&self, ip: IpAddr) -> bool {
        match (self.base, ip) {
            (IpAddr::V4(base), IpAddr::V4(ip)) => {
                let shift = 32_u32.saturating_sub(self.bits);
                base.to_bits().checked_shr(shift) == ip.to_bits().checked_shr(shift)
            }
            (IpAddr::V6(base), IpAddr::V6(ip)) => {
                let shift = 128_u32.saturating_sub(self.bits);
                base.to_bits().checked_shr(shift) == ip.to_bits().checked_shr(shift)
            }
            _ => false,
        }
    }
}

const fn v4(a: u8, b: u8, c: u8, d: u8, bits: u32) -> Block {
    Block {
        base: IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
        bits,
    }
}

const fn v6(head: [u16; 3], bits: u32) -> Block {
    Block {
        base: IpAddr::V6(Ipv6Addr::new(head[0], head[1], head[2], 0, 0, 0, 0, 0)),
        bits,
    }
}

/// Networks a feed may be allowed to reach: RFC 1918, carriers' shared space, IPv6 unique local.
const fn private_blocks() -> [Block; 5] {
    [
        v4(10, 0, 0, 0, 8),
        v4(172, 16, 0, 0, 12),
        v4(192, 168, 0, 0, 16),
        v4(100, 64, 0, 0, 10),
        v6([0xfc00, 0, 0], 7),
    ]
}

/// Metadata services that stand outside of link-local.
const METADATA: [IpAddr; 4] = [
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254)),
];

/// Blocks of the special-purpose registries that no bank answers from.
const RESERVED: [Block; 13] = [
    v4(0, 0, 0, 0, 8),
    v4(192, 0, 0, 0, 24),
    v4(192, 0, 2, 0, 24),
    v4(192, 88, 99, 0, 24),
    v4(198, 18, 0, 0, 15),
    v4(198, 51, 100, 0, 24),
    v4(203, 0, 113, 0, 24),
    v4(240, 0, 0, 0, 4),
    v6([0x0100, 0, 0], 64),
    v6([0x2001, 0, 0], 23),
    v6([0x2001, 0x0db8, 0], 32),
    v6([0x3fff, 0, 0], 20),
    v6([0xfec0, 0, 0], 10),
];

/// What an address is, `None` where it is an ordinary public one.
fn kind(ip: IpAddr) -> Option<Kind> {
    let known = if METADATA.contains(&ip) {
        Some(Kind::Metadata)
    } else if ip.is_loopback() {
        Some(Kind::Loopback)
    } else if ip.is_multicast() {
        Some(Kind::Multicast)
    } else if private_blocks().iter().any(|b| b.holds(ip)) {
        Some(Kind::Private)
    } else if v4(169, 254, 0, 0, 16).holds(ip) || v6([0xfe80, 0, 0], 10).holds(ip) {
        Some(Kind::LinkLocal)
    } else if RESERVED.iter().any(|b| b.holds(ip)) {
        Some(Kind::Reserved)
    } else {
        None
    };
    match ip {
        IpAddr::V6(ip) if known.is_none() => kind_of_v6(ip),
        _ => known,
    }
}

/// IPv6 addresses that hold an IPv4 one, and those outside of what is given out.
fn kind_of_v6(ip: Ipv6Addr) -> Option<Kind> {
    let s = ip.segments();
    let inner = |high: u16, low: u16| {
        let bits = (u32::from(high) << 16) | u32::from(low);
        kind(IpAddr::V4(Ipv4Addr::from_bits(bits))).map(|_| Kind::Wrapped)
    };
    match s {
        // IPv4-compatible and -mapped: another way to write what is written plainly.
        [0, 0, 0, 0, 0, 0 | 0xffff, _, _] => Some(Kind::Wrapped),
        [0x0064, 0xff9b, 0, 0, 0, 0, high, low] => inner(high, low),
        [0x2002, high, low, ..] => inner(high, low),
        // ISATAP.
        [_, _, _, _, 0 | 0x0200, 0x5efe, _, _] => Some(Kind::Wrapped),
        [0x2000..=0x3fff, ..] => None,
        _ => Some(Kind::Reserved),
    }
}

/// What a feed may reach. Cheap to clone; part of the client as its resolver.
#[derive(Clone)]
pub struct Door {
    allowed: Arc<[Block]>,
    loopback: bool,
    /// Plain HTTP: nothing but loopback.
    only_loopback: bool,
    lookup: Lookup,
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door")
            .field("allowed", &self.allowed)
            .field("loopback", &self.loopback)
            .finish_non_exhaustive()
    }
}

impl Door {
    /// # Errors
    /// A block that is none, or lies outside of private networks.
    pub fn new(
        allow_private: &[String],
        allow_loopback: bool,
        trust: Trust,
        lookup: Lookup,
    ) -> Result<Door, Refused> {
        let allowed = allow_private.iter().map(|text| Block::parse(text));
        Ok(Door {
            allowed: allowed.collect::<Result<_, _>>()?,
            loopback: allow_loopback && trust == Trust::Demo,
            only_loopback: false,
            lookup,
        })
    }

    /// Reads a feed's address and decides on it as far as it can be decided without resolving a name.
    /// The door it gives is the one to dial through.
    ///
    /// # Errors
    /// An address of another scheme, with a password, not written plainly, or of a forbidden host.
    pub fn open(&self, text: &str) -> Result<(Url, Door), Refused> {
        let odd = |c: char| c.is_whitespace() || c.is_control() || c == '\\' || !c.is_ascii();
        if text.contains(odd) {
            return Err(Refused::Form(
                "holds a blank, a backslash or a letter outside of ASCII",
            ));
        }
        let url = Url::parse(text).map_err(|_| Refused::Form("is no URL"))?;
        let mut door = self.clone();
        match url.scheme() {
            "https" => {}
            "http" if self.loopback => door.only_loopback = true,
            _ => return Err(Refused::Form("is not https")),
        }
        if !url.username().is_empty() || url.password().is_some() || text.contains('@') {
            return Err(Refused::Form("holds a user or a password"));
        }
        if url.fragment().is_some() {
            return Err(Refused::Form("holds a fragment"));
        }
        let host = url.host_str().unwrap_or_default();
        // 0x7f.1, 2130706433, 0177.0.0.1, %31%32%37…: read as numbers by the parser, not by people.
        let rest = text.get(url.scheme().len()..).unwrap_or_default();
        let written = rest.strip_prefix("://").unwrap_or_default();
        let plain = written.to_ascii_lowercase();
        let after = plain.strip_prefix(host).filter(|_| !host.is_empty());
        if !after.is_some_and(|s| s.is_empty() || s.starts_with([':', '/', '?'])) {
            return Err(Refused::Form("does not write its host plainly"));
        }
        door.check_host(host)?;
        Ok((url, door))
    }

    /// Decides on a host that is a number; a name is decided on when it is resolved.
    pub fn check_host(&self, host: &str) -> Result<(), Refused> {
        let literal = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(ip) = literal.parse() {
            return self.check(ip);
        }
        let label = |l: &str| {
            let part = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            !l.is_empty() && l.len() < 64 && l.chars().all(part)
        };
        let name = host.strip_suffix('.').unwrap_or(host);
        if name.len() > 253 || !name.split('.').all(label) {
            return Err(Refused::Form("has no host name"));
        }
        // A last label of digits, or 0x…, is a number to somebody.
        let last = name.rsplit('.').next().unwrap_or_default();
        let number = last.bytes().all(|b| b.is_ascii_digit())
            || last.get(..2).is_some_and(|p| p.eq_ignore_ascii_case("0x"));
        if number {
            return Err(Refused::Form("does not write its host plainly"));
        }
        Ok(())
    }

    /// Decides on an address.
    pub fn check(&self, ip: IpAddr) -> Result<(), Refused> {
        let refuse = |kind| Err(Refused::Address(ip, kind));
        match kind(ip) {
            Some(Kind::Loopback) if self.loopback => Ok(()),
            _ if self.only_loopback => refuse(Kind::NotLoopback),
            Some(Kind::Private) if self.allowed.iter().any(|b| b.holds(ip)) => Ok(()),
            Some(kind) => refuse(kind),
            None => Ok(()),
        }
    }

    /// A name's addresses, all of them allowed: what is returned is what is to be dialled.
    ///
    /// # Errors
    /// A name that cannot be resolved, or one of whose addresses is refused.
    pub async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, Unresolved> {
        self.check_host(host)?;
        let literal = host.trim_start_matches('[').trim_end_matches(']');
        let found = match literal.parse() {
            Ok(ip) => vec![ip],
            Err(_) => (self.lookup)(host.to_owned()).await?,
        };
        if found.is_empty() {
            return Err(Refused::NoAddress(host.to_owned()).into());
        }
        for ip in &found {
            self.check(*ip)?;
        }
        Ok(found)
    }
}

/// Why a name gave no address to dial.
#[derive(Debug, thiserror::Error)]
pub enum Unresolved {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("the name cannot be resolved")]
    Lookup(#[from] std::io::Error),
}

impl Resolve for Door {
    fn resolve(&self, name: Name) -> Resolving {
        let door = self.clone();
        Box::pin(async move {
            let found = Door::resolve(&door, name.as_str()).await?;
            let dial: Addrs = Box::new(found.into_iter().map(|ip| SocketAddr::new(ip, 0)));
            Ok(dial)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door(allow: &[&str], loopback: bool, trust: Trust) -> Door {
        let allow: Vec<String> = allow.iter().map(|s| (*s).to_owned()).collect();
        Door::new(&allow, loopback, trust, system_lookup()).unwrap()
    }

    /// Every way to write an address that must not be dialled.
    const REFUSED_URLS: [&str; 82] = [
        // Loopback, plainly and otherwise.
        "https://127.0.0.1/",
        "https://127.0.0.1:8443/x",
        "https://127.1.2.3/",
        "https://127.1/",
        "https://127.0.1/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0x7f.0x0.0x0.0x1/",
        "https://0x7f.1/",
        "https://0177.0.0.1/",
        "https://00000177.0.0.1/",
        "https://017700000001/",
        "https://127.0.0.1./",
        "https://127.000.000.001/",
        "https://%31%32%37.0.0.1/",
        "https://127%2e0%2e0%2e1/",
        "https://127。0。0。1/",
        "https://１２７.0.0.1/",
        "https://①②⑦.0.0.1/",
        "https://[::1]/",
        "https://[0:0:0:0:0:0:0:1]/",
        "https://[0000::0001]/",
        // Unspecified and this network.
        "https://0.0.0.0/",
        "https://0/",
        "https://0.1.2.3/",
        "https://[::]/",
        // Private and shared networks.
        "https://10.0.0.1/",
        "https://10.255.255.255/",
        "https://172.16.0.1/",
        "https://172.31.255.254/",
        "https://192.168.1.1/",
        "https://3232235777/",
        "https://0xc0a80101/",
        "https://100.64.0.1/",
        "https://100.127.255.254/",
        "https://[fc00::1]/",
        "https://[fd12:3456:789a::1]/",
        "https://[fec0::1]/",
        // Link-local and metadata.
        "https://169.254.169.254/latest/meta-data/",
        "https://169.254.170.2/",
        "https://2852039166/",
        "https://0xa9fea9fe/",
        "https://0251.0376.0251.0376/",
        "https://[fe80::1]/",
        "https://[fe80::1%25eth0]/",
        "https://[fd00:ec2::254]/",
        "https://100.100.100.200/",
        "https://168.63.129.16/",
        "https://192.0.0.192/",
        // IPv4 inside IPv6.
        "https://[::ffff:127.0.0.1]/",
        "https://[::ffff:7f00:1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://[::ffff:8.8.8.8]/",
        "https://[::127.0.0.1]/",
        "https://[::10.0.0.1]/",
        "https://[2002:7f00:1::]/",
        "https://[2002:a00:1::1]/",
        "https://[2002:c0a8:101::]/",
        "https://[64:ff9b::127.0.0.1]/",
        "https://[64:ff9b::a9fe:a9fe]/",
        "https://[64:ff9b:1::10.0.0.1]/",
        "https://[2001:0:7f00:1::]/",
        "https://[2606:4700::5efe:10.0.0.1]/",
        // Multicast, broadcast, reserved, documentation.
        "https://224.0.0.1/",
        "https://239.255.255.250/",
        "https://255.255.255.255/",
        "https://240.0.0.1/",
        "https://192.0.2.1/",
        "https://198.18.0.1/",
        "https://203.0.113.9/",
        "https://[ff02::1]/",
        "https://[2001:db8::1]/",
        // Schemes, users, forms.
        "http://8.8.8.8/",
        "http://127.0.0.1/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:70/",
        "https://user:secret@example.com/",
        "https://example.com@127.0.0.1/",
        "https:\\\\127.0.0.1/",
        "https:/127.0.0.1/",
        "https://exa\tmple.com/",
    ];

    #[test]
    fn addresses_are_refused_however_they_are_written() {
        let door = door(&[], true, Trust::Strict);
        for text in REFUSED_URLS {
            let opened = door.open(text);
            assert!(opened.is_err(), "{text} was let through");
        }
    }

    #[test]
    fn public_addresses_are_let_through() {
        let door = door(&[], false, Trust::Strict);
        for text in [
            "https://bank.example.com/statements",
            "https://BANK.example.com:8443/a?b=c",
            "https://8.8.8.8/",
            "https://[2606:4700::1111]/",
            "https://[64:ff9b::8.8.8.8]/",
            "https://xn--fiqs8s/",
        ] {
            // The parser writes an IPv6 address its own way, and so must the setting.
            let text = text.replace("8.8.8.8]", "808:808]");
            assert!(door.open(&text).is_ok(), "{text}: {:?}", door.open(&text));
        }
    }

    #[test]
    fn loopback_takes_both_the_setting_and_the_trust() {
        for (setting, trust, good) in [
            (true, Trust::Demo, true),
            (true, Trust::Strict, false),
            (false, Trust::Demo, false),
        ] {
            let door = door(&[], setting, trust);
            assert_eq!(door.open("http://127.0.0.1:1/").is_ok(), good);
        }
        // And plain HTTP goes nowhere else.
        let door = door(&["10.0.0.0/8"], true, Trust::Demo);
        assert!(door.open("http://8.8.8.8/").is_err());
        assert!(door.open("http://10.0.0.1/").is_err());
        assert!(door.open("https://10.0.0.1/").is_ok());
    }

    #[test]
    fn a_private_network_is_opened_by_block_and_no_further() {
        let door = door(
            &["10.1.0.0/16", "fd00:ec2::/32", "100.64.0.0/10"],
            false,
            Trust::Strict,
        );
        let good = |text: &str| door.check(text.parse().unwrap()).is_ok();
        assert!(good("10.1.255.1") && good("fd00:ec2::1") && good("100.64.0.1"));
        assert!(!good("10.2.0.1") && !good("192.168.0.1"));
        assert!(!good("fd00:ec2::254") && !good("100.100.100.200"));
        for text in [
            "0.0.0.0/0",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "10.0.0.0/7",
            "8.8.8.0/24",
            "::/0",
            "10.0.0.0",
            "10.0.0.0/33",
            "fe80::/10",
            "x/8",
        ] {
            let wrong = Door::new(&[text.to_owned()], false, Trust::Strict, system_lookup());
            assert!(wrong.is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn one_forbidden_answer_refuses_the_name() {
        let answers = |_: String| -> BoxFuture<'static, std::io::Result<Vec<IpAddr>>> {
            Box::pin(async {
                Ok(vec![
                    "8.8.8.8".parse().unwrap(),
                    "10.0.0.1".parse().unwrap(),
                ])
            })
        };
        let door = Door::new(&[], false, Trust::Strict, Arc::new(answers)).unwrap();
        assert!(door.resolve("bank.example.com").await.is_err());
        assert!(
            Door::resolve(&door, "1.1").await.is_err(),
            "a number is no name"
        );
    }
}
