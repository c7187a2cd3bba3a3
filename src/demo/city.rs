//! The fictional city: sixteen districts and its institutions, all plainly made up.
//!
//! Invariants: names begin with 示例; an institution's district, name and account numbers depend on
//! its number alone; whoever plays a part in [`super::trouble`] gets what the part needs. Zones
//! without a GB/T 2260 code carry none: a code is never invented.

use crate::base::uscc;

use super::books::Bank;
use super::chance::Chance;
use super::trouble::{Act, Host, PLAY, Role, Silence, Standing};

/// A district of the city with its place on the tile grid and its share of institutions.
pub(super) struct District {
    pub(super) id: &'static str,
    pub(super) name: &'static str,
    /// False for a function zone without a code of its own.
    pub(super) coded: bool,
    pub(super) tile: (u8, u8),
    weight: usize,
}

const fn unit(id: &'static str, name: &'static str, tile: (u8, u8), weight: usize) -> District {
    District {
        id,
        name,
        coded: true,
        tile,
        weight,
    }
}

const fn zone(id: &'static str, name: &'static str, tile: (u8, u8), weight: usize) -> District {
    District {
        id,
        name,
        coded: false,
        tile,
        weight,
    }
}

/// The districts, placed as the units lie (column, row).
pub(super) const DISTRICTS: [District; 16] = [
    unit("410102", "中原区", (3, 2), 14),
    unit("410103", "二七区", (3, 3), 14),
    unit("410104", "管城回族区", (4, 3), 12),
    unit("410105", "金水区", (4, 2), 26),
    unit("410106", "上街区", (2, 1), 5),
    unit("410108", "惠济区", (4, 1), 9),
    unit("410122", "中牟县", (6, 2), 12),
    unit("410181", "巩义市", (1, 2), 9),
    unit("410182", "荥阳市", (2, 2), 12),
    unit("410183", "新密市", (2, 3), 10),
    unit("410184", "新郑市", (4, 4), 13),
    unit("410185", "登封市", (1, 3), 8),
    zone("ZZ-ZD", "郑东新区", (5, 2), 20),
    zone("ZZ-JK", "经开区", (5, 3), 13),
    zone("ZZ-GX", "高新区", (3, 1), 16),
    zone("ZZ-HK", "航空港区", (6, 3), 10),
];

/// How families' money is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Bank,
    Deposit,
    Hybrid,
    None,
}

impl Mode {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Mode::Bank => "bank",
            Mode::Deposit => "deposit",
            Mode::Hybrid => "hybrid",
            Mode::None => "none",
        }
    }
}

/// An institution as the registry and the play know it.
#[derive(Clone, Debug)]
pub(super) struct Institution {
    /// Counted from 1.
    pub(super) number: usize,
    pub(super) id: String,
    pub(super) district: usize,
    pub(super) name: String,
    pub(super) uscc: String,
    /// Index into [`SUBJECTS`].
    pub(super) subject: usize,
    pub(super) mode: Mode,
    pub(super) bank: Bank,
    /// How many families it teaches, from 1.
    pub(super) size: i64,
    /// Collects through acquirers (POS, QR) in daily batches.
    pub(super) batchy: bool,
    /// Acquirers charge it no fee.
    pub(super) free_acquiring: bool,
    /// Releases name their contract.
    pub(super) by_order: bool,
    /// Leaves much of what it earned in the account.
    pub(super) thrifty: bool,
    pub(super) standing: Option<Standing>,
    pub(super) acts: Vec<(usize, Act)>,
    pub(super) silence: Option<(usize, Silence)>,
}

impl Institution {
    /// True for an institution that plays no part.
    #[cfg(test)]
    pub(super) fn is_plain(&self) -> bool {
        self.standing.is_none() && self.acts.is_empty() && self.silence.is_none()
    }

    /// The account that collects fees, if there is one.
    pub(super) fn collecting_account(&self) -> Option<String> {
        match self.mode {
            Mode::None => None,
            Mode::Deposit => Some(account_number(self.number, 2)),
            Mode::Bank | Mode::Hybrid => Some(account_number(self.number, 1)),
        }
    }

    /// The risk-deposit account, if there is one.
    pub(super) fn deposit_account(&self) -> Option<String> {
        matches!(self.mode, Mode::Deposit | Mode::Hybrid).then(|| account_number(self.number, 3))
    }

    /// The least risk deposit its agreement asks for, in fen.
    pub(super) fn min_deposit(&self) -> i64 {
        if self.standing == Some(Standing::LowDeposit) {
            return LOW_DEPOSIT_MINIMUM_FEN;
        }
        MIN_DEPOSIT_FEN * (1 + i64::try_from(self.number % 3).unwrap_or(0))
    }
}

/// The usual least risk deposit, 100,000 yuan.
const MIN_DEPOSIT_FEN: i64 = 10_000_000;
/// The minimum of the institution whose deposit is too low: far above what its contracts require.
const LOW_DEPOSIT_MINIMUM_FEN: i64 = 40_000_000;

/// A subject: its Chinese name, the supervising department and the subject group.
pub(super) const SUBJECTS: [(&str, &str, &str); 13] = [
    ("艺术", "culture_tourism", "arts"),
    ("音乐", "culture_tourism", "arts"),
    ("美术", "culture_tourism", "arts"),
    ("书法", "culture_tourism", "arts"),
    ("舞蹈", "culture_tourism", "arts"),
    ("体育", "sports", "sports"),
    ("足球", "sports", "sports"),
    ("游泳", "sports", "sports"),
    ("编程", "scitech", "scitech"),
    ("机器人", "scitech", "scitech"),
    ("科学", "scitech", "scitech"),
    ("文化课", "education", "academic"),
    ("英语", "education", "academic"),
];

const STEMS: [&str; 24] = [
    "星辰", "晨曦", "云帆", "青禾", "知行", "博雅", "启明", "致远", "墨香", "乐知", "百川", "朝阳",
    "春晖", "弘毅", "思源", "明德", "远航", "雅韵", "童趣", "新芽", "锦程", "沐光", "立德", "求真",
];

/// Makes `count` institutions: drafts, then parts, district by district.
pub(super) fn institutions(seed: u64, count: usize) -> Vec<Institution> {
    let mut made: Vec<Institution> = (0..count).map(|i| draft(seed, i, count)).collect();
    let mut taken = vec![0_usize; DISTRICTS.len()];
    for (district, role) in PLAY {
        let host = made
            .iter_mut()
            .filter(|i| i.district == *district)
            .nth(taken[*district]);
        taken[*district] += 1;
        if let Some(host) = host {
            cast(host, *role);
        }
    }
    made
}

/// An account's number: digits only, the institution's number and the role inside.
fn account_number(number: usize, role: usize) -> String {
    let opaque = (number * 7_654_321 + 1_234_567) % 10_000_000;
    format!("62170{number:04}{opaque:07}{role}")
}

fn draft(seed: u64, index: usize, count: usize) -> Institution {
    let mut chance = Chance::new(seed, 1_000_000 + u64::try_from(index).unwrap_or(0));
    let number = index + 1;
    let district = district_of(index, count);
    let pair = (index * 25) % (STEMS.len() * SUBJECTS.len());
    let subject = pair / STEMS.len();
    let round = index / (STEMS.len() * SUBJECTS.len());
    let suffix = if round == 0 {
        String::new()
    } else {
        format!("{}分校", round + 1)
    };
    let stem = STEMS[pair % STEMS.len()];
    let name = format!("示例{stem}{}培训中心{suffix}", SUBJECTS[subject].0);
    let mode = match chance.between(0, 999) {
        0..=149 => Mode::Hybrid,
        150..=229 => Mode::Deposit,
        _ => Mode::Bank,
    };
    let bank = match chance.between(0, 999) {
        0..=349 => Bank::CamtEight,
        350..=499 => Bank::CamtTwo,
        500..=739 => Bank::Swift,
        740..=789 => Bank::Export,
        _ => Bank::Canonical,
    };
    // Fees would blur contracts one by one: whoever releases by contract collects without acquirers.
    let by_order = chance.permille(300);
    let batchy = !by_order && chance.permille(450);
    Institution {
        number,
        id: format!("I{number:04}"),
        district,
        name,
        uscc: uscc_of(number, district, false),
        subject,
        mode,
        bank,
        size: chance.pick([1, 1, 2, 2, 2, 3, 3, 4]),
        batchy,
        free_acquiring: chance.permille(250),
        by_order,
        thrifty: false,
        standing: None,
        acts: Vec::new(),
        silence: None,
    }
}

/// The district of the `index`-th of `count` institutions, by the districts' weights.
fn district_of(index: usize, count: usize) -> usize {
    let total: usize = DISTRICTS.iter().map(|d| d.weight).sum();
    let mut place = index * total / count.max(1);
    for (i, district) in DISTRICTS.iter().enumerate() {
        if place < district.weight {
            return i;
        }
        place -= district.weight;
    }
    DISTRICTS.len() - 1
}

/// A synthetic code of a non-profit body, with a right or a wrong check character.
fn uscc_of(number: usize, district: usize, wrong: bool) -> String {
    let area = if DISTRICTS[district].coded {
        DISTRICTS[district].id
    } else {
        "410100"
    };
    let first = format!("52{area}MJD{number:06}");
    let check = uscc::check_char(first.as_bytes()).unwrap_or('0');
    let other = if check == '7' { '8' } else { '7' };
    format!("{first}{}", if wrong { other } else { check })
}

/// Gives an institution a part, and what the part needs. Troubled institutions keep plain bank
/// custody and collect payment by payment, so that their findings can be told from one another.
fn cast(host: &mut Institution, role: Role) {
    host.mode = Mode::Bank;
    if host.bank == Bank::CamtTwo {
        host.bank = Bank::CamtEight; // the truncated file would hide what the part shows
    }
    host.batchy = false;
    host.by_order = false;
    host.size = 2;
    match role {
        Role::Acts(kind, acts) => {
            host.acts = acts.to_vec();
            match kind {
                Host::Plain => {}
                Host::Canonical => host.bank = Bank::Canonical,
                Host::Large => {
                    host.bank = Bank::Canonical;
                    host.size = 6;
                }
                Host::ByOrder => host.by_order = true,
                Host::Thrifty => {
                    host.by_order = true;
                    host.thrifty = true;
                    host.size = 4;
                }
            }
        }
        Role::Standing(standing) => {
            host.standing = Some(standing);
            match standing {
                Standing::Unfiled => host.size = 1,
                Standing::NoCustody | Standing::PayAfter => host.mode = Mode::None,
                Standing::LowDeposit => {
                    host.mode = Mode::Deposit;
                    host.size = 1;
                }
                Standing::BadUscc => host.uscc = uscc_of(host.number, host.district, true),
            }
        }
        Role::Silent(bank, percent, silence) => {
            host.bank = bank;
            host.size = if silence == Silence::AtEnd { 1 } else { 3 };
            host.silence = Some((percent, silence));
        }
    }
}
