//! Imports and runs that end half-way: nothing is seen of them, and the same command again ends in the
//! same books. In-process, cut at every point where the work waits; by `kill -9` with the built binary.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use jintuo::report::Wanted;
use jintuo::store::Db;
use jintuo::{intake, run};

use crate::bundle::Bundle;
use crate::harness::{Books, Dir, Rows, Store, command, day, jintuo, on_both};
use crate::small::{self, changes, small};

on_both!(
    an_import_may_be_cut_anywhere,
    a_run_may_be_cut_anywhere,
    another_command_does_not_publish_half_a_bundle,
);

/// Polls work so many times at most, then drops it; true where it ended by itself, and well.
pub(crate) async fn cut<T, E: std::fmt::Debug>(
    polls: usize,
    work: impl Future<Output = Result<T, E>>,
) -> bool {
    let mut work = Box::pin(work);
    let mut left = polls;
    std::future::poll_fn(move |context| {
        if left == 0 {
            return Poll::Ready(false);
        }
        left -= 1;
        work.as_mut().poll(context).map(|ended| {
            ended.expect("the work is cut or ends well");
            true
        })
    })
    .await
}

/// Counts the files an import has started.
struct FilesStarted<'a>(&'a AtomicUsize);

impl intake::Progress for FilesStarted<'_> {
    fn total(&mut self, _: u64) {}
    fn file(&mut self, _: &str) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
    fn bytes(&mut self, _: u64) {}
    fn done(&mut self) {}
}

/// Imports until so many files have been started, then drops the work: a killed import.
async fn import_cut_in_file(db: &Db, inputs: &[PathBuf], files: usize) {
    let started = AtomicUsize::new(0);
    let mut progress = FilesStarted(&started);
    let options = intake::Options::default();
    let mut work = Box::pin(intake::import(db, inputs, &options, &mut progress));
    std::future::poll_fn(|context| {
        let ended = work.as_mut().poll(context).is_ready();
        assert!(!ended, "the import has {files} files");
        if started.load(Ordering::Relaxed) < files {
            return Poll::Pending;
        }
        Poll::Ready(())
    })
    .await;
}

async fn books(store: &Store, at: i64) -> Books {
    store.reconcile(at, small::AS_OF, "workload").await;
    let wanted = Wanted {
        as_of: Some(day(small::AS_OF)),
        ..Wanted::default()
    };
    store.books(&wanted).await
}

/// Balances of the ledger, which no report shows in full.
async fn ledger(store: &Store) -> Vec<(i64, i64, i64)> {
    let db = store.open(0).await;
    let mut tx = db.begin_read().await.expect("a transaction");
    let rows = jintuo::on!(tx, c => sqlx::query_as(
            "SELECT inst_id, ledger_account, debit_fen - credit_fen FROM ledger_balance \
             ORDER BY inst_id, ledger_account")
            .fetch_all(c).await)
    .expect("balances can be read");
    tx.rollback().await.expect("a rollback");
    db.close().await;
    rows
}

async fn an_import_may_be_cut_anywhere(store: Store) {
    let base = small().write(&store.dir, "base");
    let update = changes().write(&store.dir, "update");
    let undisturbed = store.another().await;
    undisturbed.import(1, &[&base]).await;
    let before = books(&undisturbed, 1).await.essence();
    undisturbed.import(2, &[&update]).await;
    let after = books(&undisturbed, 2).await.essence();
    let balances = ledger(&undisturbed).await;
    assert_ne!(before, after);
    undisturbed.remove().await;
    let step = if store.is_postgres() { 7 } else { 2 };
    let mut polls = 1;
    loop {
        let store = store.another().await;
        store.import(1, &[&base]).await;
        let db = store.open(2).await;
        let inputs = [update.clone()];
        let options = intake::Options::default();
        let ended = cut(
            polls,
            intake::import(&db, &inputs, &options, &mut intake::Silent),
        )
        .await;
        db.close().await;
        if !ended {
            let seen = books(&store, 3).await.essence();
            assert!(
                seen == before || store.check().await.is_empty(),
                "cut after {polls} polls, half an import is seen"
            );
            store.import(4, &[&update]).await;
        }
        assert_eq!(store.check().await, [], "cut after {polls} polls");
        let again = books(&store, 5).await.essence();
        assert_eq!(again, after, "cut after {polls} polls");
        assert_eq!(ledger(&store).await, balances, "cut after {polls} polls");
        store.remove().await;
        if ended {
            break;
        }
        polls += step;
    }
    assert!(polls > 20, "the import waits more than {polls} times");
}

async fn another_command_does_not_publish_half_a_bundle(store: Store) {
    let base = small().write(&store.dir, "base");
    let update = changes().write(&store.dir, "update");
    let other = Bundle::of(&[("districts", "district_id,name\nD9,示例九区\n")]);
    let other = other.write(&store.dir, "other");
    store.import(1, &[&base]).await;
    let before = books(&store, 1).await.essence();
    let db = store.open(2).await;
    import_cut_in_file(&db, std::slice::from_ref(&update), 2).await;
    db.close().await;
    let refused = store.try_import(3, &[&other]).await;
    assert!(
        matches!(&refused, Err(intake::ImportError::HalfTaken(what)) if what.contains("update")),
        "{refused:?}"
    );
    assert_eq!(books(&store, 3).await.essence(), before);
    let adopting = intake::Options {
        adopt: true,
        ..intake::Options::default()
    };
    let db = store.open(4).await;
    let summary = intake::import(&db, &[other], &adopting, &mut intake::Silent).await;
    db.close().await;
    assert!(summary.expect("the import works").resumed.is_some());
    store.import(5, &[&update]).await;
    assert_eq!(store.check().await, []);
}

async fn a_run_may_be_cut_anywhere(store: Store) {
    store.import(1, &[&small().write(&store.dir, "base")]).await;
    let before = books(&store, 1).await;
    store
        .import(2, &[&changes().write(&store.dir, "update")])
        .await;
    let options = run::Options {
        threads: None,
        as_of: day(small::AS_OF),
        known_at: None,
        policy: "workload".to_owned(),
        district: None,
    };
    let wanted = Wanted {
        as_of: Some(day(small::AS_OF)),
        ..Wanted::default()
    };
    let mut polls = 1;
    loop {
        let db = store.open(3).await;
        let ended = cut(polls, run::day(&db, &options, &mut run::Silent)).await;
        db.close().await;
        if ended {
            break;
        }
        assert_eq!(store.check().await, [], "cut after {polls} polls");
        // Until a run is complete, the one before answers.
        let seen = store.books(&wanted).await;
        if seen != before {
            break;
        }
        polls += 1;
    }
    let fresh = store.another().await;
    for (at, bundle) in (1..).zip([small(), changes()]) {
        let path = bundle.write(&fresh.dir, &format!("fresh-{at}"));
        fresh.import(at, &[&path]).await;
    }
    assert_eq!(
        books(&store, 4).await.essence(),
        books(&fresh, 4).await.essence()
    );
    fresh.remove().await;
}

/// Copies of the small bundle, each with ids of its own.
fn many(copies: usize) -> Bundle {
    let mut all = Bundle::default();
    for n in 0..copies {
        for (stem, (header, rows)) in small().0 {
            let file = (all.0.entry(stem.clone())).or_insert_with(|| (header, Vec::new()));
            for row in rows {
                let row = row
                    .split(',')
                    .map(|cell| match cell {
                        "D1" => "D1".to_owned(),
                        c if c.starts_with(|first: char| first.is_ascii_uppercase())
                            && c[1..].parse::<u8>().is_ok() =>
                        {
                            format!("{c}-{n:05}")
                        }
                        c => c.to_owned(),
                    })
                    .collect::<Vec<_>>()
                    .join(",");
                file.1.push(row);
            }
        }
    }
    let districts = all.0.get_mut("districts").expect("a file");
    districts.1.truncate(1);
    all
}

const COPIES: usize = 6_000;

struct Killed {
    url: String,
    folder: PathBuf,
    file: PathBuf,
    /// What the killed command said on stderr.
    said: PathBuf,
}

impl Killed {
    fn new(dir: &Dir, name: &str, folder: &Path) -> Killed {
        let file = dir.path().join(format!("{name}.db"));
        Killed {
            url: format!("sqlite:{}", file.display()),
            folder: folder.to_owned(),
            file,
            said: dir.path().join(format!("{name}.stderr")),
        }
    }

    fn import(&self) -> Vec<String> {
        let folder = self.folder.display().to_string();
        ["--db", &self.url, "import", &folder]
            .map(str::to_owned)
            .to_vec()
    }

    fn reconcile(&self) -> Vec<String> {
        let args = [
            "--db",
            &self.url,
            "reconcile",
            "--policy",
            "workload",
            "--as-of",
        ];
        let mut args = args.map(str::to_owned).to_vec();
        args.push(small::AS_OF.to_owned());
        args
    }

    /// Bytes of the database and its log.
    fn size(&self) -> u64 {
        let len = |suffix: &str| {
            let mut path = self.file.as_os_str().to_owned();
            path.push(suffix);
            std::fs::metadata(path).map_or(0, |m| m.len())
        };
        len("") + len("-wal")
    }

    /// Starts a command and kills it with signal 9 once the files have reached a size. True where it
    /// was killed before it ended.
    fn kill_at(&self, args: &[String], size: u64) -> bool {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let mut child = command(&args)
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&self.said).expect("a file"))
            .spawn()
            .expect("the binary starts");
        while self.size() < size {
            if child.try_wait().expect("the child can be asked").is_some() {
                return false;
            }
            std::thread::yield_now();
        }
        self.end(&mut child)
    }

    fn end(&self, child: &mut Child) -> bool {
        child.kill().expect("the child can be killed");
        let status = child.wait().expect("the child ends");
        let said = std::fs::read_to_string(&self.said).expect("what it said");
        assert!(!said.contains("panicked"), "{said}");
        status.code().is_none()
    }

    fn done(&self, args: &[String], code: i32) {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        jintuo(&args).ended(code);
    }

    fn reports(&self) -> Vec<Rows> {
        ["institutions", "districts", "breaks", "matches"]
            .map(|name| {
                let args = ["--db", &self.url, "report", name, "--format", "csv"];
                let rows = Rows::parse(&jintuo(&args).ended(0).stdout);
                match name {
                    "breaks" => rows.only(&["code", "subject", "date", "amount_fen", "n"]),
                    _ => rows,
                }
            })
            .to_vec()
    }
}

#[test]
fn a_killed_import_and_a_killed_run_end_in_the_same_books() {
    let dir = Dir::new();
    let bundle = many(COPIES);
    let folder = bundle.write(&dir, "bundle");
    let whole = Killed::new(&dir, "whole", &folder);
    whole.done(&whole.import(), 0);
    let imported = whole.size();
    whole.done(&whole.reconcile(), 0);
    let reconciled = whole.size();
    let expected = whole.reports();
    assert_eq!(expected[0].0.len(), COPIES);
    let killed = Killed::new(&dir, "killed", &folder);
    let mut kills = 0;
    for percent in [5, 20, 45, 70] {
        kills += u32::from(killed.kill_at(&killed.import(), imported * percent / 100));
    }
    assert!(kills >= 2, "{kills} imports were killed under way");
    killed.done(&killed.import(), 0);
    jintuo(&["--db", &killed.url, "check"]).ended(0);
    let from = killed.size();
    let mut kills = 0;
    for percent in [1, 50] {
        let more = reconciled.saturating_sub(imported) * percent / 100;
        kills += u32::from(killed.kill_at(&killed.reconcile(), from + more));
    }
    assert!(kills >= 1, "no run was killed under way");
    killed.done(&killed.reconcile(), 0);
    let silent = jintuo(&["--db", &killed.url, "check"]).ended(0);
    assert_eq!(
        (silent.text(), silent.stderr),
        (String::new(), String::new())
    );
    assert_eq!(killed.reports(), expected);
}
