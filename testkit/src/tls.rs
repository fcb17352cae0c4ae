//! TLS in front of a peer, with certificates of all kinds.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, IsCa, Issuer, KeyIdMethod, KeyPair,
    KeyUsagePurpose, RevokedCertParams, SerialNumber,
};
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use std::sync::Arc;
use time::OffsetDateTime;
use time::macros::datetime;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional, sink};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// The serial number of certificates that [`Clients::OfWithout`] refuses.
const REVOKED: u64 = 4711;

/// A certificate with its key, both as PEM.
#[derive(Clone)]
pub struct Pair {
    /// The certificate; behind it, its issuers.
    pub cert: String,
    pub key: String,
}

/// An authority of nobody's system.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate.
    pub pem: String,
}

fn of_authority(name: &str) -> CertificateParams {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let (params, key) = (of_authority(name), KeyPair::generate().unwrap());
        let pem = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        Self { issuer, pem }
    }

    /// One below this one.
    pub fn below(&self, name: &str) -> Self {
        let (params, key) = (of_authority(name), KeyPair::generate().unwrap());
        let pem = params.signed_by(&key, &self.issuer).unwrap().pem();
        let issuer = Issuer::new(params, key);
        Self { issuer, pem }
    }

    /// A certificate for localhost, but for what is changed.
    pub fn issue(&self, change: impl FnOnce(&mut CertificateParams)) -> Pair {
        let key = KeyPair::generate().unwrap();
        let mut params = params("a server");
        change(&mut params);
        Pair {
            cert: params.signed_by(&key, &self.issuer).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    (params.not_before, params.not_after) = (datetime!(2020-01-01 0:00 UTC), datetime!(4000-01-01 0:00 UTC));
    params
}

/// One that is its own issuer.
pub fn self_signed(change: impl FnOnce(&mut CertificateParams)) -> Pair {
    let key = KeyPair::generate().unwrap();
    let mut params = params("itself");
    change(&mut params);
    Pair {
        cert: params.self_signed(&key).unwrap().pem(),
        key: key.serialize_pem(),
    }
}

pub fn expired(params: &mut CertificateParams) {
    params.not_after = datetime!(2021-01-01 0:00 UTC);
}

pub fn not_yet_valid(params: &mut CertificateParams) {
    params.not_before = datetime!(3000-01-01 0:00 UTC);
}

/// As `openssl req -x509` makes them.
pub fn of_a_ca(params: &mut CertificateParams) {
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
}

pub fn elsewhere(params: &mut CertificateParams) {
    params.subject_alt_names = CertificateParams::new(vec!["qdrant.internal".to_owned(), "10.0.0.5".to_owned()])
        .unwrap()
        .subject_alt_names;
}

pub fn revoked(params: &mut CertificateParams) {
    params.serial_number = Some(SerialNumber::from(REVOKED));
}

/// Whose client certificates a server wants.
pub enum Clients<'a> {
    Any,
    Of(&'a Authority),
    /// Those of it that are not revoked.
    OfWithout(&'a Authority),
}

/// The URL of a server with TLS in front of `peer`; `version`: `1.2`, `1.3` or both.
pub async fn serve(peer: &str, pair: &Pair, clients: Clients<'_>, version: &str) -> String {
    let provider = Arc::new(default_provider());
    let versions: Vec<_> = [("1.2", &rustls::version::TLS12), ("1.3", &rustls::version::TLS13)]
        .into_iter()
        .filter(|(number, _)| version.contains(number))
        .map(|(_, version)| version)
        .collect();
    let builder = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&versions)
        .unwrap();
    let builder = match clients {
        Clients::Any => builder.with_no_client_auth(),
        Clients::Of(authority) | Clients::OfWithout(authority) => {
            let mut roots = RootCertStore::empty();
            let root = CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap();
            roots.add(root).unwrap();
            let mut verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            if matches!(clients, Clients::OfWithout(_)) {
                verifier = verifier.with_crls([revocations(authority)]);
            }
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let chain = CertificateDer::pem_slice_iter(pair.cert.as_bytes());
    let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(builder.with_single_cert(chain, key).unwrap()));
    let to = peer.strip_prefix("http://").unwrap().to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (acceptor, to) = (acceptor.clone(), to.clone());
            tokio::spawn(async move {
                match acceptor.accept(client).into_fallible().await {
                    Ok(mut client) => {
                        let mut server = TcpStream::connect(to).await.unwrap();
                        let _ = copy_bidirectional(&mut client, &mut server).await;
                    }
                    Err((_, client)) => linger(client).await,
                }
            });
        }
    });
    url
}

fn revocations(authority: &Authority) -> CertificateRevocationListDer<'static> {
    let list = CertificateRevocationListParams {
        this_update: datetime!(2020-01-01 0:00 UTC),
        next_update: datetime!(4000-01-01 0:00 UTC),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: vec![RevokedCertParams {
            serial_number: SerialNumber::from(REVOKED),
            revocation_time: OffsetDateTime::UNIX_EPOCH,
            reason_code: None,
            invalidity_date: None,
        }],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    list.signed_by(&authority.issuer).unwrap().into()
}

/// Waits for the other side to close, so that it reads what was written last.
async fn linger(mut client: TcpStream) {
    let _ = client.shutdown().await;
    let _ = tokio::io::copy(&mut client, &mut sink()).await;
}

/// The port of a server that answers whatever is asked with these bytes, and closes.
pub async fn answers(bytes: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = client.read(&mut [0; 1024]).await;
                let _ = client.write_all(bytes).await;
                linger(client).await;
            });
        }
    });
    port
}
