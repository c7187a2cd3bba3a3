//! The built binary: a folder's file becomes a reconciled day by itself, and the service stops when told.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use jintuo::base::Clock;
use jintuo::policy::CHINA;

use super::world::working_days;
use crate::bundle::Bundle;
use crate::harness::{Dir, Store, command, jintuo};

/// Ends the service with its holder.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
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
            "[server]\nlisten = \"127.0.0.1:0\"\n\
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
    assert_eq!(ended.code(), Some(0), "{rest:?}");
}
