//! What is shipped for running the service fits the service: settings, unit, image, composition.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use jintuo::web;
use serde_json::Value;

use crate::harness::{Dir, command, jintuo};
use crate::settings::{keys_of, secret};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    let path = root().join("deploy").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn check(file: &Path) -> (i32, Value) {
    let file = file.to_str().unwrap();
    let ran = jintuo(&["config", "check", "--json", "--config", file]);
    (ran.code, serde_json::from_slice(&ran.stdout).unwrap())
}

/// Fails unless the command line knows the words: subcommands first, then flags.
#[track_caller]
fn known(words: &[&str]) {
    let verbs: Vec<&str> = words
        .iter()
        .copied()
        .take_while(|w| !w.starts_with('-'))
        .collect();
    let help = jintuo(&[&verbs[..], &["--help"]].concat()).ended(0).text();
    assert!(
        !verbs.is_empty() && help.contains(&format!("jintuo {}", verbs.join(" "))),
        "{help}"
    );
    for flag in words.iter().filter(|w| w.starts_with("--")) {
        let flag = flag.split('=').next().unwrap();
        assert!(help.contains(flag), "{verbs:?} has no {flag}: {help}");
    }
}

#[test]
fn the_settings_with_every_default_are_the_defaults() {
    let file = root().join("deploy/jintuo.toml");
    let (code, object) = check(&file);
    assert_eq!((code, keys_of(&object).len()), (0, 0), "{object}");
    let print = |arguments: &[&str]| {
        let ran = jintuo(&[&["config", "print", "--json"], arguments].concat()).ended(0);
        let object: Value = serde_json::from_slice(&ran.stdout).unwrap();
        object
    };
    let (own, default) = (print(&["--config", file.to_str().unwrap()]), print(&[]));
    assert_eq!(own["settings"], default["settings"]);
    // The sections of feeds are in sample-city.toml.
    let origins = own["origins"].as_object().unwrap();
    for (key, origin) in origins.iter().filter(|(key, _)| *key != "feed") {
        assert_eq!(origin, "file", "{key} is not in deploy/jintuo.toml");
    }
}

#[test]
fn the_sample_city_lacks_nothing_but_its_files() {
    let sample = read("sample-city.toml");
    let dir = Dir::new();
    let place = dir.path().display().to_string();
    let mut moved = sample.clone();
    for folder in ["/etc/jintuo", "/srv/jintuo", "/var/lib/jintuo"] {
        assert!(sample.contains(folder), "{folder}");
        moved = moved.replace(folder, &format!("{place}{folder}"));
    }
    let file = dir.write("jintuo.toml", &moved);
    let (code, object) = check(&file);
    assert_eq!(code, 1);
    let missing = [
        "database.url",
        "feed[ccb].source.auth.key",
        "feed[ccb].source.ca_file",
        "feed[ccb].source.client_cert_file",
        "feed[cmb].source.keys[cmb-2026]",
        "feed[cmb].source.keys[cmb-2027]",
        "feed[icbc].source.path",
    ];
    assert_eq!(keys_of(&object), missing, "{object:#}");
    // Nothing remains once they are there.
    let key = rcgen::KeyPair::generate().unwrap();
    let names = vec!["statements.ccb.example".to_owned()];
    let certificate = rcgen::CertificateParams::new(names)
        .unwrap()
        .self_signed(&key)
        .unwrap();
    for name in ["ccb-hmac.key", "cmb-2026.key", "cmb-2027.key"] {
        secret(
            &dir,
            &format!("etc/jintuo/{name}"),
            "0123456789abcdef0123456789abcdef\n",
        );
    }
    dir.write("etc/jintuo/ccb-ca.pem", certificate.pem());
    let both = format!("{}{}", certificate.pem(), key.serialize_pem());
    secret(&dir, "etc/jintuo/ccb-client.pem", both);
    for folder in ["srv/jintuo/icbc", "var/lib/jintuo"] {
        std::fs::create_dir_all(dir.path().join(folder)).unwrap();
    }
    let (code, object) = check(&file);
    assert_eq!((code, keys_of(&object).len()), (0, 0), "{object:#}");
    // A key that does not belong to the certificate is found before the bank finds it.
    let other = rcgen::KeyPair::generate().unwrap();
    let mixed = format!("{}{}", certificate.pem(), other.serialize_pem());
    secret(&dir, "etc/jintuo/ccb-client.pem", mixed);
    assert_eq!(
        keys_of(&check(&file).1),
        ["feed[ccb].source.client_cert_file"]
    );
}

#[test]
fn the_unit_starts_what_there_is() {
    let unit = read("jintuo.service");
    let values = |key: &str| -> Vec<&str> {
        let start = format!("{key}=");
        unit.lines()
            .filter_map(|l| l.strip_prefix(&start))
            .collect()
    };
    let mut starts = values("ExecStart");
    assert_eq!(starts.len(), 1);
    starts.extend(values("ExecStartPre"));
    for start in starts {
        let words: Vec<&str> = start.trim_start_matches('-').split_whitespace().collect();
        assert_eq!(words[0], "/usr/local/bin/jintuo");
        known(&words[1..]);
    }
    assert_eq!(values("ExecReload"), ["/bin/kill -HUP $MAINPID"]);
    // The service has time to finish before it is killed.
    let stop: u64 = values("TimeoutStopSec")[0].parse().unwrap();
    assert!(web::Limits::default().drain_time_max.as_secs() < stop);
    assert_eq!(values("User"), ["jintuo"]);
    for (key, value) in [
        ("ProtectSystem", "strict"),
        ("NoNewPrivileges", "yes"),
        ("CapabilityBoundingSet", ""),
        ("UMask", "0077"),
        ("LimitCORE", "0"),
    ] {
        assert_eq!(values(key), [value], "{key}");
    }
    assert!(
        !unit.to_lowercase().contains("password="),
        "no secret in the unit"
    );
}

/// The instructions of the Dockerfile, continued lines joined.
fn instructions() -> Vec<(String, String)> {
    let text = read("Dockerfile").replace("\\\n", " ");
    let lines = text.lines().map(str::trim);
    let lines = lines.filter(|l| !l.is_empty() && !l.starts_with('#'));
    let split = |l: &str| {
        let (name, rest) = l.split_once(' ').unwrap();
        (name.to_owned(), rest.trim().to_owned())
    };
    lines.map(split).collect()
}

fn is_pinned(image: &str) -> bool {
    image
        .rsplit_once(':')
        .is_some_and(|(_, tag)| !tag.is_empty() && tag != "latest")
}

#[test]
fn the_image_is_small_and_not_root() {
    let all = instructions();
    let of = |name: &str| -> Vec<&str> {
        let own = all.iter().filter(|(n, _)| n == name);
        own.map(|(_, rest)| rest.as_str()).collect()
    };
    let bases = of("FROM");
    assert!(bases.len() > 1, "built in another stage than it runs in");
    for base in &bases {
        assert!(is_pinned(base.split(' ').next().unwrap()), "{base}");
    }
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    let needed = manifest["package"]["rust-version"].as_str().unwrap();
    // Cargo looks for the file of every target that the manifest declares.
    let copied = of("COPY").join(" ");
    let kept = read("Dockerfile.dockerignore");
    for bench in manifest["bench"].as_array().unwrap() {
        let file = format!("benches/{}.rs", bench["name"].as_str().unwrap());
        assert!(copied.contains(&file), "{file} is not copied");
        assert!(kept.contains(&format!("!{file}")), "{file} is ignored");
    }
    let tag = bases[0].split([':', '-']).nth(1).unwrap();
    let version = |v: &str| {
        v.split('.')
            .map(|p| p.parse().unwrap())
            .collect::<Vec<u32>>()
    };
    assert!(
        version(tag) >= version(needed),
        "rust {tag}, needed {needed}"
    );
    // The last word on users is a number that is not root's, and it comes before what is run.
    let user = all.iter().rposition(|(n, _)| n == "USER").unwrap();
    let uid: u32 = all[user].1.split(':').next().unwrap().parse().unwrap();
    assert!(uid > 0);
    let last_from = all.iter().rposition(|(n, _)| n == "FROM").unwrap();
    let start = all.iter().position(|(n, _)| n == "ENTRYPOINT").unwrap();
    assert!(last_from < user && user < start);
    assert!(of("ADD").is_empty(), "COPY says what it does");
    for setting in of("ENV").into_iter().chain(of("ARG")) {
        let setting = setting.to_lowercase();
        for word in ["password", "secret", "token", "key"] {
            assert!(!setting.contains(word), "{setting}");
        }
    }
    let entry: Vec<String> = serde_json::from_str(of("ENTRYPOINT")[0]).unwrap();
    assert_eq!(entry, ["/usr/local/bin/jintuo"]);
    let command: Vec<String> = serde_json::from_str(of("CMD")[0]).unwrap();
    known(&command.iter().map(String::as_str).collect::<Vec<_>>());
    // What is copied is there, and let through to the build.
    let ignore = read("Dockerfile.dockerignore");
    let let_through: BTreeSet<&str> = ignore.lines().filter_map(|l| l.strip_prefix('!')).collect();
    assert!(ignore.lines().any(|l| l == "*"));
    for copy in of("COPY").iter().filter(|c| !c.starts_with("--from")) {
        let mut files: Vec<&str> = copy.split_whitespace().collect();
        files.pop();
        for file in files {
            assert!(root().join(file).exists(), "{file}");
            assert!(let_through.contains(file), "{file}");
        }
    }
}

#[test]
fn the_image_knows_whether_it_lives() {
    let all = instructions();
    let (_, check) = all.iter().find(|(n, _)| n == "HEALTHCHECK").unwrap();
    let words: Vec<String> = serde_json::from_str(check.split("CMD").nth(1).unwrap()).unwrap();
    assert!(check.contains("/livez"));
    let dir = Dir::new();
    let db = format!("sqlite:{}", dir.path().join("books.db").display());
    let serve = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--admin-listen",
        "",
        "--db",
        &db,
    ];
    let mut service = command(&serve).stderr(Stdio::piped()).spawn().unwrap();
    let log = std::io::BufReader::new(service.stderr.take().unwrap());
    let mut lines = std::io::BufRead::lines(log);
    let serving = lines.find(|l| l.as_ref().unwrap().contains("serving http://"));
    let serving = serving.unwrap().unwrap();
    let port = serving
        .trim_end_matches('/')
        .rsplit(':')
        .next()
        .unwrap()
        .to_owned();
    let healthy = || {
        let script = words[2].replace("8080", &port);
        let ran = Command::new(&words[0])
            .args([&words[1], &script])
            .stderr(Stdio::null())
            .status();
        ran.unwrap().success()
    };
    assert!(healthy());
    service.kill().unwrap();
    service.wait().unwrap();
    assert!(!healthy());
}

#[test]
fn the_composition_names_what_there_is() {
    let text = read("compose.yaml");
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|l| !l.starts_with('#'))
        .collect();
    let of = |key: &str| -> Vec<&str> {
        let start = format!("{key}: ");
        lines
            .iter()
            .filter_map(|l| l.strip_prefix(&start))
            .collect()
    };
    for image in of("image") {
        assert!(is_pinned(image), "{image}");
    }
    assert!(
        of("image").iter().any(|i| i.starts_with("postgres:15")),
        "{text}"
    );
    assert!(text.contains("--data-checksums"));
    assert_eq!(of("dockerfile"), ["deploy/Dockerfile"]);
    for command in of("command") {
        let words: Vec<String> = serde_json::from_str(command).unwrap();
        known(&words.iter().map(String::as_str).collect::<Vec<_>>());
    }
    for file in lines.iter().filter_map(|l| l.strip_prefix("- ./")) {
        let file = file.split(':').next().unwrap();
        assert!(root().join("deploy").join(file).exists(), "{file}");
    }
    for ports in of("ports") {
        let ports: Vec<String> = serde_json::from_str(ports).unwrap();
        assert!(
            ports.iter().all(|p| p.starts_with("127.0.0.1:")),
            "{ports:?}"
        );
    }
    assert!(text.contains("condition: service_completed_successfully"));
    // The service is not the owner, and no password stands in an address.
    let urls = of("JINTUO__DATABASE__URL");
    let logins: Vec<&str> = urls
        .iter()
        .map(|u| u.split(['/', '@']).nth(2).unwrap())
        .collect();
    assert_eq!(logins, ["jintuo_owner", "jintuo_service"]);
    // Every secret is a file that make-secrets.sh makes.
    let dir = Dir::new();
    let folder = dir.path().join("secrets");
    make_secrets(&dir, &folder);
    let files = of("file")
        .into_iter()
        .map(|f| f.strip_prefix("./secrets/").unwrap());
    let files: BTreeSet<String> = files.map(str::to_owned).collect();
    let made = std::fs::read_dir(&folder).unwrap();
    let made = made
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(files, made);
    let secret = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    for login in ["owner", "service"] {
        let password = secret(&format!("{login}_password"));
        assert_eq!(password.len(), 64);
        let line = format!("postgres:5432:jintuo:jintuo_{login}:{password}\n");
        assert_eq!(secret(&format!("{login}_pgpass")), line);
    }
    assert_ne!(secret("owner_password"), secret("service_password"));
    // A second time changes nothing.
    let before = secret("service_password");
    make_secrets(&dir, &folder);
    assert_eq!(secret("service_password"), before);
}

/// Runs the script with a `chown` that does nothing, which a test may not do.
fn make_secrets(dir: &Dir, folder: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let chown = dir.write("bin/chown", "#!/bin/sh\nexit 0\n");
    std::fs::set_permissions(&chown, std::fs::Permissions::from_mode(0o755)).unwrap();
    let old = std::env::var_os("PATH").unwrap();
    let paths = [dir.path().join("bin")]
        .into_iter()
        .chain(std::env::split_paths(&old));
    let paths = std::env::join_paths(paths.collect::<Vec<PathBuf>>()).unwrap();
    let script = root().join("deploy/make-secrets.sh");
    let ran = Command::new(script)
        .arg(folder)
        .env("PATH", paths)
        .output()
        .unwrap();
    assert!(ran.status.success(), "{ran:?}");
    for entry in std::fs::read_dir(folder).unwrap() {
        let mode = entry.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o400);
    }
}
