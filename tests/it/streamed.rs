//! Large statement files, read statement by statement: the same books as in one piece, wherever they are cut.

use std::path::{Path, PathBuf};
use std::task::Poll;

use jintuo::base::DefectCode;
use jintuo::feed::deliveries::keep_delivery;
use jintuo::intake::{self, Becomes, Options, Silent, Summary};
use jintuo::store::Db;

use crate::harness::{Store, on_both};
use crate::interrupted::cut;
use crate::nul::refuse_bad;
use crate::quarantine::registry;

on_both!(
    a_large_file_ends_in_the_books_of_a_whole_one,
    a_large_file_is_refused_whole_with_every_reason,
    a_large_file_may_be_cut_anywhere,
    a_superseding_file_that_was_cut_goes_on_superseding,
    pages_of_a_large_file_are_joined_and_wait,
    a_rehearsal_of_a_large_file_stores_nothing,
    a_damaged_piece_is_named,
    a_delivered_large_file_that_was_cut_is_finished,
    a_half_posted_file_that_cannot_be_finished_keeps_nobody_waiting,
    a_part_that_the_database_refuses_keeps_nobody_waiting,
    a_number_that_is_none_is_refused,
    a_delivery_whose_kept_bytes_are_damaged_is_nobodys_word,
);

const ACCOUNTS: [&str; 4] = ["6217000001", "6217000002", "6217000003", "6217000004"];

/// Every file is large, and few lines are posted together.
fn streamed() -> Options {
    Options {
        whole_bytes_max: 0,
        group_lines: 60,
        ..Options::default()
    }
}

async fn import(store: &Store, at: i64, file: &Path, options: &Options) -> Summary {
    let db = store.open(at).await;
    let inputs = [file.to_owned()];
    let summary = intake::import(&db, &inputs, options, &mut Silent).await;
    db.close().await;
    summary.expect("the import works")
}

/// A statement of an account: its balance kinds, its days in January 2026, what it opens with, lines a day.
struct Stated {
    account: &'static str,
    kinds: (&'static str, &'static str),
    days: (u32, u32),
    opening: usize,
    lines: usize,
}

impl Stated {
    fn of(account: &'static str, days: (u32, u32), opening: usize) -> Stated {
        Stated {
            account,
            kinds: ("OPBD", "CLBD"),
            days,
            opening,
            lines: 7,
        }
    }

    fn closing(&self) -> usize {
        let days = usize::try_from(self.days.1 - self.days.0 + 1).expect("days");
        self.opening + days * self.lines * 150
    }

    fn xml(&self) -> String {
        let (account, days) = (self.account, self.days);
        let amount = |fen: usize| format!("{}.{:02}", fen / 100, fen % 100);
        let balance = |kind: &str, fen: usize, on: u32| {
            format!(
                "<Bal><Tp><CdOrPrtry><Cd>{kind}</Cd></CdOrPrtry></Tp><Amt Ccy=\"CNY\">{}</Amt>\
                 <CdtDbtInd>CRDT</CdtDbtInd><Dt><Dt>2026-01-{on:02}</Dt></Dt></Bal>\n",
                amount(fen)
            )
        };
        let mut text = format!(
            "<Stmt><Id>S{account}-{}</Id><Acct><Id><Othr><Id>{account}</Id></Othr></Id>\
             <Ccy>CNY</Ccy></Acct>\n",
            days.1
        );
        text += &balance(self.kinds.0, self.opening, days.0);
        text += &balance(self.kinds.1, self.closing(), days.1);
        for on in days.0..=days.1 {
            for n in 0..self.lines {
                text += &format!(
                    "<Ntry><Amt Ccy=\"CNY\">1.50</Amt><CdtDbtInd>CRDT</CdtDbtInd><Sts><Cd>BOOK</Cd></Sts>\
                     <BookgDt><Dt>2026-01-{on:02}</Dt></BookgDt><AcctSvcrRef>R{}</AcctSvcrRef></Ntry>\n",
                    // Some lines of a day are equal.
                    n / 2
                );
            }
        }
        text + "</Stmt>\n"
    }
}

fn camt(stated: &[Stated]) -> String {
    let inside: String = stated.iter().map(Stated::xml).collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <Document xmlns=\"urn:iso:std:iso:20022:tech:xsd:camt.053.001.08\"><BkToCstmrStmt>\
         {inside}</BkToCstmrStmt></Document>\n"
    )
}

/// Two statements of each account, of three days each.
fn large() -> String {
    let first = ACCOUNTS.map(|account| Stated::of(account, (5, 7), 0));
    let second = (first.each_ref()).map(|s| Stated::of(s.account, (8, 10), s.closing()));
    camt(&[first, second].into_iter().flatten().collect::<Vec<_>>())
}

/// What of a file is in the books, without the order in which it came there.
async fn books(store: &Store) -> Vec<String> {
    let db = store.open(0).await;
    let mut tx = db.begin_read().await.expect("a transaction");
    let mut found = Vec::new();
    for sql in [
        "SELECT CAST(account_no AS TEXT) || ' ' || source_id || ' ' || CAST(amount_fen AS TEXT) || ' ' || \
                CAST(revision AS TEXT) || ' ' || CAST(business_day AS TEXT) FROM posting ORDER BY 1",
        "SELECT CAST(account_no AS TEXT) || ' ' || CAST(day AS TEXT) || ' ' || CAST(version AS TEXT) \
                || ' ' || CAST(opening_fen AS TEXT) || ' ' || CAST(closing_fen AS TEXT) \
         FROM statement_day ORDER BY 1",
        "SELECT CAST(account_no AS TEXT) || ' ' || number || ' ' || CAST(version AS TEXT) || ' ' || \
                CAST(lines AS TEXT) FROM statement ORDER BY 1",
        "SELECT CAST(ledger_account AS TEXT) || ' ' || CAST(debit_fen - credit_fen AS TEXT) \
         FROM ledger_balance ORDER BY 1",
    ] {
        let rows: Vec<(String,)> = jintuo::on!(tx, c => sqlx::query_as(sql).fetch_all(c).await)
            .expect("the books can be read");
        found.extend(rows.into_iter().map(|r| r.0));
    }
    tx.rollback().await.expect("a rollback");
    db.close().await;
    found
}

async fn known(store: &Store) {
    let known = registry(&ACCOUNTS).write(&store.dir, "registry");
    store.import(1, &[&known]).await;
}

async fn a_large_file_ends_in_the_books_of_a_whole_one(store: Store) {
    let file = store.dir.write("large.xml", large());
    let whole = store.another().await;
    known(&whole).await;
    let summary = import(&whole, 2, &file, &Options::default()).await;
    let expected = books(&whole).await;
    assert_eq!(whole.rows("raw_piece").await, 0);
    whole.remove().await;

    known(&store).await;
    let other = import(&store, 2, &file, &streamed()).await;
    assert_eq!(other.quarantined, []);
    assert_eq!(other.files, summary.files);
    assert!(store.rows("posting").await > 100);
    assert_eq!(books(&store).await, expected);
    assert!(store.rows("raw_piece").await > 0);
    assert_eq!(store.check().await, []);
    // The same bytes again are known, whichever way they are read.
    for options in [streamed(), Options::default()] {
        let again = import(&store, 3, &file, &options).await;
        assert_eq!(again.files[0].outcome, "known");
        assert_eq!(books(&store).await, expected);
    }
    assert_eq!(store.rows("raw_file").await, 1);
}

async fn a_large_file_is_refused_whole_with_every_reason(store: Store) {
    known(&store).await;
    let of = |account| Stated::of(account, (5, 7), 0);
    let unbalanced = of(ACCOUNTS[1]).xml().replace("1.50", "1.51");
    let good = camt(&[of(ACCOUNTS[0]), of("6217000009"), of(ACCOUNTS[2])]);
    let bad = good.replace("</BkToCstmrStmt>", &(unbalanced + "</BkToCstmrStmt>"));
    let summary = import(&store, 2, &store.dir.write("bad.xml", bad), &streamed()).await;
    let codes: Vec<DefectCode> = summary.quarantined.iter().map(|d| d.code).collect();
    assert_eq!(codes, [DefectCode::UnknownAccount, DefectCode::Unbalanced]);
    assert_eq!(summary.files[0].outcome, "quarantined");
    let twice = camt(&[
        of(ACCOUNTS[0]),
        Stated::of(ACCOUNTS[0], (7, 8), of(ACCOUNTS[0]).closing()),
    ]);
    let cut: String = large().chars().take(large().len() * 2 / 3).collect();
    for (at, name, text, code) in [
        (3, "twice.xml", twice, DefectCode::Duplicate),
        (4, "cut.xml", cut, DefectCode::Truncated),
    ] {
        let summary = import(&store, at, &store.dir.write(name, text), &streamed()).await;
        assert_eq!(summary.quarantined.len(), 1, "{name}");
        assert_eq!(summary.quarantined[0].code, code, "{name}");
    }
    assert_eq!(store.rows("posting").await, 0);
    assert_eq!(store.rows("statement_day").await, 0);
    assert_eq!(store.check().await, []);
}

/// Imports a file and cuts the import after so many polls; true where it ended by itself.
async fn cut_import(store: &Store, file: &Path, (options, polls): (&Options, usize)) -> bool {
    let db = store.open(2).await;
    let inputs: [PathBuf; 1] = [file.to_owned()];
    let ended = cut(polls, intake::import(&db, &inputs, options, &mut Silent)).await;
    db.close().await;
    ended
}

async fn outcomes(store: &Store, outcome: &str) -> i64 {
    let db = store.open(0).await;
    let n = outcomes_in(&db, outcome).await;
    db.close().await;
    n
}

async fn outcomes_in(db: &Db, outcome: &str) -> i64 {
    let mut tx = db.begin_read().await.expect("a transaction");
    let (n,): (i64,) = jintuo::on!(tx, c => sqlx::query_as(
            "SELECT CAST(COUNT(*) AS BIGINT) FROM source_file WHERE outcome = $1")
        .bind(outcome).fetch_one(c).await)
    .expect("files can be counted");
    tx.rollback().await.expect("a rollback");
    n
}

async fn a_large_file_may_be_cut_anywhere(store: Store) {
    let whole = store.another().await;
    known(&whole).await;
    let file = whole.dir.write("large.xml", large());
    import(&whole, 2, &file, &streamed()).await;
    let expected = books(&whole).await;
    whole.remove().await;
    let step = if store.is_postgres() { 19 } else { 5 };
    // Polls hit or miss the time between two groups, as the server answers: once it is met for sure.
    let half = half(&store, false).await;
    let other = registry(&["6217000008"]).write(&half.dir, "other");
    half.import(3, &[&other]).await;
    assert_eq!(books(&half).await, expected);
    half.remove().await;
    let mut polls = 1;
    loop {
        let store = store.another().await;
        known(&store).await;
        let file = store.dir.write("large.xml", large());
        let ended = cut_import(&store, &file, (&streamed(), polls)).await;
        let half = outcomes(&store, "posting").await == 1;
        // Whatever comes next finishes what was begun, without the file.
        std::fs::remove_file(&file).expect("the file is there");
        let other = registry(&["6217000008"]).write(&store.dir, "other");
        store.import(3, &[&other]).await;
        let found = books(&store).await;
        if half {
            assert_eq!(found, expected, "cut after {polls} polls");
        }
        assert!(
            found == expected || store.rows("posting").await == 0,
            "cut after {polls} polls, half a file is seen"
        );
        assert_eq!(outcomes(&store, "posting").await, 0);
        // And the file again adds nothing but what was not begun.
        let file = store.dir.write("large.xml", large());
        import(&store, 4, &file, &streamed()).await;
        assert_eq!(books(&store).await, expected, "cut after {polls} polls");
        assert_eq!(store.check().await, [], "cut after {polls} polls");
        store.remove().await;
        if ended {
            break;
        }
        polls += step;
    }
}

async fn a_superseding_file_that_was_cut_goes_on_superseding(store: Store) {
    let options = Options {
        supersede: true,
        ..streamed()
    };
    let mut polls = 30;
    loop {
        let store = store.another().await;
        known(&store).await;
        // Other statements say otherwise of the same days.
        let other = ACCOUNTS.map(|account| Stated {
            lines: 6,
            ..Stated::of(account, (5, 7), 0)
        });
        let other = camt(&other).replace("<Id>S", "<Id>T");
        store
            .import(2, &[&store.dir.write("other.xml", other)])
            .await;
        let file = store.dir.write("large.xml", large());
        let ended = cut_import(&store, &file, (&options, polls)).await;
        let half = outcomes(&store, "superseding").await == 1;
        if half {
            std::fs::remove_file(&file).expect("the file is there");
            let other = registry(&["6217000008"]).write(&store.dir, "more");
            let summary = store.import(3, &[&other]).await;
            assert_eq!(summary.quarantined, []);
            assert_eq!(summary.files[0].outcome, "used");
            assert_eq!(store.rows("statement_dispute").await, 0);
            // Twelve days and their revisions, and twelve that are new.
            assert_eq!(store.rows("statement_day").await, 36);
            assert_eq!(store.check().await, []);
        }
        store.remove().await;
        if half {
            return;
        }
        assert!(!ended, "the import was never cut between two groups");
        polls += 10;
    }
}

async fn pages_of_a_large_file_are_joined_and_wait(store: Store) {
    known(&store).await;
    let first = Stated {
        kinds: ("OPBD", "ITBD"),
        ..Stated::of(ACCOUNTS[0], (5, 5), 0)
    };
    let second = Stated {
        kinds: ("ITBD", "CLBD"),
        ..Stated::of(ACCOUNTS[0], (5, 5), first.closing())
    };
    let other = Stated::of(ACCOUNTS[1], (5, 7), 0);
    let file = camt(&[second, other, first]);
    let summary = import(&store, 2, &store.dir.write("pages.xml", file), &streamed()).await;
    assert_eq!(summary.quarantined, []);
    assert_eq!(store.rows("statement_day").await, 4);
    assert_eq!(store.rows("posting").await, 14 + 21);
    // One whose neighbour is in another file waits, as it does in a small file.
    let first = Stated {
        kinds: ("OPBD", "ITBD"),
        ..Stated::of(ACCOUNTS[2], (5, 5), 0)
    };
    let second = Stated {
        kinds: ("ITBD", "CLBD"),
        ..Stated::of(ACCOUNTS[2], (5, 5), first.closing())
    };
    let summary = import(
        &store,
        3,
        &store.dir.write("first.xml", camt(&[first])),
        &streamed(),
    )
    .await;
    assert_eq!(summary.files[0].outcome, "waiting");
    let summary = import(
        &store,
        4,
        &store.dir.write("second.xml", camt(&[second])),
        &streamed(),
    )
    .await;
    assert_eq!(summary.files[0].outcome, "used");
    assert_eq!(store.rows("statement_day").await, 5);
    assert_eq!(store.check().await, []);
}

async fn a_rehearsal_of_a_large_file_stores_nothing(store: Store) {
    known(&store).await;
    let file = store.dir.write("large.xml", large());
    let db = store.open(2).await;
    let summary = intake::rehearse(&db, &[file], &streamed(), &mut Silent)
        .await
        .expect("the rehearsal works");
    db.close().await;
    assert_eq!(summary.statements_total, 8);
    assert!(summary.statements.iter().all(|s| s.outcome == Becomes::New));
    assert_eq!(summary.files[0].outcome, "used");
    for table in ["posting", "raw_piece", "raw_file", "statement"] {
        assert_eq!(store.rows(table).await, 0, "{table}");
    }
}

async fn a_damaged_piece_is_named(store: Store) {
    known(&store).await;
    let file = store.dir.write("large.xml", large());
    import(&store, 2, &file, &streamed()).await;
    assert_eq!(store.check().await, []);
    damage_pieces(&store).await;
    let broken = store.check().await;
    assert!(
        broken.iter().any(|b| b.invariant == "raw-file"),
        "{broken:?}"
    );
}

async fn damage_pieces(store: &Store) {
    let damage = "UPDATE raw_piece SET content = digest";
    if store.is_postgres() {
        store.as_superuser(damage).await;
        return;
    }
    let db = store.open(3).await;
    let mut tx = db.begin_write().await.expect("a transaction");
    for sql in ["DROP TRIGGER raw_piece_no_update", damage] {
        jintuo::on!(tx, c => sqlx::query(sql).execute(c).await.map(|_| ()))
            .expect("the damage is done");
    }
    tx.commit().await.expect("a commit");
    db.close().await;
}

/// A store in which an import of the large file was cut as soon as a part of it was in the books; its bytes came by
/// a feed before where they are `delivered`.
async fn half(store: &Store, delivered: bool) -> Store {
    let store = store.another().await;
    known(&store).await;
    let db = store.open(1).await;
    if delivered {
        let mut tx = db.begin_write().await.expect("a transaction");
        keep_delivery(&mut tx, "feed", "large.xml", large().as_bytes())
            .await
            .expect("a delivery");
        tx.commit().await.expect("a commit");
    }
    let (inputs, options) = ([store.dir.write("large.xml", large())], streamed());
    let beside = store.open(2).await;
    let mut silent = Silent;
    let mut work = Box::pin(intake::import(&db, &inputs, &options, &mut silent));
    while outcomes_in(&beside, "posting").await == 0 {
        let polled = std::future::poll_fn(|context| Poll::Ready(work.as_mut().poll(context)));
        assert!(polled.await.is_pending(), "it ends in several parts");
    }
    drop(work);
    db.close().await;
    beside.close().await;
    store
}

async fn a_delivered_large_file_that_was_cut_is_finished(store: Store) {
    let store = half(&store, true).await;
    let other = registry(&["6217000008"]).write(&store.dir, "other");
    let summary = store.import(3, &[&other]).await;
    assert_eq!(summary.quarantined, [], "{:?}", summary.files);
    assert_eq!(store.rows("statement_day").await, 24);
    assert_eq!(outcomes(&store, "posting").await, 0);
    assert_eq!(store.check().await, []);
    store.remove().await;
}

async fn a_half_posted_file_that_cannot_be_finished_keeps_nobody_waiting(store: Store) {
    let store = half(&store, false).await;
    let brought = store.rows("statement_day").await;
    assert!(brought > 0 && brought < 24, "{brought}");
    damage_pieces(&store).await;
    // Another account's file comes: it is taken in, and the one that cannot be finished is named.
    let other = "6217000008";
    let known = registry(&[other]).write(&store.dir, "other");
    let statement = camt(&[Stated::of(other, (5, 9), 0)]);
    let statement = store.dir.write("other.xml", statement);
    let summary = store.import(3, &[&known, &statement]).await;
    let named: Vec<String> = (summary.quarantined.iter())
        .map(ToString::to_string)
        .collect();
    assert_eq!(named.len(), 1, "{named:?}");
    assert!(
        named[0].contains("large.xml") && named[0].contains("digest"),
        "{named:?}"
    );
    assert_eq!(outcomes(&store, "unfinished").await, 1);
    assert_eq!(store.rows("statement_day").await, brought + 5);
    let left = states(&store, other);
    assert_eq!(left.0, 5, "the other account's days are proven");
    assert!(left.1 > 0, "what the half brought is disputed, by name");
    assert_eq!(left.2, 0, "and none of it proven");
    // The file itself is refused by name while its bytes are damaged; then it is finished.
    let file = store.dir.write("large.xml", large());
    let summary = import(&store, 4, &file, &streamed()).await;
    assert_eq!(summary.files[0].outcome, "unreadable");
    assert_eq!(states(&store, other), left);
    mend_pieces(&store).await;
    let summary = import(&store, 5, &file, &streamed()).await;
    assert_eq!(summary.quarantined, []);
    assert_eq!(summary.files[0].outcome, "used");
    assert_eq!(states(&store, other), (5, 0, 20));
    assert_eq!(store.rows("statement_day").await, 24 + 5);
    let again = import(&store, 6, &file, &streamed()).await;
    assert_eq!(again.files[0].outcome, "known");
    assert_eq!(store.check().await, []);
    store.remove().await;
}

/// Proven days of an account, disputed ones of the others that name the large file, and proven ones of theirs.
fn states(store: &Store, account: &str) -> (usize, usize, usize) {
    let ran = store.jintuo(&["feed", "status", "--as-of", "2026-01-09", "--json"]);
    let status: serde_json::Value = serde_json::from_slice(&ran.stdout).expect("one object");
    let days = status["days"].as_array().expect("days");
    let of = |own: bool, state: &str| {
        (days.iter())
            .filter(|d| (d["account_id"] == account) == own && d["state"] == state)
            .filter(|d| own || state == "proven" || d["reason"].to_string().contains("large.xml"))
            .count()
    };
    (
        of(true, "proven"),
        of(false, "disputed"),
        of(false, "proven"),
    )
}

/// Puts the one piece of the large file back, as a backup would.
async fn mend_pieces(store: &Store) {
    let hex = jintuo::base::entropy::hex(large().as_bytes());
    if store.is_postgres() {
        let mend = format!("UPDATE raw_piece SET content = '\\x{hex}'");
        return store.as_superuser(&mend).await;
    }
    let db = store.open(3).await;
    let mut tx = db.begin_write().await.expect("a transaction");
    let mend = "UPDATE raw_piece SET content = $1";
    jintuo::on!(tx, c => sqlx::query(mend).bind(large().into_bytes()).execute(c).await.map(|_| ()))
        .expect("the piece is mended");
    let trigger = "CREATE TRIGGER raw_piece_no_update BEFORE UPDATE ON raw_piece BEGIN \
                   SELECT RAISE(ABORT, 'raw_piece is append-only'); END";
    jintuo::on!(tx, c => sqlx::query(trigger).execute(c).await.map(|_| ())).expect("it is back");
    tx.commit().await.expect("a commit");
    db.close().await;
}

async fn a_part_that_the_database_refuses_keeps_nobody_waiting(store: Store) {
    known(&store).await;
    refuse_bad(&store).await;
    let bad = Stated::of(ACCOUNTS[1], (5, 7), 0).xml();
    let bad = bad.replace("R3<", "BAD<");
    let good = [ACCOUNTS[0], ACCOUNTS[2], ACCOUNTS[3]].map(|a| Stated::of(a, (5, 9), 0));
    let file = camt(&good).replace("</BkToCstmrStmt>", &(bad + "</BkToCstmrStmt>"));
    let file = store.dir.write("large.xml", file);
    let db = store.open(2).await;
    let done = intake::import(&db, std::slice::from_ref(&file), &streamed(), &mut Silent).await;
    db.close().await;
    let refused = done.expect_err("the books cannot hold it");
    assert!(
        matches!(&refused, intake::ImportError::Db(e) if e.may_be_of_the_data()),
        "{refused:?}"
    );
    assert_eq!(outcomes(&store, "posting").await, 1);
    let known = registry(&["6217000008"]).write(&store.dir, "other");
    let summary = store.import(3, &[&known]).await;
    assert!(summary.quarantined[0].to_string().contains("large.xml"));
    assert_eq!(outcomes(&store, "unfinished").await, 1);
    let (_, disputed, proven) = states(&store, "6217000008");
    assert!(disputed > 0 && proven == 0, "{disputed} {proven}");
    assert_eq!(store.check().await, []);
    // A person who has asked the bank has the last word.
    let mended = store.dir.write("mended.xml", camt(&good));
    let supersede = Options {
        supersede: true,
        ..streamed()
    };
    import(&store, 4, &mended, &supersede).await;
    let (_, disputed, proven) = states(&store, "6217000008");
    assert_eq!((disputed, proven), (0, 15));
}

async fn a_number_that_is_none_is_refused(store: Store) {
    known(&store).await;
    let text = camt(&[Stated::of(ACCOUNTS[0], (5, 7), 0)]);
    let long = text.replace("<Id>S", &format!("<Id>{}", "N".repeat(300)));
    let summary = import(
        &store,
        2,
        &store.dir.write("a.xml", long),
        &Options::default(),
    )
    .await;
    assert_eq!(summary.quarantined[0].code, DefectCode::TooLarge);
    assert_eq!(store.rows("statement_day").await, 0);
}

async fn a_delivery_whose_kept_bytes_are_damaged_is_nobodys_word(store: Store) {
    known(&store).await;
    let other = camt(&[Stated::of(ACCOUNTS[0], (5, 7), 0)]);
    let first = camt(&[Stated::of(ACCOUNTS[1], (5, 7), 0)]);
    // Still a good statement of the account, and not the one that came.
    let damaged = first.replace("R1<", "R9<");
    assert_ne!(damaged, first);
    let db = store.open(2).await;
    let mut tx = db.begin_write().await.expect("a transaction");
    for (name, text) in [("first.xml", &first), ("second.xml", &other)] {
        (keep_delivery(&mut tx, "feed", name, text.as_bytes()).await).expect("a delivery");
    }
    tx.commit().await.expect("a commit");
    let digest = {
        use sha2::Digest as _;
        sha2::Sha256::digest(first.as_bytes()).to_vec()
    };
    if store.is_postgres() {
        let hex = jintuo::base::entropy::hex;
        let (content, digest) = (hex(damaged.as_bytes()), hex(&digest));
        let damage =
            format!("UPDATE raw_file SET content = '\\x{content}' WHERE digest = '\\x{digest}'");
        store.as_superuser(&damage).await;
    } else {
        let mut tx = db.begin_write().await.expect("a transaction");
        let drop = "DROP TRIGGER raw_file_no_update";
        jintuo::on!(tx, c => sqlx::query(drop).execute(c).await.map(|_| ())).expect("it is gone");
        let damage = "UPDATE raw_file SET content = $1 WHERE digest = $2";
        jintuo::on!(tx, c => sqlx::query(damage).bind(damaged.into_bytes()).bind(digest)
            .execute(c).await.map(|_| ()))
        .expect("the damage is done");
        tx.commit().await.expect("a commit");
    }
    let terms = intake::TermsOfFeeds::default();
    let taken = intake::take_deliveries(&db, &terms, &mut Silent).await;
    let summary = taken.expect("intake works").expect("there are deliveries");
    db.close().await;
    let outcomes: Vec<&str> = summary.files.iter().map(|f| f.outcome.as_str()).collect();
    assert_eq!(outcomes, ["unreadable", "used"]);
    assert!(
        summary.quarantined[0].found.contains("digest"),
        "{summary:?}"
    );
    assert_eq!(store.rows("statement_day").await, 3, "the other's alone");
    assert_eq!(store.rows("delivery WHERE state = 'quarantined'").await, 1);
}
