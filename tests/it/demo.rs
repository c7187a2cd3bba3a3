//! The demo, whose banks are pulled over real sockets: its books are those that the same files make when
//! they are imported by hand, and its server shows them.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Stdio;

use jintuo::base::{Day, FlagCode};
use jintuo::demo::{City, Plan, simulate};
use jintuo::policy::CHINA;
use jintuo::report::Wanted;

use crate::exposition::Exposition;
use crate::harness::{Books, Dir, Store, command, on_both};

on_both!(what_comes_over_sockets_makes_the_books_that_files_make);

const DAYS: usize = 10;
const INSTITUTIONS: usize = 200;

fn business_days(last: Day) -> Vec<Day> {
    let mut days: Vec<Day> = (last.plus(-30).through(last))
        .filter(|day| CHINA.is_working(*day))
        .collect();
    days.split_off(days.len() - DAYS)
}

async fn books(store: &Store, day: Day) -> Books {
    let wanted = Wanted {
        as_of: Some(day),
        ..Wanted::default()
    };
    store.books(&wanted).await.essence()
}

/// Accounts whose statement a day's run misses.
fn missed(books: &Books, day: Day) -> BTreeSet<String> {
    let day = day.to_string();
    let rows = books.breaks.0.iter();
    rows.filter(|r| r["code"] == "FEED_MISSING" && r["date"] == day)
        .map(|r| r["subject"].clone())
        .collect()
}

/// Accounts whose statement of `day` the play has not come by the end of `seen`.
fn planted(city: &City, day: Day, seen: Day) -> BTreeSet<String> {
    let silent = [FlagCode::FeedMissing, FlagCode::FeedBroken];
    let planted = city.planted.iter().filter(|p| silent.contains(&p.code));
    let on_day = planted.filter(|p| p.day == day && p.cured.is_none_or(|cured| seen < cured));
    on_day.map(|p| p.subject.clone()).collect()
}

async fn what_comes_over_sockets_makes_the_books_that_files_make(store: Store) {
    let (days, seed) = (business_days("2026-06-30".parse().expect("a day")), 7_u64);
    let last = days[DAYS - 1];
    let [seed_text, count, institutions] =
        [seed.to_string(), DAYS.to_string(), INSTITUTIONS.to_string()];
    let folder = store.dir.path().join("demo");
    let folder = folder.to_string_lossy();
    let args = [
        "demo",
        "--seed",
        &seed_text,
        "--days",
        &count,
        "--institutions",
        &institutions,
    ];
    store
        .jintuo(&[&args[..], &["--no-serve", "--dir", &folder]].concat())
        .ended(0);
    // By hand.
    let other = store.another().await;
    let plan = Plan {
        seed,
        institutions: INSTITUTIONS,
        business_days: days.clone(),
    };
    let city = simulate(&plan, &other.dir.path().join("city")).expect("a city");
    other.import(0, &[&city.registry_bundle]).await;
    let mut files = 0;
    for day in &city.days {
        let inputs = day.inputs();
        let inputs: Vec<&Path> = inputs.iter().map(std::path::PathBuf::as_path).collect();
        other.import(1, &inputs).await;
        other.reconcile(2, &day.day.to_string(), "default").await;
        files += day.statements.len();
    }
    let pulled = books(&store, last).await;
    assert_eq!(pulled, books(&other, last).await);
    assert_eq!(
        store.rows("delivery").await,
        i64::try_from(files).expect("few")
    );
    assert_eq!(store.check().await, []);
    // What does not come stays a gap; what came later made its day whole, which was reconciled again.
    let (mut stays, mut came) = (0, 0);
    for day in &days {
        let books = books(&store, *day).await;
        assert_eq!(missed(&books, *day), planted(&city, *day, last), "{day}");
        stays += planted(&city, *day, last).len();
        came += planted(&city, *day, *day).len() - planted(&city, *day, last).len();
    }
    assert!(stays > 1 && came > 10, "{stays} and {came} were planted");
    other.remove().await;
}

#[test]
fn the_demo_shows_its_pages_and_its_figures_until_it_is_told_to_stop() {
    let dir = Dir::new();
    let folder = dir.path().join("demo");
    let folder = folder.to_string_lossy();
    let mut demo = command(&[
        "demo",
        "--institutions",
        "12",
        "--days",
        "3",
        "--dir",
        &folder,
        "--port",
        "18080",
        "--admin-listen",
        "127.0.0.1:0",
    ])
    .stdout(Stdio::null())
    .stderr(Stdio::piped())
    .spawn()
    .expect("the binary starts");
    let mut said = BufReader::new(demo.stderr.take().expect("a pipe")).lines();
    let mut address = |word: &str| {
        let line = said.find(|l| l.as_ref().is_ok_and(|l| l.contains(word)));
        let line = line.expect("the demo goes on").expect("text");
        let rest = line.split("http://").nth(1).expect("an address");
        rest.split('/').next().unwrap_or_default().to_owned()
    };
    let (admin, pages) = (address("admin port"), address("Ctrl-C"));
    assert!(get(&pages, "/").1.contains("示例数据"));
    let (status, body) = get(&admin, "/metrics");
    assert_eq!(status, 200);
    let figures = Exposition::parse(&body);
    assert_eq!(figures.get("jintuo_run_newest_day_age_days", &[]), Some(1));
    assert!(figures.series("jintuo_feed_info") >= 2, "{body}");
    assert_eq!(figures.get("jintuo_runs_completed_total", &[]), Some(3));
    let answered = [("feed", "DEMO-A"), ("outcome", "answered")];
    let answered = figures.get("jintuo_fetches_total", &answered);
    assert!(answered.is_some_and(|n| n >= 3), "{body}");
    let told = std::process::Command::new("kill")
        .args(["-TERM", &demo.id().to_string()])
        .status();
    assert!(told.expect("kill is there").success());
    assert_eq!(demo.wait().expect("it ends").code(), Some(0));
}

/// Status and body.
pub(crate) fn get(address: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("it listens");
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    .expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("head and body");
    let status = head.split(' ').nth(1).expect("a status");
    (status.parse().expect("a number"), body.to_owned())
}
