//! The files of a bundle and their columns, as the contract names them (`interchange.md`).

/// The files of a bundle, in the order they must be read: parents before children.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FileKind {
    Districts,
    Institutions,
    Licences,
    Accounts,
    Orders,
    Payments,
    Lessons,
    Refunds,
    Releases,
    Settlements,
    Freezes,
    BankStatements,
    BankEntries,
}

impl FileKind {
    pub const ALL: [FileKind; 13] = [
        FileKind::Districts,
        FileKind::Institutions,
        FileKind::Licences,
        FileKind::Accounts,
        FileKind::Orders,
        FileKind::Payments,
        FileKind::Lessons,
        FileKind::Refunds,
        FileKind::Releases,
        FileKind::Settlements,
        FileKind::Freezes,
        FileKind::BankStatements,
        FileKind::BankEntries,
    ];

    /// The file's name without `.csv`.
    pub const fn stem(self) -> &'static str {
        match self {
            FileKind::Districts => "districts",
            FileKind::Institutions => "institutions",
            FileKind::Licences => "licences",
            FileKind::Accounts => "accounts",
            FileKind::Orders => "orders",
            FileKind::Payments => "payments",
            FileKind::Lessons => "lessons",
            FileKind::Refunds => "refunds",
            FileKind::Releases => "releases",
            FileKind::Settlements => "settlements",
            FileKind::Freezes => "freezes",
            FileKind::BankStatements => "bank_statements",
            FileKind::BankEntries => "bank_entries",
        }
    }

    pub fn from_stem(stem: &str) -> Option<FileKind> {
        FileKind::ALL.into_iter().find(|kind| kind.stem() == stem)
    }

    /// The kind of a file named `payments.csv`.
    pub fn from_file_name(name: &str) -> Option<FileKind> {
        FileKind::from_stem(name.strip_suffix(".csv")?)
    }

    /// A file of facts, each with an id of its own in the first column.
    pub const fn is_fact(self) -> bool {
        matches!(
            self,
            FileKind::Payments
                | FileKind::Lessons
                | FileKind::Refunds
                | FileKind::Releases
                | FileKind::BankEntries
        )
    }

    /// Column names; those that may be absent end in `?`.
    pub const fn columns(self) -> &'static [&'static str] {
        match self {
            FileKind::Districts => &[
                "district_id",
                "name",
                "kind?",
                "gb_code?",
                "parent_id?",
                "tile_col?",
                "tile_row?",
            ],
            FileKind::Institutions => &[
                "institution_id",
                "district_id",
                "name",
                "uscc?",
                "licence_kind?",
                "licence_no?",
                "licence_from?",
                "licence_to?",
                "department?",
                "category?",
                "subject?",
                "prepays?",
                "status?",
                "platform_since?",
                "opened_on?",
                "custody_mode?",
            ],
            FileKind::Licences => &[
                "licence_no",
                "name",
                "uscc?",
                "district_id",
                "department",
                "licence_from?",
                "licence_to?",
                "status?",
            ],
            FileKind::Accounts => &[
                "account_id",
                "institution_id",
                "kind",
                "min_deposit_fen",
                "bank_code?",
                "branch_district_id?",
                "agreement_no?",
                "agreement_from?",
                "agreement_to?",
                "filed_on?",
                "status?",
            ],
            FileKind::Orders => &[
                "order_id",
                "institution_id",
                "student_id",
                "ordered_on",
                "lessons",
                "unit_price_fen",
                "amount_fen",
                "gift_lessons?",
                "list_price_fen?",
                "subject_group?",
                "kind?",
                "starts_on?",
                "ends_on?",
                "extras_fen?",
            ],
            FileKind::Payments => &[
                "payment_id",
                "order_id",
                "institution_id",
                "account_id",
                "paid_on",
                "channel",
                "reference",
                "amount_fen",
            ],
            FileKind::Lessons => &[
                "consumption_id",
                "order_id",
                "consumed_on",
                "lessons",
                "amount_fen",
                "state?",
                "confirmed_on?",
            ],
            FileKind::Refunds => &[
                "refund_id",
                "order_id",
                "refunded_on",
                "amount_fen",
                "requested_on?",
                "agreed_on?",
                "cause?",
                "state?",
            ],
            FileKind::Releases => &[
                "release_id",
                "account_id",
                "approved_on",
                "amount_fen",
                "order_id?",
            ],
            FileKind::Settlements => &[
                "batch_no",
                "channel",
                "account_id",
                "period_from",
                "period_to",
                "gross_fen",
                "fee_fen",
                "refund_fen",
                "net_fen",
                "expected_on?",
            ],
            FileKind::Freezes => &[
                "account_id",
                "kind",
                "document_no",
                "amount_fen?",
                "from?",
                "to?",
            ],
            FileKind::BankStatements => &["account_id", "date", "opening_fen", "closing_fen"],
            FileKind::BankEntries => &[
                "entry_id",
                "account_id",
                "booked_on",
                "code",
                "direction",
                "amount_fen",
                "reference",
                "memo",
                "value_on?",
                "counterparty?",
            ],
        }
    }
}
