//! The life of statements: revised, growing, contradicted, in pages, beside a bundle's rows; and the ledger
//! of days that says how each of them stands.

use jintuo::base::DefectCode;
use jintuo::intake::{self, Exempt};
use jintuo::report::Wanted;

use crate::bundle::Bundle;
use crate::harness::{Ran, Store, day, on_both};
use crate::small::small;

on_both!(
    a_corrected_statement_revises_its_day,
    what_was_known_before_a_revision_stays_known,
    a_line_that_comes_back_stands_again,
    a_corrected_memo_is_a_revision_of_its_line,
    a_bundle_that_was_overruled_disputes_nothing_when_it_comes_again,
    a_lost_page_holds_up_its_own_statement_only,
    a_contradiction_is_a_dispute_until_it_is_settled,
    a_dispute_ends_when_the_bank_agrees_with_itself,
    a_reversal_undoes_its_line,
    windows_overlap_and_grow,
    pages_wait_for_each_other,
    a_bundle_after_a_statement_file_doubles_nothing,
    a_statement_file_after_a_bundle_doubles_nothing,
    lines_without_a_statement_are_proved_by_a_file,
    days_are_named_by_state,
    banks_are_scored_by_month,
);

/// An MT940 statement of account A1: number, day in January 2026, opening, lines (yuan, `C` or `D` by sign).
fn mt940(number: u32, on: u32, opening: i64, lines: &[(i64, &str)]) -> String {
    mt940_page(&format!("{number}/1"), on, ("F", opening), lines, "F")
}

pub(crate) fn mt940_page(
    number: &str,
    on: u32,
    (open, opening): (&str, i64),
    lines: &[(i64, &str)],
    close: &str,
) -> String {
    let from = on - 1;
    let sign = |n: i64| if n < 0 { "D" } else { "C" };
    let balance = |n: i64| format!("{},00", n.abs());
    let mut text = format!(
        ":20:S\n:25:A1\n:28C:{number}\n:60{open}:{}2601{from:02}CNY{}\n",
        sign(opening),
        balance(opening)
    );
    let mut closing = opening;
    for (amount, reference) in lines {
        closing += amount;
        text += &format!(
            ":61:2601{on:02}01{on:02}{}{},NTRF{reference}\n",
            sign(*amount),
            amount.abs()
        );
    }
    text + &format!(
        ":62{close}:{}2601{on:02}CNY{}\n-\n",
        sign(closing),
        balance(closing)
    )
}

/// A bank's CSV export of account A1 without a number: rows (day, credit, debit, balance, serial).
fn export(rows: &[(u32, i64, i64, i64, &str)]) -> String {
    let (first, last) = (rows[0].0, rows[rows.len() - 1].0);
    let mut text = format!(
        "账号,A1\n起止日期：2026-01-{first:02} 至 2026-01-{last:02}\n\n\
         交易日期,借方发生额,贷方发生额,账户余额,对方户名,摘要,流水号\n"
    );
    for (on, credit, debit, balance, serial) in rows {
        let cell = |n: i64| {
            if n == 0 {
                String::new()
            } else {
                format!("{n}.00")
            }
        };
        text += &format!(
            "202601{on:02},{},{},{balance}.00,,,{serial}\n",
            cell(*debit),
            cell(*credit)
        );
    }
    text
}

pub(crate) async fn start(store: &Store) {
    let bundle = small().write(&store.dir, "small");
    store.import(1, &[&bundle]).await;
}

async fn take(store: &Store, at: i64, text: &str) -> intake::Summary {
    let file = store.dir.write(&format!("file-{at}.sta"), text);
    store.import(at, &[&file]).await
}

/// Held of I1 in fen and its status, after a run of a day.
async fn held(store: &Store, at: i64, as_of: &str) -> (String, String) {
    store.reconcile(at, as_of, "workload").await;
    let books = store
        .books(&Wanted {
            as_of: Some(day(as_of)),
            ..Wanted::default()
        })
        .await;
    let row = books.institutions.find("institution_id", "I1");
    (row["held_fen"].clone(), row["status"].clone())
}

fn status(store: &Store, as_of: &str) -> (Ran, serde_json::Value) {
    let ran = store.jintuo(&["feed", "status", "--as-of", as_of, "--json"]);
    let value = serde_json::from_slice(&ran.stdout).expect("one object");
    (ran, value)
}

/// The state of one day of A1.
pub(crate) fn state(store: &Store, on: &str) -> String {
    let (_, value) = status(store, on);
    let days = value["days"].as_array().expect("days");
    let found = days
        .iter()
        .find(|d| d["date"] == on && d["account_id"] == "A1");
    found.map_or_else(String::new, |d| {
        d["state"].as_str().unwrap_or("").to_owned()
    })
}

async fn a_corrected_statement_revises_its_day(store: Store) {
    start(&store).await;
    let first = take(
        &store,
        2,
        &mt940(9, 8, 2000, &[(500, "X"), (30, "Y"), (7, "Z")]),
    )
    .await;
    assert_eq!(first.quarantined, []);
    let lines = store.rows("posting").await;
    // The bank sends number 9 again: X is 400, Y is gone, W is new.
    let again = take(
        &store,
        3,
        &mt940(9, 8, 2000, &[(400, "X"), (7, "Z"), (5, "W")]),
    )
    .await;
    assert_eq!(again.quarantined, []);
    assert_eq!(again.files[0].outcome, "used");
    // X and Y reversed, X and W posted.
    assert_eq!(store.rows("posting").await, lines + 4);
    assert_eq!(store.rows("statement").await, 2);
    let (held, status) = held(&store, 4, "2026-01-08").await;
    assert_eq!((held.as_str(), status.as_str()), ("241200", "COVERED"));
    assert_eq!(state(&store, "2026-01-08"), "revised");
    assert_eq!(store.check().await, []);
}

async fn what_was_known_before_a_revision_stays_known(store: Store) {
    start(&store).await;
    let release = Bundle::of(&[(
        "releases",
        "release_id,account_id,approved_on,amount_fen\nX,A1,2026-01-08,50000\n",
    )])
    .write(&store.dir, "release");
    store.import(2, &[&release]).await;
    take(&store, 3, &mt940(9, 8, 2000, &[(-500, "X")])).await;
    let before = held(&store, 4, "2026-01-08").await;
    assert_eq!(before, ("150000".to_owned(), "SHORT".to_owned()));
    take(&store, 5, &mt940(9, 8, 2000, &[(-100, "X")])).await;
    let after = held(&store, 6, "2026-01-08").await;
    assert_eq!(after.0, "190000");
    // As known before the revision, the figures are what they were.
    let args = [
        "--known-at",
        "2026-01-05T00:04:00Z",
        "--as-of",
        "2026-01-08",
        "--policy",
        "workload",
    ];
    store.jintuo(&[&["reconcile"], &args[..]].concat()).ended(3);
    let report = [&["report", "institutions"], &args[..], &["--format", "csv"]].concat();
    let rows = crate::harness::Rows::parse(&store.jintuo(&report).ended(0).stdout);
    assert_eq!(rows.find("institution_id", "I1")["held_fen"], "150000");
    assert_eq!(store.check().await, []);
}

async fn a_line_that_comes_back_stands_again(store: Store) {
    start(&store).await;
    take(&store, 2, &mt940(9, 8, 2000, &[(500, "X")])).await;
    take(&store, 3, &mt940(9, 8, 2000, &[])).await;
    // The bank takes its correction back; the bytes differ from the first file's.
    let third = format!("{}\n", mt940(9, 8, 2000, &[(500, "X")]));
    let summary = take(&store, 4, &third).await;
    assert_eq!(summary.quarantined, []);
    // Posted, reversed, posted.
    let lines = "posting WHERE kind = 5 AND reference = 'X'";
    assert_eq!(store.rows(lines).await, 3);
    assert_eq!(store.rows("statement").await, 3);
    store.reconcile(5, "2026-01-08", "default").await;
    let books = store.books(&Wanted::default()).await;
    // The line is unmatched once.
    let unmatched: Vec<_> = (books.breaks.column("code").into_iter())
        .filter(|c| *c == "UNMATCHED_CREDIT")
        .collect();
    assert_eq!(unmatched.len(), 1);
    assert_eq!(store.check().await, []);
}

async fn a_corrected_memo_is_a_revision_of_its_line(store: Store) {
    start(&store).await;
    let text = mt940(9, 8, 2000, &[(500, "X")]);
    let with_memo = |memo: &str| text.replace("NTRFX\n", &format!("NTRFX\n:86:{memo}\n"));
    take(&store, 2, &with_memo("学费")).await;
    let lines = store.rows("posting").await;
    take(&store, 3, &with_memo("学费 更正")).await;
    // Reversed and posted anew; the day's figures are as they were.
    assert_eq!(store.rows("posting").await, lines + 2);
    let notes = "posting_note WHERE note LIKE '%更正%'";
    assert_eq!(store.rows(notes).await, 1);
    assert_eq!(state(&store, "2026-01-08"), "proven");
    assert_eq!(store.check().await, []);
}

async fn a_bundle_that_was_overruled_disputes_nothing_when_it_comes_again(store: Store) {
    start(&store).await;
    let bundle = as_bundle(300_000, &ENTRIES).write(&store.dir, "bundle");
    store.import(2, &[&bundle]).await;
    let file = store
        .dir
        .write("holds.sta", mt940(9, 8, 2000, &[(500, "X")]));
    store.import(3, &[&file]).await;
    assert_eq!(state(&store, "2026-01-08"), "disputed");
    let file = file.to_string_lossy();
    store.jintuo(&["import", "--supersede", &file]).ended(0);
    assert_eq!(state(&store, "2026-01-08"), "revised");
    let postings = store.rows("posting").await;
    let again = store.import(60 * 24 * 400, &[&bundle]).await;
    // Its balances were overruled; of its two lines the day has one.
    let found: Vec<&str> = (again.quarantined.iter())
        .map(|d| d.found.as_str())
        .collect();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("no line of 50000 fen"), "{found:?}");
    assert_eq!(store.rows("posting").await, postings);
    assert_eq!(state(&store, "2026-01-08"), "revised");
    assert_eq!(store.check().await, []);
}

async fn a_lost_page_holds_up_its_own_statement_only(store: Store) {
    start(&store).await;
    let lost = mt940_page("8/1", 8, ("F", 2000), &[(5, "X")], "M");
    assert_eq!(take(&store, 2, &lost).await.files[0].outcome, "waiting");
    // The next statement comes in two pages of one file, and then one in two files.
    let whole = mt940_page("9/1", 9, ("F", 2005), &[(5, "Y")], "M")
        + &mt940_page("9/2", 9, ("M", 2010), &[(5, "Z")], "F");
    assert_eq!(take(&store, 3, &whole).await.files[0].outcome, "used");
    assert_eq!(store.rows("waiting_page").await, 1);
    assert_eq!(state(&store, "2026-01-08"), "gap");
    assert_eq!(state(&store, "2026-01-09"), "proven");
    let rest = mt940_page("8/2", 8, ("M", 2005), &[], "F");
    assert_eq!(take(&store, 4, &rest).await.files[0].outcome, "used");
    assert_eq!(store.rows("waiting_page").await, 0);
    assert_eq!(state(&store, "2026-01-08"), "proven");
    assert_eq!(store.check().await, []);
}

async fn a_contradiction_is_a_dispute_until_it_is_settled(store: Store) {
    start(&store).await;
    take(&store, 2, &mt940(9, 8, 2000, &[(500, "X")])).await;
    let lines = store.rows("posting").await;
    let other = mt940(5009, 8, 2000, &[(500, "X"), (1, "E")]);
    let summary = take(&store, 3, &other).await;
    assert_eq!(summary.files[0].outcome, "disputed");
    let codes: Vec<DefectCode> = summary.quarantined.iter().map(|d| d.code).collect();
    assert_eq!(codes, [DefectCode::Conflict]);
    // Nothing of it is in the books, and the day is not covered by anybody's word.
    assert_eq!(store.rows("posting").await, lines);
    let (held_fen, status_now) = held(&store, 4, "2026-01-08").await;
    assert_eq!(
        (held_fen.as_str(), status_now.as_str()),
        ("200000", "UNKNOWN")
    );
    let (ran, value) = status(&store, "2026-01-08");
    ran.ended(4);
    assert_eq!(value["counts"]["disputed"], 1);
    assert_eq!(
        value["days"][3]["reason"],
        "mt940 5009/1 of 2026-01-08 closes with +100 fen"
    );
    let breaks = store.books(&Wanted::default()).await.breaks;
    assert_eq!(breaks.find("code", "FEED_BROKEN")["amount_fen"], "-100");
    // The same bytes once more change nothing.
    let again = store.dir.write("again.sta", &other);
    let again = store.import(5, &[&again]).await;
    assert_eq!(again.files[0].outcome, "known");
    assert_eq!(store.rows("statement_dispute").await, 1);
    // In other bytes it is the same claim, and no other version of its statement.
    let versions = store.rows("statement").await;
    let summary = take(&store, 6, &format!("{other}\r\n")).await;
    assert_eq!(summary.files[0].outcome, "disputed");
    assert_eq!(store.rows("statement_dispute").await, 1);
    assert_eq!(store.rows("statement").await, versions);
    // Somebody has asked the bank: the second one holds.
    let path = store.dir.write("file-3.sta", &other);
    let path = path.to_string_lossy();
    store.jintuo(&["import", "--supersede", &path]).ended(0);
    assert_eq!(state(&store, "2026-01-08"), "revised");
    let after = held(&store, 60 * 24 * 400, "2026-01-08").await;
    assert_eq!(after.1, "COVERED");
    assert_eq!(store.check().await, []);
}

async fn a_dispute_ends_when_the_bank_agrees_with_itself(store: Store) {
    start(&store).await;
    take(&store, 2, &mt940(9, 8, 2000, &[(500, "X")])).await;
    take(&store, 3, &mt940(10, 8, 2000, &[(600, "X")])).await;
    assert_eq!(state(&store, "2026-01-08"), "disputed");
    // Number 10 is corrected to what number 9 says.
    take(&store, 4, &mt940(10, 8, 2000, &[(500, "X")])).await;
    assert_eq!(state(&store, "2026-01-08"), "proven");
    // Number 11 disputes again, and number 9 is corrected to what number 11 says.
    take(&store, 5, &mt940(11, 8, 2000, &[(700, "X")])).await;
    assert_eq!(state(&store, "2026-01-08"), "disputed");
    take(&store, 6, &mt940(9, 8, 2000, &[(700, "X")])).await;
    assert_eq!(state(&store, "2026-01-08"), "revised");
    assert_eq!(store.check().await, []);
}

async fn a_reversal_undoes_its_line(store: Store) {
    start(&store).await;
    take(&store, 2, &mt940(9, 8, 2000, &[(500, "X")])).await;
    // The next day the bank takes the credit back: money out under the same reference.
    let back = mt940(10, 9, 2500, &[(-500, "X")]).replace("0109D500", "0109RC500");
    assert!(back.contains("RC500"));
    let summary = take(&store, 3, &back).await;
    assert_eq!(summary.quarantined, []);
    for (as_of, code) in [("2026-01-08", "UNMATCHED_CREDIT"), ("2026-01-09", "")] {
        store.reconcile(4, as_of, "workload").await;
        let books = store.books(&Wanted::default()).await;
        let found: Vec<_> = (books.breaks.column("code").into_iter())
            .filter(|c| matches!(*c, "UNMATCHED_CREDIT" | "UNAUTHORISED_DEBIT"))
            .collect();
        assert_eq!(found.join(" "), code, "{as_of}");
    }
    let matches = store.books(&Wanted::default()).await.matches;
    let reversals = matches
        .column("kind")
        .into_iter()
        .filter(|k| *k == "REVERSAL");
    assert_eq!(reversals.count(), 2);
    assert_eq!(store.check().await, []);
}

async fn windows_overlap_and_grow(store: Store) {
    // Two equal fees on the 8th; the first export was taken before the 9th was over.
    let first = export(&[
        (8, 0, 2, 1998, "F"),
        (8, 0, 2, 1996, "F"),
        (9, 10, 0, 2006, "G"),
    ]);
    let second = export(&[
        (9, 10, 0, 2006, "G"),
        (9, 20, 0, 2026, "H"),
        (12, 1, 0, 2027, "I"),
    ]);
    let mut seen = Vec::new();
    for order in [[&first, &second], [&second, &first]] {
        let store = store.another().await;
        start(&store).await;
        for (at, text) in (2..).zip(order) {
            let summary = take(&store, at, text).await;
            assert_eq!(summary.quarantined, [], "{text}");
        }
        let lines = "posting WHERE kind = 5 AND source_no > 8 AND reverses IS NULL";
        assert_eq!(store.rows(lines).await, 5);
        assert_eq!(store.rows("statement_dispute").await, 0);
        let states: Vec<String> = ["2026-01-08", "2026-01-09", "2026-01-12"]
            .map(|on| state(&store, on))
            .into();
        let figures = held(&store, 5, "2026-01-12").await;
        assert_eq!(figures, ("202700".to_owned(), "COVERED".to_owned()));
        seen.push((states, figures));
        assert_eq!(store.check().await, []);
        store.remove().await;
    }
    assert_eq!(seen[0].0, ["proven", "revised", "proven"]);
    assert_eq!(seen[1].0, ["proven", "proven", "proven"]);
}

async fn pages_wait_for_each_other(store: Store) {
    let pages = [
        mt940_page("9/1", 8, ("F", 2000), &[(5, "X")], "M"),
        mt940_page("9/2", 8, ("M", 2005), &[(5, "X")], "M"),
        mt940_page("9/3", 8, ("M", 2010), &[(5, "X")], "F"),
    ];
    for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0]] {
        let store = store.another().await;
        start(&store).await;
        let days = store.rows("statement_day").await;
        for (at, page) in (2..).zip(order) {
            let summary = take(&store, at, &pages[page]).await;
            assert_eq!(summary.quarantined, []);
            let last = at == 4;
            let expected = if last { "used" } else { "waiting" };
            assert_eq!(summary.files[0].outcome, expected);
            assert_eq!(store.rows("statement_day").await, days + i64::from(last));
            if !last {
                assert_eq!(state(&store, "2026-01-08"), "gap");
            }
        }
        // Three equal lines, one on each page, are three lines.
        assert_eq!(store.rows("posting WHERE reference = 'X'").await, 3);
        assert_eq!(store.rows("waiting_page").await, 0);
        assert_eq!(state(&store, "2026-01-08"), "proven");
        assert_eq!(store.check().await, []);
        store.remove().await;
    }
}

/// The 8th as a bundle says it: the same lines with ids of its own.
fn as_bundle(closing: i64, entries: &[&str]) -> Bundle {
    let rows: String = entries.iter().map(|e| format!("{e}\n")).collect();
    let header = "entry_id,account_id,booked_on,code,direction,amount_fen,reference,memo\n";
    Bundle::of(&[
        (
            "bank_statements",
            &format!("account_id,date,opening_fen,closing_fen\nA1,2026-01-08,200000,{closing}\n"),
        ),
        ("bank_entries", &format!("{header}{rows}")),
    ])
}

const ENTRIES: [&str; 2] = [
    "E8,A1,2026-01-08,TRF,C,50000,X,",
    "E9,A1,2026-01-08,TRF,C,50000,X,",
];

async fn a_bundle_after_a_statement_file_doubles_nothing(store: Store) {
    start(&store).await;
    take(&store, 2, &mt940(9, 8, 2000, &[(500, "X"), (500, "X")])).await;
    let before = (
        store.rows("posting").await,
        store.rows("statement_day").await,
    );
    let bundle = as_bundle(300_000, &ENTRIES).write(&store.dir, "same");
    let summary = store.import(3, &[&bundle]).await;
    assert_eq!(summary.quarantined, []);
    let same: i64 = summary.files.iter().map(|f| f.same).sum();
    assert_eq!(same, 3);
    let now = || async {
        (
            store.rows("posting").await,
            store.rows("statement_day").await,
        )
    };
    assert_eq!(now().await, before);
    // A line the statement does not have, and a balance it does not have.
    let third = "E10,A1,2026-01-08,TRF,C,50000,X,";
    let more = as_bundle(350_000, &[ENTRIES[0], ENTRIES[1], third]).write(&store.dir, "more");
    let summary = store.import(4, &[&more]).await;
    let codes: Vec<DefectCode> = summary.quarantined.iter().map(|d| d.code).collect();
    assert_eq!(codes, [DefectCode::Conflict, DefectCode::Conflict]);
    assert_eq!(now().await, before);
    assert_eq!(state(&store, "2026-01-08"), "disputed");
    // The sender mends it.
    store.import(5, &[&bundle]).await;
    assert_eq!(state(&store, "2026-01-08"), "proven");
    assert_eq!(store.check().await, []);
}

async fn a_statement_file_after_a_bundle_doubles_nothing(store: Store) {
    start(&store).await;
    let bundle = as_bundle(300_000, &ENTRIES).write(&store.dir, "bundle");
    store.import(2, &[&bundle]).await;
    let before = store.rows("posting").await;
    let summary = take(&store, 3, &mt940(9, 8, 2000, &[(500, "X"), (500, "X")])).await;
    assert_eq!(summary.quarantined, []);
    assert_eq!(store.rows("posting").await, before);
    assert_eq!(state(&store, "2026-01-08"), "proven");
    take(&store, 4, &mt940(10, 8, 2000, &[(500, "X")])).await;
    assert_eq!(store.rows("posting").await, before);
    assert_eq!(state(&store, "2026-01-08"), "disputed");
    assert_eq!(store.check().await, []);
}

async fn lines_without_a_statement_are_proved_by_a_file(store: Store) {
    start(&store).await;
    let bundle = as_bundle(0, &ENTRIES[..1]).only(&["bank_entries"]);
    let bundle = bundle.write(&store.dir, "lines");
    store.import(2, &[&bundle]).await;
    let before = store.rows("posting").await;
    assert_eq!(state(&store, "2026-01-08"), "gap");
    let summary = take(&store, 3, &mt940(9, 8, 2000, &[(500, "X"), (500, "X")])).await;
    assert_eq!(summary.quarantined, []);
    assert_eq!(store.rows("posting").await, before + 1);
    assert_eq!(state(&store, "2026-01-08"), "proven");
    assert_eq!(store.check().await, []);
}

async fn days_are_named_by_state(store: Store) {
    start(&store).await;
    take(&store, 2, &mt940(9, 12, 2000, &[])).await;
    let exempt = Exempt {
        account_id: "A1".to_owned(),
        first: day("2026-01-09"),
        last: day("2026-01-10"),
        reason: "核心系统停机".to_owned(),
    };
    let db = store.open(3).await;
    assert!(intake::exempt(&db, &exempt).await.expect("an exemption"));
    assert!(!intake::exempt(&db, &exempt).await.expect("the same again"));
    db.close().await;
    let (ran, value) = status(&store, "2026-01-12");
    ran.ended(4);
    assert_eq!(value["schema"], "jintuo.feed-status/1");
    assert_eq!(value["as_of"], "2026-01-12");
    let days: Vec<(&str, &str)> = (value["days"].as_array().expect("days").iter())
        .map(|d| {
            (
                d["date"].as_str().unwrap_or(""),
                d["state"].as_str().unwrap_or(""),
            )
        })
        .collect();
    // The 10th and 11th are a weekend.
    assert_eq!(
        days,
        [
            ("2026-01-05", "proven"),
            ("2026-01-06", "proven"),
            ("2026-01-07", "proven"),
            ("2026-01-08", "gap"),
            ("2026-01-09", "exempt"),
            ("2026-01-12", "proven"),
        ]
    );
    assert_eq!(value["counts"]["gap"], 1);
    assert_eq!(value["days"][4]["reason"], "核心系统停机");
    // Without a day: up to the newest statement known.
    let ran = store.jintuo(&["feed", "status"]).ended(4);
    assert!(
        ran.text().contains("2026-01-08  gap       A1"),
        "{}",
        ran.text()
    );
    // An exempt day is missed by no run.
    store.reconcile(4, "2026-01-12", "default").await;
    let breaks = store.books(&Wanted::default()).await.breaks;
    let missing: Vec<_> = (breaks.0.iter())
        .filter(|b| b["code"] == "FEED_MISSING")
        .map(|b| b["date"].as_str())
        .collect();
    assert_eq!(missing, ["2026-01-08"]);
    // It ends, and an account nobody knows is refused.
    let end = [
        "feed",
        "exempt",
        "A1",
        "--from",
        "2026-01-09",
        "--to",
        "2026-01-10",
        "--end",
    ];
    store.jintuo(&end).ended(0);
    assert_eq!(state(&store, "2026-01-09"), "gap");
    let nobody = [
        "feed",
        "exempt",
        "A7",
        "--from",
        "2026-01-09",
        "--to",
        "2026-01-09",
    ];
    let ran = store
        .jintuo(&[&nobody[..], &["--reason", "x"]].concat())
        .ended(1);
    assert!(
        ran.stderr.contains("A7 is not registered"),
        "{}",
        ran.stderr
    );
    assert_eq!(store.check().await, []);
}

async fn banks_are_scored_by_month(store: Store) {
    let mut bundle = small();
    let file = bundle.0.get_mut("accounts").expect("a file");
    file.0.push_str(",bank_code");
    file.1[0].push_str(",B1");
    let bundle = bundle.write(&store.dir, "small");
    // 08:01 in Shanghai on the 5th: nothing is late but what comes after the next morning's 08:30.
    store.import(1, &[&bundle]).await;
    let hours = |n: i64| n * 60;
    // The 8th on the 9th at 08:00, corrected at 10:00, and the correction sent twice.
    take(&store, hours(4 * 24), &mt940(9, 8, 2000, &[(500, "X")])).await;
    let correction = mt940(9, 8, 2000, &[(400, "X")]);
    take(&store, hours(4 * 24 + 2), &correction).await;
    take(&store, hours(4 * 24 + 3), &correction).await;
    // The 9th on the 12th at 09:00, two days and a half late; its line has no reference. The 12th never.
    let nameless = mt940(10, 9, 2400, &[(5, "X")]).replace("NTRFX", "NTRFNONREF");
    take(&store, hours(7 * 24 + 1), &nameless).await;
    store
        .reconcile(hours(9 * 24), "2026-01-12", "default")
        .await;
    let args = [
        "report",
        "banks",
        "--as-of",
        "2026-01-12",
        "--format",
        "csv",
    ];
    let rows = crate::harness::Rows::parse(&store.jintuo(&args).ended(0).stdout);
    assert_eq!(rows.0.len(), 1, "{rows:?}");
    let row = &rows.0[0];
    let found: Vec<(&str, &str)> = (row.iter())
        .map(|(k, v)| (k.as_str(), v.as_str()))
        .filter(|(k, _)| *k != "accounts")
        .collect();
    assert_eq!(
        found,
        [
            ("bank_code", "B1"),
            ("corrections", "1"),
            ("days_disputed", "0"),
            ("days_exempt", "0"),
            ("days_expected", "6"),
            ("days_late", "1"),
            ("days_missing", "1"),
            ("days_on_time", "4"),
            ("days_revised", "1"),
            ("lines", "4"),
            ("month", "2026-01"),
            ("on_time_rate", "0.6666"),
            ("reference_rate", "0.7500"),
            ("repeats", "1"),
            // Owed on Saturday the 10th at 08:30.
            ("worst_delay_minutes", "2910"),
        ]
    );
}
