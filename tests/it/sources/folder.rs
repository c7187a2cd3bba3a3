//! The folder feed.

use std::fs;
use std::os::unix::fs::symlink;

use super::{Basket, june, open};
use crate::harness::Dir;

fn source(dir: &Dir, more: &str) -> String {
    let path = dir.path().join("in");
    fs::create_dir_all(&path).unwrap();
    format!(
        "kind = \"folder\"\npath = {:?}\n{more}",
        path.display().to_string()
    )
}

fn taken(dir: &Dir) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir.path().join("in/.taken")) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_file_is_taken_beside_its_companion_and_moved_once_kept() {
    let dir = Dir::new();
    let folder = open(&source(&dir, "companion = \".ok\""));
    dir.write("in/a.xml", "A");
    dir.write("in/b.xml", "B");
    dir.write("in/b.xml.ok", "");
    dir.write("in/c.csv", "C");
    dir.write("in/c.ok", "");
    dir.write("in/d.xml.part", "D");
    dir.write("in/d.xml.part.ok", "");
    let mut basket = Basket::default();
    folder.fetch(june(1, 30), None, &mut basket).await.unwrap();
    assert_eq!(basket.names(), ["b.xml", "c.csv"]);
    assert_eq!(basket.texts(), ["B", "C"]);
    assert_eq!(taken(&dir), ["b.xml", "b.xml.ok", "c.csv", "c.ok"]);
    assert!(
        dir.path().join("in/a.xml").exists(),
        "its companion has not come"
    );
    // A second file of the same name never goes over the first.
    dir.write("in/b.xml", "B2");
    dir.write("in/b.xml.ok", "");
    let mut basket = Basket::default();
    folder.fetch(june(1, 30), None, &mut basket).await.unwrap();
    assert_eq!(basket.texts(), ["B2"]);
    assert_eq!(fs::read(dir.path().join("in/.taken/b.xml")).unwrap(), b"B");
    assert_eq!(
        fs::read(dir.path().join("in/.taken/b.xml.1")).unwrap(),
        b"B2"
    );
}

#[tokio::test]
async fn without_companions_a_file_must_stand_still_between_two_looks() {
    let dir = Dir::new();
    let folder = open(&source(&dir, ""));
    dir.write("in/a.xml", "A");
    let mut basket = Basket::default();
    let mark = folder.fetch(june(1, 30), None, &mut basket).await.unwrap();
    assert!(basket.files.is_empty(), "seen once only");
    dir.write("in/a.xml", "AA");
    dir.write("in/b.xml", "B");
    let mark = folder.fetch(june(1, 30), mark, &mut basket).await.unwrap();
    assert!(basket.files.is_empty(), "it has grown");
    let mark = folder.fetch(june(1, 30), mark, &mut basket).await.unwrap();
    assert_eq!(basket.texts(), ["AA", "B"]);
    let last = folder.fetch(june(1, 30), mark, &mut basket).await.unwrap();
    assert_eq!(basket.files.len(), 2);
    assert_eq!(last.as_deref(), Some("{}"));
}

#[tokio::test]
async fn what_was_not_kept_stays_where_it_is() {
    let dir = Dir::new();
    let folder = open(&source(&dir, "companion = \".ok\""));
    for name in ["a", "b", "c"] {
        dir.write(&format!("in/{name}.xml"), name);
        dir.write(&format!("in/{name}.xml.ok"), "");
    }
    let mut basket = Basket::breaking_at(1);
    let error = folder
        .fetch(june(1, 30), None, &mut basket)
        .await
        .unwrap_err();
    assert!(
        error.is_temporary() && error.to_string().contains("b.xml"),
        "{error}"
    );
    assert_eq!(taken(&dir), ["a.xml", "a.xml.ok"]);
    let mut basket = Basket::default();
    folder.fetch(june(1, 30), None, &mut basket).await.unwrap();
    assert_eq!(basket.names(), ["b.xml", "c.xml"]);
}

#[tokio::test]
async fn links_folders_and_giants_are_not_taken() {
    let dir = Dir::new();
    let folder = open(&source(&dir, "companion = \".ok\""));
    let secret = dir.write("secret.txt", "secret");
    symlink(&secret, dir.path().join("in/link.xml")).unwrap();
    symlink(dir.path(), dir.path().join("in/way")).unwrap();
    dir.write("in/sub/inner.xml", "inner");
    dir.write("in/sub/inner.xml.ok", "");
    for name in ["link.xml.ok", "way.ok", "sub.ok", "giant.xml.ok"] {
        dir.write(&format!("in/{name}"), "");
    }
    let giant = fs::File::create(dir.path().join("in/giant.xml")).unwrap();
    giant.set_len((64 << 20) + 1).unwrap();
    let mut basket = Basket::default();
    folder.fetch(june(1, 30), None, &mut basket).await.unwrap();
    assert!(basket.files.is_empty(), "{:?}", basket.names());
    assert_eq!(basket.refused.len(), 1);
    assert!(
        basket.refused[0].starts_with("giant.xml"),
        "{:?}",
        basket.refused
    );
    assert!(taken(&dir).is_empty());
}

#[tokio::test]
async fn a_folder_that_is_not_there_may_come_back() {
    let dir = Dir::new();
    let folder = open(&source(&dir, ""));
    fs::remove_dir(dir.path().join("in")).unwrap();
    let mut basket = Basket::default();
    let error = folder
        .fetch(june(1, 30), None, &mut basket)
        .await
        .unwrap_err();
    assert!(error.is_temporary(), "{error}");
}
