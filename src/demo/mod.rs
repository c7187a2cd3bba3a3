//! A fictional city for the demo: months of bundles and bank files, with the truth about them.
//!
//! What it does: [`simulate`] lives through a plan's business days institution by institution and
//! writes what institutions and banks would send (`interchange.md`): a registry bundle, and for every
//! business day a bundle of new rows and the banks' files **of that same day**, in camt.053 versions
//! 08 and 02, MT940, a GB18030 CSV export, and canonical rows.
//!
//! Invariants: the same seed and plan give the same bytes; every account is stated on every business
//! day and its statements lead from opening to closing and on to the next opening; whatever goes
//! wrong is in [`City::planted`] with the subject a reconciliation under the default policy must
//! name, so that beyond it there is nothing to find but TIMING_GAP and channel fees.
//! The truth comes from the links the simulator makes, never from a matching algorithm.
//!
//! Absent on purpose: real names, codes or numbers of anyone; weekdays (the caller's calendar chooses
//! the business days); the clock; parsing. It writes files and knows nothing of who reads them.

mod acts;
mod banks;
mod books;
mod calendar;
pub(crate) mod chance;
mod city;
mod delivery;
mod flows;
mod life;
mod registry;
mod rows;
mod stated;
#[cfg(test)]
mod tests;
mod trouble;
mod truth;
mod write;

use std::io;
use std::path::{Path, PathBuf};

use crate::base::{Day, DefectCode, FlagCode, Money};

use calendar::Calendar;
use city::Institution;
use delivery::{Delivery, Owned};
use rows::Reported;
pub use stated::{Format, Line, Stated};

/// The most institutions a city may have: ids carry four digits.
pub const MAX_INSTITUTIONS: usize = 9_999;

/// What to simulate. The play is written for about 200 institutions and 60 business days; with far
/// fewer, parts without a host or a day are left out.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub institutions: usize,
    /// Chosen by the caller with its working-day calendar: consecutive working days.
    pub business_days: Vec<Day>,
}

/// A simulated city on disk.
#[derive(Clone, Debug)]
pub struct City {
    /// Oldest first.
    pub days: Vec<DayFiles>,
    /// Districts, institutions, licences, accounts: to be imported before the first day.
    pub registry_bundle: PathBuf,
    /// What a reconciliation must find, by day, code and subject.
    pub planted: Vec<Planted>,
    /// What an import must complain about.
    pub defects: Vec<PlantedDefect>,
}

/// What arrives for one business day: to be imported before that day is reconciled.
#[derive(Clone, Debug)]
pub struct DayFiles {
    pub day: Day,
    pub bundle: PathBuf,
    /// Statement files, by name.
    pub statements: Vec<BankFile>,
}

impl DayFiles {
    /// The bundle and the statement files, as one import takes them.
    pub fn inputs(&self) -> Vec<PathBuf> {
        let statements = self.statements.iter().map(|f| f.path.clone());
        std::iter::once(self.bundle.clone())
            .chain(statements)
            .collect()
    }
}

/// A statement file of a bank.
#[derive(Clone, Debug)]
pub struct BankFile {
    /// The bank's code.
    pub bank: &'static str,
    /// The business day it states, which may lie before the one it comes on.
    pub day: Day,
    pub path: PathBuf,
}

/// One finding that a correct reconciliation under the default policy makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planted {
    pub code: FlagCode,
    pub institution_id: String,
    /// The sender's id, of the kind that `interchange.md` names for the code.
    pub subject: String,
    /// First business day on which a reconciliation can see it.
    pub day: Day,
    /// First business day on which it is no longer true; `None` = still true on the last day, or a
    /// fact that nobody corrects.
    pub cured: Option<Day>,
    /// On its first day; signed (bank less reported) for AMOUNT_MISMATCH.
    pub amount: Money,
}

/// One defect that a correct import reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlantedDefect {
    pub code: DefectCode,
    /// The business day whose files carry it.
    pub day: Day,
    /// The file's name, or its stem where the name carries a date.
    pub file: String,
    /// The row's id, the account, or the bank.
    pub subject: String,
}

/// Simulates a city and writes it into `out`, a folder that is new or empty.
///
/// # Errors
/// A plan without business days or with too many institutions, or a file that cannot be written.
pub fn simulate(plan: &Plan, out: &Path) -> io::Result<City> {
    let world = build(plan)?;
    let registry_bundle = write::registry(&world, out)?;
    let days = 0..world.calendar.len();
    let days = days
        .map(|i| write::day(&world, i, out))
        .collect::<io::Result<Vec<_>>>()?;
    Ok(City {
        days,
        registry_bundle,
        planted: world.planted,
        defects: world.defects,
    })
}

/// A lived city, not yet written.
struct World {
    calendar: Calendar,
    institutions: Vec<Institution>,
    accounts: Vec<Owned>,
    days: Vec<Reported>,
    delivery: Delivery,
    planted: Vec<Planted>,
    defects: Vec<PlantedDefect>,
}

fn build(plan: &Plan) -> io::Result<World> {
    let calendar = Calendar::new(&plan.business_days);
    if calendar.len() == 0 || plan.institutions > MAX_INSTITUTIONS {
        let problem = format!(
            "simulate a city of {} business days and {} institutions: need at least one day and at \
             most {MAX_INSTITUTIONS} institutions",
            calendar.len(),
            plan.institutions
        );
        return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
    }
    let start = calendar.day(0);
    let institutions = city::institutions(plan.seed, plan.institutions);
    let mut planted = registry::planted(&institutions, start);
    let mut defects = registry::defects(&institutions, start);
    let mut days = vec![Reported::default(); calendar.len()];
    let mut accounts = Vec::new();
    for (index, institution) in institutions.iter().enumerate() {
        let lived = life::live(plan.seed, institution, &calendar, &mut days);
        let deposit = registry::deposit_book(institution, lived.contracted, calendar.len());
        let books = lived.book.into_iter().chain(deposit);
        accounts.extend(books.map(|book| Owned {
            institution: index,
            book,
        }));
        planted.extend(lived.planted);
        defects.extend(lived.defects);
    }
    let delivery = delivery::plan(&institutions, &accounts, &calendar);
    planted.extend(delivery.planted.iter().cloned());
    defects.extend(delivery.defects.iter().cloned());
    planted.sort_by(|a, b| {
        (a.day, a.code.number(), &a.subject).cmp(&(b.day, b.code.number(), &b.subject))
    });
    defects.sort_by(|a, b| {
        (a.day, a.code.number(), &a.subject).cmp(&(b.day, b.code.number(), &b.subject))
    });
    Ok(World {
        calendar,
        institutions,
        accounts,
        days,
        delivery,
        planted,
        defects,
    })
}
