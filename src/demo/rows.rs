//! The rows of a bundle (`interchange.md`), field for column in file order.
//!
//! Invariant: a field's name is the column's name; `None` is an empty cell. The one text amount is a
//! lesson's, so that a typing error can be planted in it.

use serde::Serialize;

use crate::base::Day;

#[derive(Clone, Debug, Serialize)]
pub(super) struct DistrictRow {
    pub(super) district_id: &'static str,
    pub(super) name: &'static str,
    pub(super) kind: &'static str,
    pub(super) gb_code: &'static str,
    pub(super) parent_id: &'static str,
    pub(super) tile_col: u8,
    pub(super) tile_row: u8,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct InstitutionRow {
    pub(super) institution_id: String,
    pub(super) district_id: &'static str,
    pub(super) name: String,
    pub(super) uscc: String,
    pub(super) licence_kind: &'static str,
    pub(super) licence_no: String,
    pub(super) licence_from: Day,
    pub(super) licence_to: Day,
    pub(super) department: &'static str,
    pub(super) category: &'static str,
    pub(super) subject: &'static str,
    pub(super) prepays: &'static str,
    pub(super) status: &'static str,
    pub(super) platform_since: Day,
    pub(super) opened_on: Day,
    pub(super) custody_mode: &'static str,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct LicenceRow {
    pub(super) licence_no: String,
    pub(super) name: String,
    pub(super) uscc: String,
    pub(super) district_id: &'static str,
    pub(super) department: &'static str,
    pub(super) licence_from: Day,
    pub(super) licence_to: Day,
    pub(super) status: &'static str,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct AccountRow {
    pub(super) account_id: String,
    pub(super) institution_id: String,
    pub(super) kind: &'static str,
    pub(super) min_deposit_fen: i64,
    pub(super) bank_code: &'static str,
    pub(super) branch_district_id: &'static str,
    pub(super) agreement_no: String,
    pub(super) agreement_from: Option<Day>,
    pub(super) agreement_to: Option<Day>,
    pub(super) filed_on: Option<Day>,
    pub(super) status: &'static str,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct OrderRow {
    pub(super) order_id: String,
    pub(super) institution_id: String,
    pub(super) student_id: String,
    pub(super) ordered_on: Day,
    pub(super) lessons: i64,
    pub(super) unit_price_fen: i64,
    pub(super) amount_fen: i64,
    pub(super) gift_lessons: i64,
    pub(super) subject_group: &'static str,
    pub(super) kind: &'static str,
    pub(super) starts_on: Day,
    pub(super) ends_on: Day,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct PaymentRow {
    pub(super) payment_id: String,
    pub(super) order_id: String,
    pub(super) institution_id: String,
    pub(super) account_id: String,
    pub(super) paid_on: Day,
    pub(super) channel: &'static str,
    pub(super) reference: String,
    pub(super) amount_fen: i64,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct LessonRow {
    pub(super) consumption_id: String,
    pub(super) order_id: String,
    pub(super) consumed_on: Day,
    pub(super) lessons: i64,
    pub(super) amount_fen: String,
    pub(super) state: &'static str,
    pub(super) confirmed_on: Option<Day>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct RefundRow {
    pub(super) refund_id: String,
    pub(super) order_id: String,
    pub(super) refunded_on: Day,
    pub(super) amount_fen: i64,
    pub(super) requested_on: Day,
    pub(super) agreed_on: Day,
    pub(super) cause: &'static str,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct ReleaseRow {
    pub(super) release_id: String,
    pub(super) account_id: String,
    pub(super) approved_on: Day,
    pub(super) amount_fen: i64,
    pub(super) order_id: String,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct SettlementRow {
    pub(super) batch_no: String,
    pub(super) channel: &'static str,
    pub(super) account_id: String,
    pub(super) period_from: Day,
    pub(super) period_to: Day,
    pub(super) gross_fen: i64,
    pub(super) fee_fen: i64,
    pub(super) refund_fen: i64,
    pub(super) net_fen: i64,
    pub(super) expected_on: Day,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct StatementRow<'a> {
    pub(super) account_id: &'a str,
    pub(super) date: Day,
    pub(super) opening_fen: i64,
    pub(super) closing_fen: i64,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct EntryRow<'a> {
    pub(super) entry_id: &'a str,
    pub(super) account_id: &'a str,
    pub(super) booked_on: Day,
    pub(super) code: &'static str,
    pub(super) direction: &'static str,
    pub(super) amount_fen: i64,
    pub(super) reference: &'a str,
    pub(super) memo: &'static str,
    pub(super) value_on: Day,
    pub(super) counterparty: &'static str,
}

/// What institutions report in one business day's bundle.
#[derive(Clone, Debug, Default)]
pub(super) struct Reported {
    pub(super) orders: Vec<OrderRow>,
    pub(super) payments: Vec<PaymentRow>,
    pub(super) lessons: Vec<LessonRow>,
    pub(super) refunds: Vec<RefundRow>,
    pub(super) releases: Vec<ReleaseRow>,
    pub(super) settlements: Vec<SettlementRow>,
}
