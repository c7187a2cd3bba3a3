//! Banks that do not always do what was agreed: statements with seeded trouble, for trying feeds out.
//!
//! [`Sim::new`] lives through a plan's days and decides what each bank delivers, when, and what goes wrong;
//! [`SimBank::visible`] says what a bank shows on a day, [`drop_files`] writes the same into a folder, and
//! [`Manifest`] tells the truth and every trouble that was planted, so that a test can compare. [`sftp`] serves
//! the same over SFTP, [`tls`] makes certificates; serving it over HTTP is `web`'s.
//!
//! Invariants: the same plan gives the same bytes, the same trouble and the same manifest; the true
//! statement of every account and day is delivered sooner or later, whatever comes before, behind or beside
//! it, unless the trouble is that it never is ([`Trouble::Never`], [`Trouble::LostPage`], [`Trouble::Adrift`]); a day that is adrift
//! stands between two without trouble; lines without any reference are of the truth, not trouble; trouble on
//! the wire depends on the number of the request alone.
//! Absent on purpose: the clock, which is the caller's; parsing; money that means anything.

mod door;
mod life;
#[cfg(feature = "sftp")]
pub mod sftp;
pub mod tls;

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use crate::base::Day;
use crate::demo::Format;

pub use door::{Admitted, Door, Shown};

/// The most accounts of one bank, and the most days, of a plan.
pub const ACCOUNTS_MAX: usize = 10_000;
pub const DAYS_MAX: usize = 400;
/// Requests of one bank for which trouble on the wire is planned; later ones are answered plainly.
pub const REQUESTS_PLANNED: usize = 2_000;

/// The banks there may be: name in addresses, format.
pub const BANKS: [(&str, Format); 12] = [
    ("sim-a", Format::Camt08),
    ("sim-b", Format::Camt02),
    ("sim-c", Format::Mt940),
    ("sim-d", Format::Csv),
    ("sim-e", Format::Camt08),
    ("sim-f", Format::Camt02),
    ("sim-g", Format::Mt940),
    ("sim-h", Format::Csv),
    ("sim-i", Format::Camt08),
    ("sim-j", Format::Camt02),
    ("sim-k", Format::Mt940),
    ("sim-l", Format::Csv),
];
/// How many of them there are unless a plan says otherwise: one of each format.
pub const BANKS_USUAL: usize = 4;

/// Says which day it is at the banks.
pub type Today = Arc<dyn Fn() -> Day + Send + Sync>;

/// What to simulate.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    /// Days with a statement of every account, oldest first.
    pub days: Vec<Day>,
    /// How many of [`BANKS`] there are.
    pub banks: usize,
    /// How many of them, the last ones, never deliver anything.
    pub absent: usize,
    /// Accounts of each bank.
    pub accounts: usize,
    /// Out of a thousand account-days, how many have trouble with their files.
    pub trouble_permille: i64,
    /// Out of a thousand requests, how many begin trouble on the wire.
    pub wire_permille: i64,
}

/// What goes wrong with an account-day's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Trouble {
    /// Comes some days after it was owed.
    Late,
    /// Comes twice, the same bytes under two names.
    Duplicate,
    /// Comes cut short, and whole on the next day.
    Truncated,
    /// Comes without its last line, and right on the next day under the same statement number.
    Corrected,
    /// Comes after the statement of the day after it.
    Reordered,
    /// A second statement of the day, of another number, says something else.
    Contradicting,
    /// Does not come at all.
    Never,
    /// Opens and closes with a yuan more than is true; the days before and after are right.
    Adrift,
    /// Comes right, and on the next day comes the wrong one it had corrected, without its last line, under
    /// the same number and made earlier.
    Overtaken,
    /// Comes in two numbered pages, the second one a day after the first.
    LatePage,
    /// Comes in two numbered pages, of which the second one is lost.
    LostPage,
}

impl Trouble {
    /// Whether the true statement is never shown, or not as a whole.
    const fn hides_the_truth(self) -> bool {
        matches!(self, Trouble::Never | Trouble::LostPage)
    }
}

/// What goes wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WireTrouble {
    ServerError,
    TooMany,
    /// Accepted and never answered.
    BlackHole,
}

/// A file a bank delivers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    pub name: String,
    /// The business day it states.
    pub day: Day,
    /// The first day on which the bank shows it.
    pub visible_from: Day,
    pub bytes: Vec<u8>,
}

/// One bank's deliveries in the order they are shown, and its trouble on the wire.
#[derive(Clone, Debug)]
pub struct SimBank {
    pub name: &'static str,
    pub deliveries: Vec<Delivery>,
    /// By number of the request, counted from 0.
    pub wire: Vec<Option<WireTrouble>>,
    /// What it asks of whoever asks it over HTTP.
    pub door: Door,
}

/// What is true, and what was planted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Manifest {
    pub schema: &'static str,
    pub seed: u64,
    pub statements: Vec<Truth>,
    pub planted: Vec<Planted>,
    pub wire: Vec<PlantedWire>,
}

/// The true statement of an account's day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Truth {
    pub bank: &'static str,
    pub account_id: String,
    pub day: Day,
    pub number: usize,
    pub opening_fen: i64,
    pub closing_fen: i64,
    pub lines: usize,
    /// How many of them are fees that no id and no reference tells apart.
    pub fees: usize,
    /// The file that states it.
    pub file: String,
    /// When that file is first shown, if ever.
    pub visible_from: Option<Day>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Planted {
    pub bank: &'static str,
    pub account_id: String,
    pub day: Day,
    pub trouble: Trouble,
    /// The file that is wrong, late or too many.
    pub file: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlantedWire {
    pub bank: &'static str,
    pub request: usize,
    pub trouble: WireTrouble,
}

/// The simulated banks.
#[derive(Clone, Debug)]
pub struct Sim {
    pub banks: Vec<SimBank>,
    pub manifest: Manifest,
}

impl Sim {
    /// Lives through a plan.
    pub fn new(plan: &Plan) -> Sim {
        life::live(plan)
    }

    pub fn bank(&self, name: &str) -> Option<&SimBank> {
        self.banks.iter().find(|b| b.name == name)
    }
}

impl SimBank {
    /// What the bank shows on a day of the days that are asked for.
    pub fn visible(&self, first: Day, last: Day, today: Day) -> Vec<&Delivery> {
        let asked = |d: &&Delivery| d.day >= first && d.day <= last && d.visible_from <= today;
        self.deliveries.iter().filter(asked).collect()
    }
}

/// Writes what banks show on a day into `folder/BANK`, as a careful gateway does: under another name, then
/// renamed, then its companion. Files that are there already are left.
///
/// # Errors
/// A folder that cannot be written.
pub fn drop_files(sim: &Sim, today: Day, folder: &Path) -> io::Result<usize> {
    let mut written = 0;
    for bank in &sim.banks {
        let folder = folder.join(bank.name);
        fs::create_dir_all(&folder)?;
        for delivery in bank.visible(Day::MIN, Day::MAX, today) {
            let path = folder.join(&delivery.name);
            if path.exists() {
                continue;
            }
            let part = folder.join(format!("{}.part", delivery.name));
            fs::write(&part, &delivery.bytes)?;
            fs::rename(&part, &path)?;
            fs::write(folder.join(format!("{}.ok", delivery.name)), b"")?;
            written += 1;
        }
    }
    Ok(written)
}

/// Writes a bundle that makes the accounts known: one district, one institution a bank.
///
/// # Errors
/// A folder that cannot be written.
pub fn write_registry(sim: &Sim, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let mut institutions = "institution_id,district_id,name\n".to_owned();
    let mut accounts =
        "account_id,institution_id,kind,min_deposit_fen,status,bank_code\n".to_owned();
    for bank in &sim.banks {
        let code = bank.name;
        institutions += &format!("{code},SIM,模拟机构{code}\n");
        let own = sim
            .manifest
            .statements
            .iter()
            .filter(|t| t.bank == bank.name);
        let ids: std::collections::BTreeSet<&str> = own.map(|t| t.account_id.as_str()).collect();
        for id in ids {
            accounts += &format!("{id},{code},CUSTODY,0,filed,{code}\n");
        }
    }
    fs::write(
        folder.join("districts.csv"),
        "district_id,name\nSIM,模拟区\n",
    )?;
    fs::write(folder.join("institutions.csv"), institutions)?;
    fs::write(folder.join("accounts.csv"), accounts)
}

/// Writes a new file that only its owner reads.
fn write_own(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)
}
