//! Which of several rows of one id stands: the one sent last, whatever it waited for and however many
//! bundles one command names.

use crate::bundle::Bundle;
use crate::harness::{Store, on_both};
use crate::small::{AS_OF, small};

on_both!(
    of_two_bundles_in_one_command_the_later_stands,
    of_two_rows_that_waited_the_later_stands,
    a_row_that_waited_does_not_undo_a_later_correction,
    a_row_sent_again_goes_on_waiting,
    rows_wait_and_arrive_in_portions,
    a_full_width_reference_meets_its_plain_one,
);

const HEADER: &str =
    "payment_id,order_id,institution_id,account_id,paid_on,channel,reference,amount_fen";

fn payment(order: &str, fen: i64) -> Bundle {
    let row = format!("P9,{order},I1,A1,2026-01-06,TRANSFER,R9,{fen}");
    Bundle::of(&[("payments", &format!("{HEADER}\n{row}\n"))])
}

fn order() -> Bundle {
    Bundle::of(&[(
        "orders",
        "order_id,institution_id,student_id,ordered_on,lessons,unit_price_fen,amount_fen\n\
         O9,I1,S9,2026-01-05,10,100,1000\n",
    )])
}

/// What the small bundle requires, and P9's amount on top.
async fn required(store: &Store, at: i64) -> i64 {
    let summary = store.reconcile(at, AS_OF, "workload").await;
    assert_eq!(store.check().await, []);
    let total: i64 = summary.districts.iter().map(|d| d.1.required.fen()).sum();
    total - 170_000
}

async fn with(store: &Store) {
    store
        .import(1, &[&small().write(&store.dir, "small")])
        .await;
}

async fn of_two_bundles_in_one_command_the_later_stands(store: Store) {
    with(&store).await;
    let (more, less) = (
        payment("O1", 200).write(&store.dir, "more"),
        payment("O1", 100).write(&store.dir, "less"),
    );
    store.import(2, &[&more, &less]).await;
    assert_eq!(required(&store, 3).await, 100);
    store.import(4, &[&less, &more]).await;
    assert_eq!(required(&store, 5).await, 200);
}

async fn of_two_rows_that_waited_the_later_stands(store: Store) {
    with(&store).await;
    for (at, fen) in [(2, 200), (3, 100)] {
        let sent = payment("O9", fen).write(&store.dir, &format!("sent-{at}"));
        store.import(at, &[&sent]).await;
    }
    assert_eq!(
        store.rows("waiting_row").await,
        1,
        "the later one outdoes the earlier"
    );
    store
        .import(4, &[&order().write(&store.dir, "order")])
        .await;
    assert_eq!(required(&store, 5).await, 100);
    assert_eq!(store.rows("waiting_row").await, 0);
}

async fn a_row_that_waited_does_not_undo_a_later_correction(store: Store) {
    with(&store).await;
    let steps = [("O1", 100), ("O9", 200), ("O1", 300)];
    for (at, (order, fen)) in (2..).zip(steps) {
        let sent = payment(order, fen).write(&store.dir, &format!("sent-{at}"));
        store.import(at, &[&sent]).await;
    }
    assert_eq!(
        store.rows("waiting_row").await,
        0,
        "the correction ends the wait"
    );
    store
        .import(8, &[&order().write(&store.dir, "order")])
        .await;
    assert_eq!(required(&store, 9).await, 300);
}

async fn a_row_sent_again_goes_on_waiting(store: Store) {
    with(&store).await;
    let sent = payment("O9", 200).write(&store.dir, "sent");
    store.import(2, &[&sent]).await;
    store.import(3, &[&sent]).await;
    store.import(4, &[&sent]).await;
    assert_eq!(store.rows("waiting_row").await, 1);
    store
        .import(5, &[&order().write(&store.dir, "order")])
        .await;
    assert_eq!(required(&store, 6).await, 200);
}

async fn rows_wait_and_arrive_in_portions(store: Store) {
    with(&store).await;
    let stored = store.rows("posting").await;
    let rows = 20_500;
    let mut text = "consumption_id,order_id,consumed_on,lessons,amount_fen,state\n".to_owned();
    for number in 0..rows {
        let order = if number == 20_000 { "O8" } else { "O9" };
        text += &format!("W{number:05},{order},2026-01-06,0,1,void\n");
    }
    let file = store.dir.write("many/lessons.csv", text);
    let summary = store.import(2, &[&file]).await;
    assert_eq!(summary.files[0].waiting, rows);
    assert_eq!(store.rows("waiting_row").await, rows);
    let orders = order().write(&store.dir, "order");
    let summary = store.import(3, &[&orders]).await;
    let waited: Vec<_> = (summary.files.iter())
        .filter(|f| f.kind == "lessons")
        .map(|f| (f.new, f.waiting))
        .collect();
    assert_eq!(waited, [(rows - 1, 1)]);
    assert_eq!(store.rows("waiting_row").await, 1);
    assert_eq!(store.rows("posting").await, stored + rows - 1);
    assert_eq!(store.check().await, []);
}

async fn a_full_width_reference_meets_its_plain_one(store: Store) {
    let mut bundle = small();
    let (_, rows) = bundle.0.get_mut("payments").expect("a file");
    rows[0] = rows[0].replace("R1", "Ｒ１");
    store.import(1, &[&bundle.write(&store.dir, "wide")]).await;
    let summary = store.reconcile(2, AS_OF, "workload").await;
    assert_eq!(store.check().await, []);
    assert_eq!(summary.matched, 2);
    assert_eq!(
        store.rows("posting_note").await,
        1,
        "as sent, beside the posting"
    );
}
