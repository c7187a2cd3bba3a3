//! One institution, two orders, three days: small enough to reckon by hand.

use crate::bundle::Bundle;

/// The last day of the small bundle.
pub(crate) const AS_OF: &str = "2026-01-07";

/// Paid 2,000.00 in two orders, 300.00 of it earned; 2,000.00 at the bank.
pub(crate) fn small() -> Bundle {
    Bundle::of(&[
        ("districts", "district_id,name\nD1,示例区\n"),
        (
            "institutions",
            "institution_id,district_id,name\nI1,D1,示例机构\n",
        ),
        (
            "accounts",
            "account_id,institution_id,kind,min_deposit_fen\nA1,I1,CUSTODY,0\n",
        ),
        (
            "orders",
            "order_id,institution_id,student_id,ordered_on,lessons,unit_price_fen,amount_fen\n\
             O1,I1,S1,2026-01-05,10,10000,100000\n\
             O2,I1,S2,2026-01-05,20,5000,100000\n",
        ),
        (
            "payments",
            "payment_id,order_id,institution_id,account_id,paid_on,channel,reference,amount_fen\n\
             P1,O1,I1,A1,2026-01-05,TRANSFER,R1,100000\n\
             P2,O2,I1,A1,2026-01-05,TRANSFER,R2,100000\n",
        ),
        (
            "lessons",
            "consumption_id,order_id,consumed_on,lessons,amount_fen,state\n\
             L1,O1,2026-01-06,3,30000,confirmed\n",
        ),
        (
            "bank_statements",
            "account_id,date,opening_fen,closing_fen\n\
             A1,2026-01-05,0,100000\n\
             A1,2026-01-06,100000,200000\n\
             A1,2026-01-07,200000,200000\n",
        ),
        (
            "bank_entries",
            "entry_id,account_id,booked_on,code,direction,amount_fen,reference,memo\n\
             E1,A1,2026-01-05,TRF,C,100000,R1,TRANSFER\n\
             E2,A1,2026-01-06,TRF,C,100000,R2,TRANSFER\n",
        ),
    ])
}

/// Everything that can change, changed: terms, facts, a channel's batch, new rows.
pub(crate) fn changes() -> Bundle {
    Bundle::of(&[
        (
            "institutions",
            "institution_id,district_id,name\nI1,D1,改名机构\nI2,D1,新机构\n",
        ),
        (
            "accounts",
            "account_id,institution_id,kind,min_deposit_fen\nA2,I2,CUSTODY,0\n",
        ),
        (
            "orders",
            "order_id,institution_id,student_id,ordered_on,lessons,unit_price_fen,amount_fen\n\
             O1,I1,S1,2026-01-05,10,20000,200000\n\
             O3,I2,S3,2026-01-06,4,2500,10000\n",
        ),
        (
            "payments",
            "payment_id,order_id,institution_id,account_id,paid_on,channel,reference,amount_fen\n\
             P1,O1,I1,A1,2026-01-05,TRANSFER,R1,150000\n\
             P3,O3,I2,A2,2026-01-06,QR,,10000\n",
        ),
        (
            "lessons",
            "consumption_id,order_id,consumed_on,lessons,amount_fen,state\n\
             L2,O2,2026-01-07,1,5000,confirmed\n",
        ),
        (
            "settlements",
            "batch_no,channel,account_id,period_from,period_to,gross_fen,fee_fen,refund_fen,net_fen\n\
             B1,QR,A2,2026-01-06,2026-01-06,10000,60,500,9440\n",
        ),
        (
            "bank_statements",
            "account_id,date,opening_fen,closing_fen\nA2,2026-01-07,0,9440\n",
        ),
        (
            "bank_entries",
            "entry_id,account_id,booked_on,code,direction,amount_fen,reference,memo\n\
             E3,A2,2026-01-07,STL,C,9440,B1,QR\n",
        ),
    ])
}
