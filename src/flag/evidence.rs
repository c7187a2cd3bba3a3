//! What a finding rests on: ids, days and amounts, kept as data and put into words where it is read.
//!
//! Invariants: every number of a finding's arithmetic is in its evidence, so that the words never need a
//! second look at the books; both languages say the same.

use serde::{Deserialize, Serialize};

use crate::base::{Day, Money};
use crate::reconcile::Against;

/// The facts behind a finding, one shape per rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "rule", rename_all = "snake_case")]
pub enum Evidence {
    FirstReport {
        reference: String,
        payment_id: String,
    },
    AmountsDiffer {
        entry_id: String,
        banked: Money,
        reported: Money,
    },
    CreditedLate {
        entry_id: String,
        captured: Day,
        credited: Day,
        window_end: Day,
    },
    InTransit {
        captured: Day,
        window_end: Day,
    },
    NotCredited {
        captured: Day,
        window_end: Day,
    },
    FirstCredit {
        reference: String,
        entry_id: String,
    },
    NoPayment {
        reference: String,
    },
    NoApproval {
        reference: String,
        amount: Money,
    },
    NoStatement {
        day: Day,
    },
    /// A statement day that differs from what `against` says.
    StatementBroken {
        day: Day,
        difference: Money,
        against: Against,
    },
    DepositShort {
        required: Money,
        held: Money,
        since: Day,
    },
    NotFiled,
    Uncovered {
        required: Money,
        held: Money,
        explained: Money,
        uncovered: Money,
    },
    NoArrangement {
        owed: Money,
    },
    ReleasedBeyond {
        released: Money,
        earned: Money,
    },
    NegativeCash {
        refunded: Money,
        released: Money,
        cleared: Money,
    },
    ContractShort {
        owed: Money,
        cleared: Money,
        refunded: Money,
        released: Money,
        in_transit: Money,
    },
}

impl Evidence {
    /// As the database keeps it.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    pub fn from_json(text: &str) -> Option<Evidence> {
        serde_json::from_str(text).ok()
    }

    /// In Chinese; amounts in yuan.
    pub fn chinese(&self) -> String {
        use Evidence as E;
        match self {
            E::FirstReport {
                reference,
                payment_id,
            } => {
                format!("流水号 {reference} 已由 {payment_id} 先行上报")
            }
            E::AmountsDiffer {
                entry_id,
                banked,
                reported,
            } => {
                format!("银行流水 {entry_id} 为 {banked}，上报为 {reported}")
            }
            E::CreditedLate {
                entry_id,
                captured,
                credited,
                window_end,
            } => format!(
                "{captured} 收款，应于 {window_end} 前入账，{credited} 才由流水 {entry_id} 入账"
            ),
            E::InTransit {
                captured,
                window_end,
            } => {
                format!("{captured} 收款，应于 {window_end} 前入账")
            }
            E::NotCredited {
                captured,
                window_end,
            } => {
                format!("{captured} 收款，至 {window_end} 未入账")
            }
            E::FirstCredit {
                reference,
                entry_id,
            } => {
                format!("流水号 {reference} 已由流水 {entry_id} 入账一次")
            }
            E::NoPayment { reference } if reference.is_empty() => {
                "入账无流水号，查无对应上报".to_owned()
            }
            E::NoPayment { reference } => format!("流水号 {reference} 查无对应上报"),
            E::NoApproval { reference, amount } => {
                format!("支出 {amount}（流水号 {reference}）查无未用的拨付或退费")
            }
            E::NoStatement { day } => format!("{day} 无对账单"),
            E::StatementBroken {
                day,
                difference,
                against: Against::Lines,
            } => {
                format!("{day} 对账单余额与当日流水相差 {difference}")
            }
            E::StatementBroken {
                day,
                difference,
                against: Against::DayBefore,
            } => {
                format!("{day} 期初余额与上一期末余额相差 {difference}")
            }
            E::StatementBroken {
                day,
                difference,
                against: Against::OtherStatement,
            } => {
                format!("{day} 另有一份对账单说法不同，期末相差 {difference}")
            }
            E::DepositShort {
                required,
                held,
                since,
            } => {
                format!("最低额 {required} − 余额 {held}，自 {since} 起不足")
            }
            E::NotFiled => "账户已在使用而未备案".to_owned(),
            E::Uncovered {
                required,
                held,
                explained,
                uncovered,
            } => {
                format!("应托管 {required} − 实有 {held} − 在途说明 {explained} = {uncovered}")
            }
            E::NoArrangement { owed } => {
                format!("预收费而无托管账户、无保证金账户；未消课金额 {owed}")
            }
            E::ReleasedBeyond { released, earned } => {
                format!("已拨付 {released}，已确认消课仅 {earned}")
            }
            E::NegativeCash {
                refunded,
                released,
                cleared,
            } => {
                format!("已退 {refunded} + 已拨 {released}，到账仅 {cleared}")
            }
            E::ContractShort {
                owed,
                cleared,
                refunded,
                released,
                in_transit,
            } => format!(
                "未消课 {owed}；到账 {cleared} − 已退 {refunded} − 已拨 {released} + 在途 {in_transit}"
            ),
        }
    }

    /// In English; amounts in yuan.
    pub fn english(&self) -> String {
        use Evidence as E;
        match self {
            E::FirstReport {
                reference,
                payment_id,
            } => {
                format!("reference {reference} was reported first by {payment_id}")
            }
            E::AmountsDiffer {
                entry_id,
                banked,
                reported,
            } => {
                format!("bank line {entry_id} says {banked}, the report {reported}")
            }
            E::CreditedLate {
                entry_id,
                captured,
                credited,
                window_end,
            } => format!(
                "captured {captured}, due in the account by {window_end}, credited {credited} by line {entry_id}"
            ),
            E::InTransit {
                captured,
                window_end,
            } => {
                format!("captured {captured}, due in the account by {window_end}")
            }
            E::NotCredited {
                captured,
                window_end,
            } => {
                format!("captured {captured}, not in the account by {window_end}")
            }
            E::FirstCredit {
                reference,
                entry_id,
            } => {
                format!("reference {reference} was credited first by line {entry_id}")
            }
            E::NoPayment { reference } if reference.is_empty() => {
                "the credit has no reference, and no payment was reported for it".to_owned()
            }
            E::NoPayment { reference } => {
                format!("no payment was reported under reference {reference}")
            }
            E::NoApproval { reference, amount } => {
                format!("no unused release or refund of {amount} under reference {reference}")
            }
            E::NoStatement { day } => format!("no statement of {day}"),
            E::StatementBroken {
                day,
                difference,
                against: Against::Lines,
            } => {
                format!("the statement of {day} differs from its lines by {difference}")
            }
            E::StatementBroken {
                day,
                difference,
                against: Against::DayBefore,
            } => {
                format!("the opening of {day} differs from the closing before by {difference}")
            }
            E::StatementBroken {
                day,
                difference,
                against: Against::OtherStatement,
            } => {
                format!("another statement of {day} says otherwise, its closing by {difference}")
            }
            E::DepositShort {
                required,
                held,
                since,
            } => {
                format!("required {required} − held {held}, short since {since}")
            }
            E::NotFiled => "the account is in use and not filed".to_owned(),
            E::Uncovered {
                required,
                held,
                explained,
                uncovered,
            } => {
                format!("required {required} − held {held} − explained {explained} = {uncovered}")
            }
            E::NoArrangement { owed } => format!(
                "takes fees ahead with neither a custody nor a deposit account; owed {owed}"
            ),
            E::ReleasedBeyond { released, earned } => {
                format!("released {released}, confirmed lessons earned {earned}")
            }
            E::NegativeCash {
                refunded,
                released,
                cleared,
            } => {
                format!("refunded {refunded} + released {released}, cleared only {cleared}")
            }
            E::ContractShort {
                owed,
                cleared,
                refunded,
                released,
                in_transit,
            } => format!(
                "owed {owed}; cleared {cleared} − refunded {refunded} − released {released} + in transit {in_transit}"
            ),
        }
    }
}
