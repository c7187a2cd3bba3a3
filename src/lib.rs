//! # Jintuo 尽托: a prepaid-fee escrow supervision ledger
//!
//! This is the architecture document. Read it once from top to bottom; then the `//!` of a module says
//! what must stay true in it. What the product is for, and its file formats, are in `README.md`.
//!
//! # Bird's eye
//!
//! Institutions report contracts, fees, lessons, refunds and releases; banks state what accounts hold. The
//! first half, [`intake`], turns these bytes into books. The second half, [`run`], turns books into findings
//! for one business day. Everything shown, on paper or in a browser, is read from one completed run.
//! [`schedule`] does both unattended: it asks banks, takes in what they deliver, and reconciles each day.
//!
//! ```text
//! bundle, statement ──► intake ─────────────────────────► run ───────────────────────► report ──► web, cli
//!                       feed keeps, wire reads and proves  reconcile ► position ► flag
//!                       registry, ledger store facts       store differences per institution
//! ```
//!
//! Two clocks run through all of it. A fact has the day it happened (`business_day`) and the file it was
//! learned from (`source_no`, numbered in the order of completed imports). Hence "known at an instant" is
//! "up to a file number", and a figure is a function of (as-of day, known-at instant, policy version).
//!
//! # Entry points
//!
//! - `main.rs` calls [`cli::main`]; each command opens the database with [`app::open`] and calls what a page
//!   or the scheduler calls: [`intake::import`], [`run::day`], [`report::find_run`], [`check::check`].
//! - [`schedule::Service`] works at what is due; `jintuo serve` runs it beside the pages.
//! - [`web::serve`] answers pages through the port [`web::PageSource`], which [`app::DbPages`] implements.
//! - [`web::admin::serve`] says on a port of its own whether the service lives and is ready, and how its feeds
//!   are, through the port [`web::admin::Watch`], which [`monitor::Monitor`] implements.
//! - [`intake::rehearse`] plays an import through in one transaction that is always taken back
//!   ([`store::Db::rehearse`]); `jintuo import --dry-run` and, through the port [`web::preview::ImportPreview`],
//!   the upload preview show what it says.
//! - [`demo::simulate`] writes a fictional city; the demo command feeds it through the same doors.
//!
//! # The story of a statement file
//!
//! | step | call | transaction |
//! |---|---|---|
//! | one import at a time | [`store::Db::lock`] | none; the lock ends with its holder |
//! | open or resume the import's row | [`feed::store::open`] | 1 |
//! | number the file, keep the bytes by digest; taken before? then stop, quietly | [`feed::store::open_file`], [`feed::store::keep_raw`] | 2 |
//! | tell the format, read, join pages | [`wire::sniff()`], [`wire::parse`], [`wire::join_pages`] | pure |
//! | prove: opening + booked = closing; days; ids of entries | [`wire::verify()`], [`wire::daily_balances`], [`wire::entry_identity`] | pure |
//! | judge each stored day: the same, grown, revised, disputed; append days, post and reverse lines; the file is taken | [`feed::store::append_statement_days`], [`ledger::post()`] | 3 |
//! | write counts, make the import visible | [`feed::store::complete`] | 4 |
//!
//! What a file leaves open, its account or the unit of its amounts, settings may fill ([`wire::Assumptions`]);
//! what was filled is noted in transaction 3. A file that fails a step is quarantined whole with its reason;
//! its bytes stay. Transaction 2 comes before parsing, so that what a bank sent is safe whatever the parser
//! does to it. A day that contradicts a stored one becomes a claim beside it, never an edit: whether the two still differ is derived when a day is
//! proved ([`reconcile::prove`]), as is the state of every account-day ([`reconcile::days`]).
//!
//! # The story of a bundle
//!
//! 1. `intake::bundle` lists the files of folders and zips; [`intake::import`] takes them in the order of
//!    [`wire::interchange::FileKind::ALL`], parents before children, whatever order they were named in.
//! 2. Before each kind, rows that waited for a parent are tried again ([`feed::store::waiting`]).
//! 3. [`wire::interchange::Reader`] binds columns by name and gives a row or a [`base::Defect`] with its
//!    place. A bad row is quarantined, a row without its parent waits; the next row is read all the same.
//! 4. Records (districts, institutions, licences, accounts, orders, settlements, freezes) get a next version
//!    where they differ from the stored one: one transaction a portion, orders up to 100,000 at a time.
//! 5. Facts are collected as [`ledger::Draft`]s, up to [`intake::BATCH_ROWS`], sorted into key order by
//!    [`ledger::sorted`] and posted by [`ledger::post()`] in transactions of about 100,000 rows that hold whole
//!    institutions. A known equal row is a no-op; a different one is a reversal and a new row.
//! 6. [`feed::store::complete`] makes everything visible at once. A killed import left only whole
//!    transactions; the same command finds them equal and goes on.
//!
//! # The story of a decision
//!
//! [`intake::decisions`] records what people decide beside the rules: a proposal, and its approval by another person,
//! each an import of its own with a file number, so that "as known before" holds for decisions too. Members are the
//! senders' ids with the amounts they had; [`reconcile::match_lines`] resolves them anew in every run and leaves out what no
//! longer fits ([`reconcile::Lapse`]). A write-off or waiver marks its finding ([`flag::raise`]); no figure of
//! [`position`] reads one.
//!
//! # The story of a run
//!
//! [`run::day`] takes the run lock and opens the run's row with its policy version and its cut of file
//! numbers (transaction 1). Then, in portions of 256 institutions, one transaction each:
//! [`reconcile::store::known_since`] reads what is carried of an institution and what was learned since, or, where that
//! does not hold, [`reconcile::store::known`] all its facts; [`reconcile::match_lines`] applies what people decided
//! ([`decision`]) and matches the rest by the rule packs of the policy, [`position::measure`] measures,
//! [`position::prove_accounts`] proves each account to the fen, [`flag::raise`] raises, all pure per
//! institution; the stores write only what differs from the run before
//! ([`reconcile::store::store_matches`], [`position::store`], [`flag::store::store`], all through
//! [`store::changes`]). The last transaction sums districts and completes the row. A killed run is never seen.
//!
//! What is settled for good is folded into sums ([`position::fold()`]) and carried forward
//! ([`reconcile::carried`]), so that a day costs what is open and new and not what has ever been. News that reach
//! behind what is carried, or name something in it, have the institution read whole; so does what is carried where
//! it would not say today what all facts say. Nothing else reads it: a replay, an explanation and a run of what
//! was known before go by facts alone.
//!
//! Because all of it is a function of facts, day, cut and policy version, [`report::explain()`] does one
//! institution's matching again to say why a line was matched or each candidate near it was not, and
//! [`run::replay`] does a whole run again and compares every row it left.
//!
//! # The story of an unattended day
//!
//! Work is rows ([`feed::jobs`]): one per feed and day to fetch, one per day to reconcile. A replica claims a
//! row, and the transaction that writes the effect ends the claim; a claim that was lost meanwhile makes
//! that transaction fail. So each effect happens once, whoever is killed, paused or started twice.
//!
//! | step | call | transaction |
//! |---|---|---|
//! | day D is owed by working days and settings; its first firing comes | [`schedule::times`] | rows planned |
//! | claim the row, and prolong the claim while the work goes on; ask the bank for D | [`feed::source::Source::fetch`] | claim; each beat |
//! | before each request, store until when the bank is to be left alone, whoever asks next | [`feed::deliveries::set_not_before`] | one a request, under the claim |
//! | keep each file as a delivery, with the mark where to go on | [`feed::deliveries::keep_delivery`] | one a file, under the claim |
//! | it answered: done. It did not: later again, by pause or firing | [`feed::jobs::store::finish`], [`feed::jobs::store::retry`] | ends the claim |
//! | count an attempt at deliveries, then read them in one import | [`intake::take_deliveries`] | attempt; then as any import, which settles them |
//! | all accounts have delivered D, or its deadline has come | `schedule::store` | row hastened |
//! | reconcile D, days in their order | [`run::claimed_day`] | the last one ends the claim |
//! | a file that came later speaks of a day up to D | file numbers against the run's cut | row opened again |
//!
//! # Modules
//!
//! The lines below this text are the dependency order: a module uses only modules listed above it. A test
//! enforces it, and the comment between two lines keeps the formatter from sorting them. `sqlx` is named
//! only in `store`, in each module's `store.rs` or `store/` and in [`check`]; `axum` only in [`web`];
//! `clap` only in [`cli`]. Modules up to [`check`] borrow a [`store::Tx`] or take values; only [`intake`],
//! [`run`] and what is below them begin and commit ([`check`] reads).
//!
//! # Invariants
//!
//! 1. Money is whole fen in [`base::Money`]; every sum is checked; ratios are exact and printed by floor.
//! 2. A posting is one row with its debit and credit, so the books balance by construction; `(inst_id, seq)`
//!    has no gap and is chained by hash; running totals move with the rows and are re-proved by [`check`].
//! 3. Nothing stored as history is changed or removed: triggers on SQLite, grants on PostgreSQL
//!    ([`store::APPEND_ONLY_TABLES`]). A mistake is reversed.
//! 4. Every unique key and join of an institution's tables holds `inst_id`; no rule looks across two
//!    institutions, and no requirement is netted across contracts. This is what lets the data be sharded.
//! 5. Bad data is a value with place and remedy; `Err` means that we could not work.
//! 6. A missing or broken statement is UNKNOWN, never coverage.
//! 7. Replaying, shuffling or splitting input gives the same books.
//! 8. Time enters through [`base::Clock`], once per transaction; chance only through a seed.
//! 9. One body of SQL runs on SQLite, on PostgreSQL and on PostgreSQL over several nodes (Citus); what differs is
//!    listed in [`store::dialect`].
//!
//! # Absent on purpose
//!
//! Repository and service traits; an ORM; `sqlx::Any`; floats; retries of a commit whose outcome is unknown
//! (steps are repeated under the same keys instead); matching on an amount alone; editing or deleting facts;
//! clearing a finding by a click, or by one person; names of pupils or parents; JavaScript on pages.
//!
//! Absent still: accounts and sign-in, cases, signed reports.
//!
//! # Example
//!
//! One institution, one fee, one bank line, one day:
//!
//! ```
//! use jintuo::{base::Clock, intake, report, run, store};
//!
//! let bundle = std::env::temp_dir().join(format!("jintuo-doc-{}", std::process::id()));
//! std::fs::create_dir_all(&bundle)?;
//! for (file, rows) in [
//!     ("districts.csv", "district_id,name\nEAST,示例东区\n"),
//!     ("institutions.csv", "institution_id,district_id,name\nI1,EAST,示例机构\n"),
//!     ("accounts.csv", "account_id,institution_id,kind,min_deposit_fen,status\nA1,I1,CUSTODY,0,filed\n"),
//!     ("orders.csv", "order_id,institution_id,student_id,ordered_on,lessons,unit_price_fen,amount_fen\n\
//!                     O1,I1,S1,2026-06-29,10,10000,100000\n"),
//!     ("payments.csv", "payment_id,order_id,institution_id,account_id,paid_on,channel,reference,amount_fen\n\
//!                       P1,O1,I1,A1,2026-06-29,TRANSFER,R1,100000\n"),
//!     ("bank_statements.csv", "account_id,date,opening_fen,closing_fen\nA1,2026-06-30,0,100000\n"),
//!     ("bank_entries.csv", "entry_id,account_id,booked_on,code,direction,amount_fen,reference,memo\n\
//!                           E1,A1,2026-06-30,TRF,C,100000,R1,\n"),
//! ] {
//!     std::fs::write(bundle.join(file), rows)?;
//! }
//!
//! let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! let table = runtime.block_on(async {
//!     let clock = Clock::system(chrono_tz::Asia::Shanghai);
//!     let db = store::Db::open("sqlite::memory:", clock, &store::OpenOptions::default()).await?;
//!     let inputs = [bundle.clone()];
//!     intake::import(&db, &inputs, &intake::Options::default(), &mut intake::Silent).await?;
//!     let options = run::Options {
//!         threads: None,
//!         as_of: "2026-06-30".parse().map_err(anyhow::Error::msg)?,
//!         known_at: None,
//!         policy: jintuo::policy::DEFAULT.to_owned(),
//!         district: None,
//!     };
//!     run::day(&db, &options, &mut run::Silent).await?;
//!     let mut tx = db.begin_read().await?;
//!     let run = report::find_run(&mut tx, &report::Wanted::default()).await?.expect("just completed");
//!     let mut table = Vec::new();
//!     report::districts(&mut tx, &run).await?.write(report::Form::Csv, &run.head, &mut table)?;
//!     anyhow::Ok(String::from_utf8(table)?)
//! })?;
//! std::fs::remove_dir_all(&bundle)?;
//! println!("{table}");
//! assert!(table.contains("EAST,100000,100000,0,1,0,1.0000,1.0000"));
//! # anyhow::Ok(())
//! ```

// Words of the domain: money, days, ids, codes. Pure.
pub mod base;
// Settings and their defaults; the only reader of the environment.
pub mod config;
// The only code that names a database: connections, transactions, bulk writes, locks, dialect.
pub mod store;
// Parameters in force with their legal basis, and the working-day calendar.
pub mod policy;
// Bytes to records and defects, one file per format; whether a statement proves itself. Pure.
pub mod wire;
// Who and what is supervised: districts, institutions, licences, accounts, contracts.
pub mod registry;
// Postings, running balances, the hash chain; the only writer of them.
pub mod ledger;
// What arrived: imports, raw files, quarantine, waiting rows, statement days; where files are fetched from.
pub mod feed;
// What people decided beside the rules: proposals, who approved them, what was undone.
pub mod decision;
// Bank lines against what was reported; which statement days are proven.
pub mod reconcile;
// Required, held, explained, uncovered; status and coverage.
pub mod position;
// Findings with severity, arithmetic and deadline.
pub mod flag;
// Read models of one completed run, as tables and as page values.
pub mod report;
// Named invariants, re-proved from the rows.
pub mod check;
// First half of the story: bytes to books.
pub mod intake;
// Second half of the story: books to findings.
pub mod run;
// The books from one database into another.
pub mod transfer;
// When: feeds fetched, deliveries taken in, days reconciled, unattended.
pub mod schedule;
// A fictional city that writes files and knows nothing of who reads them.
pub mod demo;
// Banks that deliver late, twice, wrongly: files with seeded trouble, for trying feeds out.
pub mod bank_sim;
// Pages over HTTP, through one port; pushes of banks, through another.
pub mod web;
// Shared handles; pages answered from the database.
pub mod app;
// What the service says of itself: readiness, and figures for Prometheus.
pub mod monitor;
// Arguments in, reports and exit codes out.
pub mod cli;
