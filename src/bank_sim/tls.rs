//! Certificates of simulated banks: read from files, or made and written for whoever tries feeds out.
//!
//! Invariants: files that are there are used and never replaced, so that what a feed's settings pin stays
//! true; keys are readable by their owner only.
//! Absent on purpose: anything the service itself believes or shows.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use super::write_own;

/// Where a server's certificate and key lie, and whose clients it serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM, the server's certificate first.
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// PEM of the authority that client certificates must be of; none is asked for without it.
    pub client_ca: Option<PathBuf>,
}

/// What is made in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    pub server: TlsFiles,
    /// The authority: a feed's `ca_file`, and the `client_ca` of what is made here.
    pub ca: PathBuf,
    /// A client's certificate and key: a feed's `client_cert_file`.
    pub client: PathBuf,
}

/// Makes an authority, a server's certificate for `names` (hosts or addresses) and a client's in a folder,
/// unless they are there.
///
/// # Errors
/// A folder that cannot be written, or a name no certificate can carry.
pub fn make(folder: &Path, names: &[String]) -> io::Result<Made> {
    let [ca, certificate, key, client] =
        ["ca.pem", "server.pem", "server.key", "client.pem"].map(|name| folder.join(name));
    let there = [&ca, &certificate, &key, &client].map(|path| path.exists());
    if there.contains(&false) {
        if there.contains(&true) {
            let text = format!(
                "{} holds some of ca.pem, server.pem, server.key, client.pem; remove them, or bring the rest",
                folder.display()
            );
            return Err(io::Error::other(text));
        }
        fs::create_dir_all(folder)?;
        let (pem, issuer) = authority().map_err(io::Error::other)?;
        let (server, server_key) = leaf(&issuer, "jintuo bank-sim", names)?;
        let (one, one_key) = leaf(&issuer, "client of jintuo bank-sim", &[])?;
        fs::write(&ca, pem)?;
        fs::write(&certificate, server)?;
        write_own(&key, server_key.as_bytes())?;
        write_own(&client, format!("{one}{one_key}").as_bytes())?;
    }
    Ok(Made {
        server: TlsFiles {
            certificate,
            key,
            client_ca: None,
        },
        ca,
        client,
    })
}

fn authority() -> Result<(String, Issuer<'static, KeyPair>), rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    let name = "jintuo bank-sim authority";
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate()?;
    let pem = params.self_signed(&key)?.pem();
    Ok((pem, Issuer::new(params, key)))
}

/// Certificate and key as PEM.
fn leaf(
    issuer: &Issuer<'static, KeyPair>,
    name: &str,
    hosts: &[String],
) -> io::Result<(String, String)> {
    let made = || {
        let mut params = CertificateParams::new(hosts)?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = KeyPair::generate()?;
        let pem = params.signed_by(&key, issuer)?.pem();
        Ok((pem, key.serialize_pem()))
    };
    made().map_err(|e: rcgen::Error| io::Error::other(format!("a certificate for {hosts:?}: {e}")))
}

/// What a server shows, TLS 1.2 and 1.3.
///
/// # Errors
/// A file that cannot be read or holds something else; it is named.
pub fn server_config(files: &TlsFiles) -> io::Result<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|e| wrong(path, e))?;
            }
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|e| wrong(path, e))?)
        }
    };
    let key = PrivateKeyDer::from_pem_slice(&read(&files.key)?);
    let key = key.map_err(|e| wrong(&files.key, e))?;
    let chain = certificates(&files.certificate)?;
    let config = builder.with_single_cert(chain, key);
    config.map_err(|e| wrong(&files.certificate, e))
}

fn certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let bytes = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(wrong(path, "it holds no certificate")),
        Err(e) => Err(wrong(path, e)),
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    fs::read(path).map_err(|e| wrong(path, e))
}

fn wrong(path: &Path, what: impl std::fmt::Display) -> io::Error {
    io::Error::other(format!("{}: {what}", path.display()))
}
