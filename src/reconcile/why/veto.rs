//! Why a candidate was not taken, as data and in words.

use serde::Serialize;

use super::NamedDecision;
use crate::base::{Day, Money};

/// Why a candidate was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum Veto {
    DecidedOtherwise(NamedDecision),
    OtherAccount,
    NoReference,
    OtherReference {
        reported: String,
        banked: String,
    },
    OtherAmount {
        #[serde(rename = "difference_fen")]
        difference: Money,
    },
    OtherChannel {
        banked: String,
    },
    Before {
        days: i32,
    },
    Beyond {
        last: Day,
    },
    Taken {
        by: Vec<String>,
    },
    Undone,
    Described {
        batch_no: String,
    },
    DaySum {
        day: Day,
        #[serde(rename = "sum_fen")]
        sum: Money,
    },
    Ambiguous,
    Contested,
    TooMany {
        candidates: usize,
    },
    NoRule,
}

impl Veto {
    pub fn english(&self) -> String {
        match self {
            Veto::DecidedOtherwise(d) => format!("people keep them apart: {}", d.english()),
            Veto::OtherAccount => "it is of another account".into(),
            Veto::NoReference => {
                "one of the two has no reference, and an amount alone proves nothing".into()
            }
            Veto::OtherReference { reported, banked } => {
                format!("the bank's reference is {banked:?}, the reported one {reported:?}")
            }
            Veto::OtherAmount { difference } => format!("the amounts differ by {difference}"),
            Veto::OtherChannel { banked } => format!("the line is of {banked}"),
            Veto::Before { days } => {
                format!("the bank has it {days} days before it was reported as paid")
            }
            Veto::Beyond { last } => format!("the rule looks up to {last}"),
            Veto::Taken { by } => format!("it is settled already, with {}", by.join(", ")),
            Veto::Undone => "the bank took it back".into(),
            Veto::Described { batch_no } => {
                format!(
                    "its channel describes what is in it (batch {batch_no}), and says otherwise"
                )
            }
            Veto::DaySum { day, sum } => format!("all that is open of {day} adds up to {sum}"),
            Veto::Ambiguous => "more than one choice of payments adds up to it".into(),
            Veto::Contested => "another line has the same payment as its only choice".into(),
            Veto::TooMany { candidates } => {
                format!("{candidates} payments are open, more than the rule may try")
            }
            Veto::NoRule => "no rule of the pack compares the two".into(),
        }
    }

    pub fn chinese(&self) -> String {
        match self {
            Veto::DecidedOtherwise(d) => format!("人工认定两者无关：{}", d.chinese()),
            Veto::OtherAccount => "属于另一个账户".into(),
            Veto::NoReference => "有一方没有参考号，仅凭金额不能认定".into(),
            Veto::OtherReference { reported, banked } => {
                format!("银行参考号为“{banked}”，上报的为“{reported}”")
            }
            Veto::OtherAmount { difference } => format!("金额相差 {difference}"),
            Veto::OtherChannel { banked } => format!("该笔流水属于 {banked} 渠道"),
            Veto::Before { days } => format!("银行入账比上报缴费早 {days} 天"),
            Veto::Beyond { last } => format!("规则只查到 {last}"),
            Veto::Taken { by } => format!("已与 {} 核销", by.join("、")),
            Veto::Undone => "已被银行冲回".into(),
            Veto::Described { batch_no } => {
                format!("渠道已说明该批次（{batch_no}）的内容，与此不符")
            }
            Veto::DaySum { day, sum } => format!("{day} 未核销的合计为 {sum}"),
            Veto::Ambiguous => "不止一种缴费组合与之相等".into(),
            Veto::Contested => "另一笔流水也只能由同一笔缴费构成".into(),
            Veto::TooMany { candidates } => {
                format!("未核销缴费有 {candidates} 笔，超出规则可试的范围")
            }
            Veto::NoRule => "规则包中没有比较这两者的规则".into(),
        }
    }
}
