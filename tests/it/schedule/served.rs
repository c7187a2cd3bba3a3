//! The built binary: a folder's file becomes a reconciled day by itself, and the service stops when told.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jintuo::base::Clock;
use jintuo::intake;
use jintuo::policy::CHINA;

use super::world::{Reply, World, at, prompt, working_days};
use crate::bundle::Bundle;
use crate::demo::get;
use crate::exposition::Exposition;
use crate::harness::{Dir, Store, command, jintuo, on_sqlite};

/// Ends the service with its holder.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the composition's health check says of an admin port.
fn is_healthy(address: &str) -> bool {
    let text = include_str!("../../../deploy/compose.yaml");
    let check = text
        .lines()
        .find(|l| l.contains("/readyz"))
        .expect("a health check");
    let words = check.split_once("test: ").expect("its words").1;
    let words: Vec<String> = serde_json::from_str(words).expect("a list");
    let port = address.rsplit(':').next().expect("a port");
    // The composition doubles what is not its own.
    let script = words[3].replace("$$", "$").replace("9464", port);
    let ran = Command::new(&words[1])
        .args([&words[2], &script])
        .stderr(Stdio::null())
        .status();
    ran.expect("a shell").success()
}

#[test]
fn a_file_in_a_folder_becomes_a_reconciled_day() {
    let dir = Dir::new();
    let zone = chrono_tz::Asia::Shanghai;
    let clock = Clock::system(zone);
    let today = clock.day_of(clock.now());
    let on = CHINA.working_day_at_or_before(today.plus(-1));
    let registry = Bundle::of(&[
        ("districts", "district_id,name\nD1,示例区\n"),
        ("institutions", "institution_id,district_id,name\nI1,D1,示例机构\n"),
        (
            "accounts",
            "account_id,institution_id,kind,min_deposit_fen,bank_code\n6217000001,I1,CUSTODY,0,ABC\n\
             6217000002,I1,CUSTODY,0,ABC\n",
        ),
    ])
    .write(&dir, "registry");
    // The script's statement of its first day, dated yesterday.
    let first = working_days(1)[0];
    let text = String::from_utf8(super::statement("abc", first).bytes).expect("text");
    dir.write(
        "drop/abc.xml",
        text.replace(&first.to_string(), &on.to_string()),
    );
    dir.write("drop/abc.xml.ok", "");
    let config = dir.write(
        "jintuo.toml",
        format!(
            "[server]\nlisten = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\n\
             [run]\ndeadline = \"00:00\"\n\
             [[feed]]\nname = \"abc\"\nbank = \"ABC\"\nschedule = \"0 0 0 * * *\"\n\
             first_day = \"{on}\"\n\
             source = {{ kind = \"folder\", path = {:?}, companion = \".ok\" }}\n",
            dir.path().join("drop")
        ),
    );
    let store = Store::sqlite_in(dir);
    let config = config.to_string_lossy();
    let args = |rest: &[&str]| {
        let common = ["--db", &store.url, "--config", &config];
        [&common, rest]
            .concat()
            .iter()
            .map(|a| (*a).to_owned())
            .collect::<Vec<_>>()
    };
    let import = args(&["import", &registry.to_string_lossy()]);
    jintuo(&import.iter().map(String::as_str).collect::<Vec<_>>()).ended(0);
    let serve = args(&["serve"]);
    let serve: Vec<&str> = serve.iter().map(String::as_str).collect();
    let mut serving = Serving(
        command(&serve)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts"),
    );
    let log = BufReader::new(serving.0.stderr.take().expect("a pipe"));
    let mut lines = log.lines().map(|line| line.expect("text"));
    let mut said = Vec::new();
    for line in lines.by_ref() {
        let reconciled = line.contains("a day is reconciled");
        said.push(line);
        if reconciled {
            break;
        }
    }
    let said = said.join("\n");
    let last = said.lines().last().unwrap_or_default();
    assert!(last.contains("\"run.accounts_unproven\":0"), "{said}");
    let admin = said
        .lines()
        .find_map(|l| l.strip_prefix("admin port http://"));
    let admin = admin
        .and_then(|rest| rest.split('/').next())
        .unwrap_or_default();
    assert_eq!(get(admin, "/readyz"), (200, "ready\n".to_owned()));
    let figures = Exposition::parse(&get(admin, "/metrics").1);
    assert_eq!(figures.get("jintuo_runs_completed_total", &[]), Some(1));
    let proven = [("bank", "ABC"), ("state", "proven")];
    assert_eq!(figures.get("jintuo_account_days", &proven), Some(2));
    assert!(is_healthy(admin));
    // One server per embedded database.
    let second = jintuo(&serve).ended(75);
    assert!(
        second.stderr.contains("another server"),
        "{}",
        second.stderr
    );
    let id = serving.0.id().to_string();
    let told = Command::new("kill").args(["-TERM", &id]).status();
    assert!(told.expect("kill is there").success());
    // The log ends when the process does.
    let rest: Vec<String> = lines.collect();
    let ended = serving.0.wait().expect("it ends");
    assert!(!is_healthy(admin));
    assert_eq!(ended.code(), Some(0), "{rest:?}");
}

/// Reads a file for ever, as a parser with another bug would.
struct Endless(Arc<Mutex<std::sync::mpsc::Receiver<()>>>);

impl intake::Progress for Endless {
    fn total(&mut self, _: u64) {}
    fn file(&mut self, _: &str) {
        let _ = self.0.lock().expect("a lock").recv();
    }
    fn bytes(&mut self, _: u64) {}
    fn done(&mut self) {}
}

#[test]
fn a_file_whose_reading_never_ends_ends_the_service_with_its_name() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let (end, endless) = std::sync::mpsc::channel();
    let endless = Arc::new(Mutex::new(endless));
    runtime.block_on(async {
        let world = World::new(Store::sqlite_in(Dir::new()), prompt).await;
        let service = world
            .service(at(&working_days(2)[1].to_string(), 6, 0))
            .with_read_time(Duration::from_millis(40))
            .watched(Arc::new(move || Box::new(Endless(Arc::clone(&endless)))));
        let stuck = service.serve(std::future::pending()).await;
        let stuck = stuck.expect_err("a file is stuck").to_string();
        assert!(stuck.contains(".xml"), "{stuck}");
        let states = world.deliveries().await;
        assert!(
            states.iter().any(|(_, _, attempts)| *attempts == 1),
            "{states:?}"
        );
        drop(end);
        world.db.close().await;
    });
    runtime.shutdown_background();
}

#[test]
fn a_service_that_is_told_to_stop_stops() {
    on_sqlite(|store| async move {
        let world = World::new(store, |_, _, _, _| Reply::Never).await;
        let service = world
            .service(at(&working_days(2)[1].to_string(), 6, 0))
            .with_fetch_time(Duration::from_secs(600));
        // All banks are asked and none answers.
        let told = world.when_asked(super::BANKS.len());
        service.serve(told).await.expect("it stops");
        world.db.close().await;
    });
}
