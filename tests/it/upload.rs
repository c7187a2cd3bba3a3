//! Two gibibytes for the running service: refused, with little read of them and little room taken.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};

use crate::harness::{Dir, command};

const SPARSE_BYTES: u64 = 2 << 30;
const PART_BYTES: usize = 1 << 20;
/// What an upload may hold.
const LIMIT_BYTES: u64 = 64 << 20;
/// Beyond it, what lies in the buffers of two sockets.
const UNDER_WAY_BYTES_MAX: u64 = 16 << 20;

struct Serving {
    child: Child,
    address: String,
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Serving {
    fn start(dir: &Dir) -> Serving {
        let url = format!("sqlite:{}", dir.path().join("books.db").display());
        let text = "[server]\nlisten = \"127.0.0.1:0\"\nadmin_listen = \"\"\n";
        let config = dir.write("jintuo.toml", text);
        let config = config.display().to_string();
        let args = ["--db", &url, "--config", &config, "serve"];
        let mut child = command(&args).stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let mut said = log.lines().map_while(Result::ok);
        let address = said.find_map(|line| {
            let (_, rest) = line.split_once("http://")?;
            Some(rest.split(['/', ' ']).next()?.to_owned())
        });
        Serving {
            child,
            address: address.unwrap(),
        }
    }

    /// The most memory the service has had, in bytes.
    fn peak(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|l| l.starts_with("VmHWM")).unwrap();
        let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kib << 10
    }

    /// Sends a form with a sparse file until the service takes no more of it: how much it took, and its answer.
    fn upload(&self, dir: &Dir, head: &str, chunked: bool) -> (u64, String) {
        let sparse = dir.path().join("sparse.xml");
        let file = File::create(&sparse).unwrap();
        file.set_len(SPARSE_BYTES).unwrap();
        let mut sparse = File::open(&sparse).unwrap();
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let form =
            "--B\r\ncontent-disposition: form-data; name=\"files\"; filename=\"a.xml\"\r\n\r\n";
        let request = format!(
            "POST /imports/preview HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\
             content-type: multipart/form-data; boundary=B\r\n{head}\r\n\r\n",
            self.address
        );
        stream.write_all(request.as_bytes()).unwrap();
        let send = |stream: &mut TcpStream, part: &[u8]| {
            if chunked {
                write!(stream, "{:x}\r\n", part.len())?;
            }
            stream.write_all(part)?;
            stream.write_all(if chunked { b"\r\n" } else { b"" })
        };
        let mut sent = 0;
        let mut part = vec![0; PART_BYTES];
        let mut open = send(&mut stream, form.as_bytes()).is_ok();
        while open && sent < SPARSE_BYTES {
            sparse.read_exact(&mut part).unwrap();
            open = send(&mut stream, &part).is_ok();
            sent += PART_BYTES as u64;
        }
        let mut answer = Vec::new();
        // A service that has closed may have reset what it said.
        let _ = stream.read_to_end(&mut answer);
        (sent, String::from_utf8_lossy(&answer).into_owned())
    }
}

#[test]
fn two_gibibytes_are_refused_in_bounded_time_and_room() {
    let dir = Dir::new();
    let serving = Serving::start(&dir);
    let before = serving.peak();
    let announced = format!("content-length: {SPARSE_BYTES}");
    for (head, chunked, read_max) in [
        (announced.as_str(), false, 0),
        ("transfer-encoding: chunked", true, LIMIT_BYTES),
    ] {
        let (sent, answer) = serving.upload(&dir, head, chunked);
        assert!(
            sent <= read_max + UNDER_WAY_BYTES_MAX,
            "{head}: {sent} bytes"
        );
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 413"),
            "{answer}"
        );
    }
    let risen = serving.peak().saturating_sub(before);
    assert!(risen <= 3 * LIMIT_BYTES, "{risen} bytes of memory");
    // It serves on.
    let mut stream = TcpStream::connect(&serving.address).unwrap();
    write!(
        stream,
        "GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 "), "{answer}");
}
