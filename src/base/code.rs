//! The catalogue: every defect and flag the product can name, each with its words and its remedy.
//!
//! A code is public: it stands in the database, the API, reports and pages, and never changes its
//! meaning. Chinese names follow `domain.md` §8.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How loudly a finding calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Watch.
    Watch,
    /// Amber: cure within the deadline.
    Amber,
    /// Red: same-day notice.
    Red,
}

impl Severity {
    pub const ALL: [Severity; 3] = [Severity::Red, Severity::Amber, Severity::Watch];

    pub const fn as_str(self) -> &'static str {
        match self {
            Severity::Watch => "watch",
            Severity::Amber => "amber",
            Severity::Red => "red",
        }
    }

    pub const fn number(self) -> i64 {
        match self {
            Severity::Watch => 1,
            Severity::Amber => 2,
            Severity::Red => 3,
        }
    }

    pub const fn from_number(number: i64) -> Option<Severity> {
        match number {
            1 => Some(Severity::Watch),
            2 => Some(Severity::Amber),
            3 => Some(Severity::Red),
            _ => None,
        }
    }

    pub const fn chinese(self) -> &'static str {
        match self {
            Severity::Watch => "关注",
            Severity::Amber => "黄色预警",
            Severity::Red => "红色预警",
        }
    }
}

macro_rules! catalogue {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $number:literal, $code:literal, $chinese:literal, $advice:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $(#[doc = $advice] $variant,)* }

        impl $name {
            pub const ALL: &'static [$name] = &[$($name::$variant),*];

            /// The public code.
            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $code,)* }
            }

            /// The number the database keeps.
            pub const fn number(self) -> i64 {
                match self { $($name::$variant => $number,)* }
            }

            pub const fn from_number(number: i64) -> Option<$name> {
                match number { $($number => Some($name::$variant),)* _ => None }
            }

            /// The Chinese name.
            pub const fn chinese(self) -> &'static str {
                match self { $($name::$variant => $chinese,)* }
            }

            /// One line of advice.
            pub const fn advice(self) -> &'static str {
                match self { $($name::$variant => $advice,)* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(self.as_str()) }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(self.as_str())
            }
        }
    };
}

catalogue! {
    /// What a reconciliation run can find (`domain.md` §8).
    FlagCode {
        UncoveredFunds = 1, "UNCOVERED_FUNDS", "资金未覆盖", "top up the custody account to the required amount";
        TimingGap = 2, "TIMING_GAP", "在途差异", "wait for the channel's window; nothing to do yet";
        AmountMismatch = 3, "AMOUNT_MISMATCH", "金额不符", "compare the payment with the bank line and correct the wrong side";
        LateCredit = 4, "LATE_CREDIT", "迟到入账", "ask the channel why the money came after its window";
        DuplicateReport = 5, "DUPLICATE_REPORT", "重复上报", "void the second report of the payment";
        DuplicateCredit = 6, "DUPLICATE_CREDIT", "重复入账", "find out whether the bank credited twice or a second payment lacks its report";
        TransitOverdue = 7, "TRANSIT_OVERDUE", "在途超期", "prove where the money is; it belongs in the custody account";
        UnmatchedCredit = 8, "UNMATCHED_CREDIT", "不明入账", "report the order behind the credit, or return the money";
        UnauthorisedDebit = 9, "UNAUTHORISED_DEBIT", "非授权支出", "return the money and explain who moved it";
        FeedMissing = 10, "FEED_MISSING", "数据缺报", "send the bank statement of the day";
        FeedBroken = 11, "FEED_BROKEN", "数据断裂", "send the statement again: its lines do not lead from opening to closing";
        DepositBelowMin = 12, "DEPOSIT_BELOW_MIN", "保证金不足", "top up the risk deposit to its minimum";
        NoCustody = 13, "NO_CUSTODY", "未托管", "sign and file a custody or risk-deposit agreement";
        UnfiledAccount = 14, "UNFILED_ACCOUNT", "账户未备案", "file the account with the supervising department";
        NegativeContract = 15, "NEGATIVE_CONTRACT", "合同负余额", "return what was paid out beyond what the contract received";
        ContractShort = 16, "CONTRACT_SHORT", "合同级缺口", "show whose money covers this contract; other families' money may not";
        PrematureRelease = 17, "PREMATURE_RELEASE", "提前拨付", "return what was released beyond confirmed lessons";
    }
}

catalogue! {
    /// What can be wrong with a file, a statement or a row.
    DefectCode {
        UnknownFormat = 1, "UNKNOWN_FORMAT", "无法识别的格式", "send a statement or bundle in a supported format";
        BadEncoding = 2, "BAD_ENCODING", "编码错误", "send it again, complete to its last byte, as UTF-8; a statement or bill may be GB18030";
        Truncated = 3, "TRUNCATED", "文件不完整", "send the whole file again; its end is missing";
        Malformed = 4, "MALFORMED", "结构错误", "correct the structure at the place named";
        Forbidden = 5, "FORBIDDEN", "含禁止内容", "remove what the format may not carry (DOCTYPE, entities, excessive depth)";
        TooLarge = 6, "TOO_LARGE", "超出限制", "shorten or split it, or raise the limit the message names";
        MissingColumn = 7, "MISSING_COLUMN", "缺少列", "add the column to the header line";
        MissingValue = 8, "MISSING_VALUE", "缺少值", "fill in the field";
        BadAmount = 9, "BAD_AMOUNT", "金额错误", "write the amount in digits";
        BadDate = 10, "BAD_DATE", "日期错误", "write the date as YYYY-MM-DD";
        BadCode = 11, "BAD_CODE", "取值错误", "use one of the values the format allows";
        BadId = 12, "BAD_ID", "编号错误", "use an id of 1 to 64 characters";
        UnknownParent = 13, "UNKNOWN_PARENT", "上级记录未知", "send the record it refers to; the row waits and is tried again";
        UnknownAccount = 14, "UNKNOWN_ACCOUNT", "账户未知", "register the account (accounts.csv) before sending its statement";
        Unbalanced = 15, "UNBALANCED", "余额不平", "the lines do not lead from opening to closing; send the statement again";
        NoBalances = 16, "NO_BALANCES", "无余额", "ask the bank for a statement with opening and closing balance";
        OneSided = 17, "ONE_SIDED", "仅有一侧余额", "ask the bank for a statement with both its opening and its closing balance";
        Conflict = 18, "CONFLICT", "与已存记录冲突", "a different record of this identity is stored; send a correction the bank confirms";
        DeclaredTotals = 19, "DECLARED_TOTALS", "声明合计不符", "the totals the file declares differ from its lines";
        UnpricedOrder = 20, "UNPRICED_ORDER", "单价与总价不符", "lessons × unit price differs from the amount; the amount binds";
        BadUscc = 21, "BAD_USCC", "统一社会信用代码校验错误", "correct the unified social credit code";
        OutOfOrder = 22, "OUT_OF_ORDER", "余额链不连续", "ask the bank for the export again, whole and in one order";
        Duplicate = 23, "DUPLICATE", "重复", "the same statement or line appears twice";
        Gap = 24, "GAP", "不连续", "the opening balance differs from the previous closing; a statement is missing";
        Unreadable = 25, "UNREADABLE", "无法读取", "check that the file exists and may be read";
    }
}

/// Where a defect sits: file, line (or element), column; each as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Place {
    pub file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
}

/// Bad data as a value: what, where, and what was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defect {
    pub code: DefectCode,
    pub place: Place,
    /// What was found, in one sentence without a final stop.
    pub found: String,
}

impl Defect {
    /// U+0000 is shown as the replacement character: no database keeps it in a text.
    pub fn new(code: DefectCode, found: impl Into<String>) -> Defect {
        let mut found = found.into();
        if found.contains('\0') {
            found = found.replace('\0', "\u{fffd}");
        }
        Defect {
            code,
            place: Place::default(),
            found,
        }
    }

    #[must_use]
    pub fn line(mut self, line: u64) -> Defect {
        self.place.line = Some(line);
        self
    }

    #[must_use]
    pub fn column(mut self, column: impl Into<String>) -> Defect {
        self.place.column = Some(column.into());
        self
    }

    #[must_use]
    pub fn file(mut self, file: impl Into<String>) -> Defect {
        self.place.file = file.into();
        self
    }
}

impl Serialize for Defect {
    /// Flat: code, file, line?, column?, found, remedy.
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Flat<'a> {
            code: DefectCode,
            #[serde(flatten)]
            place: &'a Place,
            found: &'a str,
            remedy: &'a str,
        }
        let flat = Flat {
            code: self.code,
            place: &self.place,
            found: &self.found,
            remedy: self.code.advice(),
        };
        flat.serialize(s)
    }
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.place.file.is_empty() {
            write!(f, "{}: ", self.place.file)?;
        }
        if let Some(line) = self.place.line {
            write!(f, "line {line}: ")?;
        }
        if let Some(column) = &self.place.column {
            write!(f, "{column}: ")?;
        }
        write!(f, "{} [{}]; {}", self.found, self.code, self.code.advice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_codes_are_unique_and_reversible() {
        for (i, code) in FlagCode::ALL.iter().enumerate() {
            assert_eq!(FlagCode::from_number(code.number()), Some(*code));
            assert!(
                FlagCode::ALL[i + 1..]
                    .iter()
                    .all(|other| other.as_str() != code.as_str())
            );
        }
        for (i, code) in DefectCode::ALL.iter().enumerate() {
            assert_eq!(DefectCode::from_number(code.number()), Some(*code));
            assert!(
                DefectCode::ALL[i + 1..]
                    .iter()
                    .all(|other| other.as_str() != code.as_str())
            );
        }
    }

    #[test]
    fn a_defect_reads_as_place_finding_and_remedy() {
        let defect = Defect::new(
            DefectCode::BadAmount,
            "\"12a\" is not a whole number of fen",
        )
        .file("payments.csv")
        .line(7)
        .column("amount_fen");
        assert_eq!(
            defect.to_string(),
            "payments.csv: line 7: amount_fen: \"12a\" is not a whole number of fen [BAD_AMOUNT]; \
             write the amount in digits"
        );
    }
}
