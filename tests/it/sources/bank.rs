//! A bank on loopback that answers what a script says, and notes what it was asked.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// A request's head.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// Path and query.
    pub(super) target: String,
    /// Lower-case names.
    pub(super) headers: Vec<(String, String)>,
}

impl Asked {
    pub(super) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(n, _)| n == name);
        found.map_or("", |(_, value)| value)
    }

    pub(super) fn query(&self, name: &str) -> Option<&str> {
        let query = self.target.split_once('?')?.1;
        query
            .split('&')
            .find_map(|p| p.strip_prefix(name)?.strip_prefix('='))
    }
}

/// What the script makes of a request: bytes as they go over the wire, or silence.
pub(super) enum Reply {
    Bytes(Vec<u8>),
    Silence,
}

/// A whole answer.
pub(super) fn reply(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    let mut text = format!("HTTP/1.1 {status} X\r\nconnection: close\r\n");
    if !headers
        .iter()
        .any(|(n, _)| *n == "content-length" || *n == "transfer-encoding")
    {
        text += &format!("content-length: {}\r\n", body.len());
    }
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    Reply::Bytes([text.as_bytes(), b"\r\n", body].concat())
}

type Script = Arc<dyn Fn(usize, &Asked) -> Reply + Send + Sync>;

/// A running bank; it stops with its holder.
pub(super) struct Bank {
    pub(super) address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Bank {
    /// Answers the nth request as the script says.
    pub(super) async fn start(
        script: impl Fn(usize, &Asked) -> Reply + Send + Sync + 'static,
    ) -> Bank {
        Bank::start_with(None, Arc::new(script)).await
    }

    pub(super) async fn start_tls(
        tls: rustls::ServerConfig,
        script: impl Fn(usize, &Asked) -> Reply + Send + Sync + 'static,
    ) -> Bank {
        let tls = TlsAcceptor::from(Arc::new(tls));
        Bank::start_with(Some(tls), Arc::new(script)).await
    }

    async fn start_with(tls: Option<TlsAcceptor>, script: Script) -> Bank {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let notes = asked.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, script, notes) = (tls.clone(), script.clone(), notes.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, &script, &notes).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, &script, &notes).await;
                            }
                        }
                    }
                });
            }
        });
        Bank {
            address,
            asked,
            task,
        }
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("notes").clone()
    }
}

impl Drop for Bank {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    script: &Script,
    notes: &Mutex<Vec<Asked>>,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        match stream.read(&mut byte).await {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut lines = head.lines();
    let target = lines
        .next()
        .and_then(|l| l.split(' ').nth(1))
        .unwrap_or_default();
    let headers = lines.filter_map(|l| l.split_once(": "));
    let asked = Asked {
        target: target.to_owned(),
        headers: headers
            .map(|(n, v)| (n.to_lowercase(), v.to_owned()))
            .collect(),
    };
    let number = {
        let mut notes = notes.lock().expect("notes");
        notes.push(asked.clone());
        notes.len() - 1
    };
    match script(number, &asked) {
        Reply::Bytes(bytes) => {
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
        }
        Reply::Silence => std::future::pending().await,
    }
}

/// A port that nobody may dial.
pub(super) struct Tripwire {
    listener: TcpListener,
}

impl Tripwire {
    pub(super) async fn set() -> Tripwire {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        Tripwire { listener }
    }

    pub(super) fn port(&self) -> u16 {
        self.listener.local_addr().expect("an address").port()
    }

    /// Fails if anybody came before us: connections are accepted in the order they were made.
    pub(super) async fn assert_untouched(self) {
        let own = tokio::net::TcpStream::connect(("127.0.0.1", self.port())).await;
        let own = own
            .expect("the tripwire listens")
            .local_addr()
            .expect("an address");
        let (_, first) = self.listener.accept().await.expect("a connection");
        assert_eq!(first, own, "somebody dialled the tripwire");
    }
}
