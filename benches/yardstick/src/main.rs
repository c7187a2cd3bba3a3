//! `yardstick DIR DATABASE`: every row of a workload's CSV files by a prepared insert, in file order, one
//! transaction, WAL with full sync; then the indexes a reconciliation needs: unique ids, (account,
//! reference) on both sides, lessons and payments by order. Nothing else: no ledger, no chain, no check.
//! Ids are interned to dense integers, so this is the lower end of what storing the rows can cost.

use std::collections::HashMap;
use std::time::Instant;

use rusqlite::{Connection, params_from_iter, types::Value};

/// File, its columns, and which of them are ids of another kind of thing.
const FILES: &[(&str, &[(&str, Kind)])] = &[
    ("districts", &[("district_id", Kind::Id(0)), ("name", Kind::Text)]),
    ("institutions", &[("institution_id", Kind::Id(1)), ("district_id", Kind::Id(0)), ("name", Kind::Text)]),
    ("accounts", &[("account_id", Kind::Id(2)), ("institution_id", Kind::Id(1)), ("kind", Kind::Text), ("min_deposit_fen", Kind::Int)]),
    ("orders", &[("order_id", Kind::Id(3)), ("institution_id", Kind::Id(1)), ("student_id", Kind::Text), ("ordered_on", Kind::Text), ("lessons", Kind::Int), ("unit_price_fen", Kind::Int), ("amount_fen", Kind::Int)]),
    ("payments", &[("payment_id", Kind::Text), ("order_id", Kind::Id(3)), ("institution_id", Kind::Id(1)), ("account_id", Kind::Id(2)), ("paid_on", Kind::Text), ("channel", Kind::Text), ("reference", Kind::Text), ("amount_fen", Kind::Int)]),
    ("lessons", &[("consumption_id", Kind::Text), ("order_id", Kind::Id(3)), ("consumed_on", Kind::Text), ("lessons", Kind::Int), ("amount_fen", Kind::Int)]),
    ("refunds", &[("refund_id", Kind::Text), ("order_id", Kind::Id(3)), ("refunded_on", Kind::Text), ("amount_fen", Kind::Int)]),
    ("releases", &[("release_id", Kind::Text), ("account_id", Kind::Id(2)), ("approved_on", Kind::Text), ("amount_fen", Kind::Int)]),
    ("bank_statements", &[("account_id", Kind::Id(2)), ("date", Kind::Text), ("opening_fen", Kind::Int), ("closing_fen", Kind::Int)]),
    ("bank_entries", &[("entry_id", Kind::Text), ("account_id", Kind::Id(2)), ("booked_on", Kind::Text), ("code", Kind::Text), ("direction", Kind::Text), ("amount_fen", Kind::Int), ("reference", Kind::Text), ("memo", Kind::Text)]),
];

const INDEXES: &[&str] = &[
    "create unique index payments_id on payments (payment_id)",
    "create unique index lessons_id on lessons (consumption_id)",
    "create unique index entries_id on bank_entries (entry_id)",
    "create index payments_reference on payments (account_id, reference)",
    "create index entries_reference on bank_entries (account_id, reference)",
    "create index lessons_order on lessons (order_id)",
    "create index payments_order on payments (order_id)",
    "create unique index statements_day on bank_statements (account_id, date)",
];

#[derive(Clone, Copy)]
enum Kind {
    Id(usize),
    Int,
    Text,
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let db = Connection::open(&args[2]).expect("open");
    db.execute_batch("pragma journal_mode = wal; pragma synchronous = full; pragma cache_size = -65536;").expect("pragmas");
    let mut ids: Vec<HashMap<String, i64>> = vec![HashMap::new(); 4];
    let (start, mut rows) = (Instant::now(), 0_u64);
    db.execute_batch("begin").expect("begin");
    for (file, columns) in FILES {
        let names: Vec<&str> = columns.iter().map(|c| c.0).collect();
        db.execute_batch(&format!("create table {file} ({})", names.join(", "))).expect("create");
        let marks = vec!["?"; columns.len()].join(", ");
        let mut insert = db.prepare(&format!("insert into {file} values ({marks})")).expect("prepare");
        let path = format!("{}/{file}.csv", args[1]);
        let mut reader = csv::Reader::from_path(path).expect("file");
        let mut record = csv::StringRecord::new();
        while reader.read_record(&mut record).expect("row") {
            rows += 1;
            let values = columns.iter().zip(&record).map(|((_, kind), cell)| match kind {
                Kind::Id(space) => {
                    let next = ids[*space].len() as i64;
                    let id = match ids[*space].get(cell) {
                        Some(id) => *id,
                        None => {
                            ids[*space].insert(cell.to_owned(), next);
                            next
                        }
                    };
                    Value::Integer(id)
                }
                Kind::Int => Value::Integer(cell.parse().expect("integer")),
                Kind::Text => Value::Text(cell.to_owned()),
            });
            insert.execute(params_from_iter(values)).expect("insert");
        }
    }
    db.execute_batch("commit").expect("commit");
    for index in INDEXES {
        db.execute_batch(index).expect("index");
    }
    db.execute_batch("pragma wal_checkpoint(truncate)").expect("checkpoint");
    println!("{rows} rows in {:?}", start.elapsed());
}
