//! Who gets into trouble, how and when: the script that life and the banks then play.
//!
//! Invariants: an institution plays one part at most, so that findings never blend by accident; a
//! part is bound to a district, so that the city keeps its shape for every seed; trouble whose
//! subject is a bank entry plays at the bank with canonical rows, where the entry's id is public.
//! Absent on purpose: chance. Only amounts and partners come from the seed.

use super::books::Bank;

/// Something an institution, its channel or its bank does wrong on a business day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// A fee reported and never credited.
    NeverBanked,
    /// A fee credited with so many thousandths of its amount.
    Misbanked(i64),
    /// A fee credited so many business days after its window.
    Late(usize),
    /// A fee reported a second time on the next business day.
    ReportedTwice,
    /// A fee credited a second time on the next business day.
    CreditedTwice,
    /// A credit that nobody reported.
    Stray,
    /// A debit of so many thousandths of the balance, on so many business days running.
    Drain(i64, usize),
    /// A release beyond the confirmed lessons.
    Premature,
    /// A refund that, with what was released, exceeds what the contract received.
    OverRefund,
    /// A lesson sent one business day before its order.
    EarlyLesson,
    /// A lesson row with a letter in its amount, sent right the next business day.
    LetterInAmount,
}

/// A lasting state of the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// A custody account in use that was never filed.
    Unfiled,
    /// Prepays and has no account.
    NoCustody,
    /// A risk deposit below its minimum.
    LowDeposit,
    /// A wrong check character.
    BadUscc,
    /// Charges after the lessons: no custody needed.
    PayAfter,
}

/// A statement that does not come as it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Silence {
    /// Delivered so many business days late.
    Late(usize),
    /// Never delivered, on a day without movement.
    Never,
    /// Missing on the last day.
    AtEnd,
    /// Delivered with a balance that does not tie, corrected the next business day.
    Broken,
}

/// What sort of institution a part needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Host {
    Plain,
    /// At the bank with canonical rows.
    Canonical,
    /// Large, at the bank with canonical rows.
    Large,
    /// Releases per contract.
    ByOrder,
    /// Releases per contract and leaves much of what it earned in the account.
    Thrifty,
}

/// A part in the play.
#[derive(Clone, Copy, Debug)]
pub(super) enum Role {
    /// Acts at percentages of the period.
    Acts(Host, &'static [(usize, Act)]),
    Standing(Standing),
    /// A bank's statement fails at a percentage of the period.
    Silent(Bank, usize, Silence),
}

/// At this percentage of the period the file of [`Bank::CamtTwo`] arrives cut short.
pub(super) const TRUNCATED_AT_PERCENT: usize = 40;

use Act::{
    CreditedTwice, Drain, EarlyLesson, Late, LetterInAmount, Misbanked, NeverBanked, OverRefund,
    Premature, ReportedTwice, Stray,
};
use Role::{Acts, Silent};

/// The play: parts by district number (the order of [`super::city::DISTRICTS`]).
pub(super) const PLAY: &[(usize, Role)] = &[
    (0, Acts(Host::Plain, &[(30, Late(2)), (86, NeverBanked)])),
    (0, Role::Standing(Standing::PayAfter)),
    (0, Silent(Bank::CamtEight, 32, Silence::Late(1))),
    (
        1,
        Acts(Host::Plain, &[(66, Misbanked(700)), (90, Misbanked(820))]),
    ),
    (1, Role::Standing(Standing::BadUscc)),
    (1, Silent(Bank::Swift, 48, Silence::Late(2))),
    (
        2,
        Acts(Host::Plain, &[(52, ReportedTwice), (84, NeverBanked)]),
    ),
    (2, Acts(Host::Plain, &[(44, EarlyLesson)])),
    (2, Silent(Bank::Export, 58, Silence::Broken)),
    (3, Acts(Host::Canonical, &[(70, Drain(160, 1))])),
    (3, Acts(Host::Plain, &[(40, Late(4)), (90, NeverBanked)])),
    (
        3,
        Acts(Host::Plain, &[(35, ReportedTwice), (62, ReportedTwice)]),
    ),
    (3, Silent(Bank::Canonical, 64, Silence::Late(1))),
    (3, Acts(Host::Plain, &[(54, LetterInAmount)])),
    (4, Acts(Host::Plain, &[(28, ReportedTwice)])),
    (5, Acts(Host::Plain, &[(26, Late(1)), (70, NeverBanked)])),
    (5, Role::Standing(Standing::NoCustody)),
    (6, Acts(Host::Large, &[(76, Drain(420, 3))])),
    (6, Role::Standing(Standing::PayAfter)),
    (
        7,
        Acts(Host::Canonical, &[(45, Stray), (78, Misbanked(600))]),
    ),
    (8, Role::Standing(Standing::Unfiled)),
    (8, Silent(Bank::CamtEight, 50, Silence::Never)),
    (
        9,
        Acts(Host::Canonical, &[(36, CreditedTwice), (88, NeverBanked)]),
    ),
    (10, Acts(Host::Large, &[(60, Drain(240, 2))])),
    (10, Silent(Bank::Swift, 72, Silence::Late(1))),
    (11, Acts(Host::ByOrder, &[(85, Premature)])),
    (12, Acts(Host::Thrifty, &[(82, NeverBanked)])),
    (12, Acts(Host::Thrifty, &[(58, Premature)])),
    (12, Acts(Host::Plain, &[(91, NeverBanked)])),
    (13, Acts(Host::Thrifty, &[(72, OverRefund)])),
    (
        13,
        Acts(Host::Plain, &[(55, Misbanked(1100)), (87, NeverBanked)]),
    ),
    (
        14,
        Acts(Host::Canonical, &[(62, CreditedTwice), (80, Stray)]),
    ),
    (
        14,
        Acts(Host::Plain, &[(65, Late(5)), (88, Misbanked(500))]),
    ),
    (14, Role::Standing(Standing::PayAfter)),
    (15, Silent(Bank::Swift, 99, Silence::AtEnd)),
    (15, Role::Standing(Standing::LowDeposit)),
    (15, Acts(Host::Thrifty, &[(64, OverRefund)])),
];
