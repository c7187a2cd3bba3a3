//! A farm of authorities and certificates: which of them the HTTPS feed believes.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;

use jintuo::feed::source::resolver::{Lookup, Trust};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use super::bank::{Bank, reply};
use super::{Basket, june, surroundings, try_open};
use crate::harness::Dir;

struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key, as PEM.
struct Leaf {
    certificate: String,
    key: String,
}

impl Authority {
    fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        Authority { pem, issuer }
    }

    fn sign(&self, name: &str, years: (i32, i32)) -> Leaf {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(years.0, 1, 1);
        params.not_after = date_time_ymd(years.1, 1, 1);
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = KeyPair::generate().unwrap();
        Leaf {
            certificate: params.signed_by(&key, &self.issuer).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        let certificate = CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap();
        roots.add(certificate).unwrap();
        roots
    }
}

/// What a bank's server shows, and whether it asks for our certificate.
fn server(leaf: &Leaf, clients: Option<&Authority>, newest: bool) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions: &[&rustls::SupportedProtocolVersion] = if newest {
        &[&rustls::version::TLS13]
    } else {
        &[&rustls::version::TLS12]
    };
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let roots = Arc::new(authority.roots());
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
            builder.with_client_cert_verifier(verifier.unwrap())
        }
    };
    let chain = vec![CertificateDer::from_pem_slice(leaf.certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(leaf.key.as_bytes()).unwrap();
    builder.with_single_cert(chain, key).unwrap()
}

fn loopback() -> Lookup {
    Arc::new(|_| Box::pin(async { Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]) }))
}

/// Pulls once; the error's text, if it is one.
async fn pull(server: ServerConfig, files: &str) -> Result<(), String> {
    let bank = Bank::start_tls(server, |_, _| reply(200, &[], b"statement")).await;
    let source = format!(
        "kind = \"https\"\nurl = \"https://bank.example.com:{}/\"\nallow_loopback_http = true\n\
         timeout_seconds = 10\n{files}",
        bank.address.port()
    );
    let pull = try_open(&source, &surroundings(Trust::Demo, loopback())).unwrap();
    let mut basket = Basket::default();
    let done = pull.fetch(june(1, 2), None, &mut basket).await;
    match done {
        Ok(_) => {
            assert_eq!(basket.texts(), ["statement"]);
            Ok(())
        }
        Err(error) => {
            assert!(bank.asked().is_empty(), "a request was sent: {error}");
            Err(format!("{} {error}", error.is_temporary()))
        }
    }
}

#[tokio::test]
async fn only_the_pinned_authority_is_believed() {
    let dir = Dir::new();
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let ca = format!(
        "ca_file = {:?}",
        dir.write("ca.pem", &ours.pem).display().to_string()
    );
    let now = (2020, 2090);
    let good = ours.sign("bank.example.com", now);
    for newest in [true, false] {
        assert_eq!(pull(server(&good, None, newest), &ca).await, Ok(()));
    }
    let refused = [
        ("another authority", other.sign("bank.example.com", now)),
        ("another name", ours.sign("evil.example.com", now)),
        ("expired", ours.sign("bank.example.com", (2010, 2015))),
        ("not yet", ours.sign("bank.example.com", (2080, 2090))),
    ];
    for (what, leaf) in refused {
        let answer = pull(server(&leaf, None, true), &ca).await;
        let error = answer.expect_err(what);
        assert!(
            error.starts_with("false") && error.contains("certificate"),
            "{what}: {error}"
        );
    }
    // Without a pinned authority the machine's own are asked, and they do not know ours.
    let error = pull(server(&good, None, true), "").await.unwrap_err();
    assert!(error.starts_with("false"), "{error}");
}

#[tokio::test]
async fn a_bank_that_asks_gets_our_certificate() {
    let dir = Dir::new();
    let (bank, ours) = (Authority::new("bank"), Authority::new("ours"));
    let leaf = bank.sign("bank.example.com", (2020, 2090));
    let client = ours.sign("jintuo.example.com", (2020, 2090));
    let pem = dir.write(
        "client.pem",
        format!("{}{}", client.certificate, client.key),
    );
    only_owner(&pem);
    let ca = dir.write("ca.pem", &bank.pem).display().to_string();
    let files = format!(
        "ca_file = {ca:?}\nclient_cert_file = {:?}",
        pem.display().to_string()
    );
    assert_eq!(pull(server(&leaf, Some(&ours), true), &files).await, Ok(()));
    let without = format!("ca_file = {ca:?}");
    assert!(
        pull(server(&leaf, Some(&ours), true), &without)
            .await
            .is_err()
    );
    assert!(
        pull(server(&leaf, Some(&bank), true), &files)
            .await
            .is_err()
    );
}

#[test]
fn files_that_hold_no_certificate_are_named() {
    let dir = Dir::new();
    let nothing = dir.write("nothing.pem", "nothing");
    only_owner(&nothing);
    let path = nothing.display().to_string();
    for setting in ["ca_file", "client_cert_file"] {
        let source =
            format!("kind = \"https\"\nurl = \"https://bank.example.com/\"\n{setting} = {path:?}");
        let opened = try_open(&source, &surroundings(Trust::Strict, loopback()));
        let error = opened.err().expect("an error");
        assert!(
            !error.is_temporary() && error.to_string().contains(&path),
            "{error}"
        );
    }
}

fn only_owner(path: &PathBuf) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}
