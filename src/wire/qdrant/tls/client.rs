//! The HTTP client, made anew when a file of its TLS changes.

use super::super::Options;
use super::failure::SelfSigned;
use super::files::{self, provider};
use super::{FileProblem, Tls};
use crate::base::error::{Code, Error, Result};
use reqwest::{Client, ClientBuilder};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConfig, ResolvesClientCert};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::SingleCertAndKey;
use rustls::{CertificateError, DigitallySignedStruct, OtherError, SignatureScheme};
use rustls_platform_verifier::Verifier;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

/// What makes a client without its TLS.
type Make = fn(&Options) -> ClientBuilder;

/// A client whose certificates are those that the files have now.
#[derive(Clone, Debug)]
pub(in super::super) struct Renewed {
    make: Make,
    now: Arc<Mutex<(Vec<Stamp>, Client)>>,
}

impl Renewed {
    pub(in super::super) fn new(options: &Options, make: Make) -> Result<Self> {
        let stamps = stamps(&options.tls);
        let client = build(options, make)?;
        Ok(Self {
            make,
            now: Arc::new(Mutex::new((stamps, client))),
        })
    }

    /// The client for the next request. Files that cannot be used, e.g. because only one of two is replaced yet, change nothing.
    pub(in super::super) fn client(&self, options: &Options) -> Client {
        let stamps = stamps(&options.tls);
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if now.0 != stamps {
            match build(options, self.make) {
                Ok(client) => {
                    tracing::info!("the certificates of the connection to Qdrant have changed and were read again");
                    now.1 = client;
                }
                Err(error) => {
                    tracing::warn!(%error, "the certificates of the connection to Qdrant have changed and cannot be read; the previous ones are used")
                }
            }
            now.0 = stamps;
        }
        now.1.clone()
    }
}

/// What changes when a file is replaced or written.
type Stamp = Option<(SystemTime, u64, u64)>;

fn stamps(tls: &Tls) -> Vec<Stamp> {
    let identity = tls.identity.iter().flat_map(|(cert, key)| [cert, key]);
    tls.ca.iter().chain(identity).map(|path| stamp(path)).collect()
}

fn stamp(path: &Path) -> Stamp {
    let found = fs::metadata(path).ok()?;
    #[cfg(unix)]
    let inode = std::os::unix::fs::MetadataExt::ino(&found);
    #[cfg(not(unix))]
    let inode = 0;
    Some((found.modified().ok()?, found.len(), inode))
}

fn build(options: &Options, make: Make) -> Result<Client> {
    let failed = "building the HTTP client";
    let builder = match options.url.scheme() {
        "https" => {
            let problem = |mut all: Vec<FileProblem>| Error::from(all.swap_remove(0));
            let credentials = files::read(&options.tls).map_err(problem)?;
            let config = config(credentials).map_err(|e| {
                Error::new(Code::ConfigInvalid, failed).because(e).remedy(
                    "install the certificates of public authorities (Debian: ca-certificates), or set SSL_CERT_FILE",
                )
            })?;
            make(options).tls_backend_preconfigured(config)
        }
        _ => make(options),
    };
    builder
        .build()
        .map_err(|e| Error::new(Code::Internal, failed).because(e))
}

fn config(credentials: files::Credentials) -> Result<ClientConfig, rustls::Error> {
    let provider = provider();
    let verifier = Telling(Verifier::new_with_extra_roots(
        credentials.authorities,
        provider.clone(),
    )?);
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match credentials.identity {
        Some(identity) => {
            let identity: Arc<dyn ResolvesClientCert> = Arc::new(SingleCertAndKey::from(identity));
            config.with_client_cert_resolver(identity)
        }
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Refuses what the verifier of the system refuses, and tells a certificate that is its own issuer from one of an unknown one.
#[derive(Debug)]
struct Telling(Verifier);

impl ServerCertVerifier for Telling {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self
            .0
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        verified.map_err(|error| match error {
            rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) if is_self_signed(end_entity) => {
                rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(SelfSigned))))
            }
            error => error,
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

fn is_self_signed(certificate: &CertificateDer<'_>) -> bool {
    webpki::EndEntityCert::try_from(certificate).is_ok_and(|found| found.issuer() == found.subject())
}
