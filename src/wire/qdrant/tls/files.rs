//! Reading certificates and keys.

use super::Tls;
use crate::base::error::{Code, Error};
use crate::base::shell;
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use rustls::sign::CertifiedKey;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The bundle of a whole system has a quarter of a mebibyte.
const LARGEST: u64 = 4 << 20;
/// How a value of ASN.1 begins that is a certificate or a key in DER form.
const DER: &[u8] = &[0x30, 0x82];

/// What is wrong with a file.
#[derive(Clone, Debug)]
pub(crate) struct FileProblem {
    pub(crate) setting: &'static str,
    pub(crate) path: PathBuf,
    pub(crate) wrong: String,
    pub(crate) remedy: String,
}

impl From<FileProblem> for Error {
    fn from(problem: FileProblem) -> Self {
        let FileProblem {
            setting,
            path,
            wrong,
            remedy,
        } = problem;
        Error::new(Code::ConfigInvalid, format!("{setting}={path:?} {wrong}")).remedy(remedy)
    }
}

/// What the files hold.
#[derive(Debug)]
pub(super) struct Credentials {
    pub(super) authorities: Vec<CertificateDer<'static>>,
    pub(super) identity: Option<Arc<CertifiedKey>>,
}

/// The cryptography of this process.
pub(super) fn provider() -> Arc<CryptoProvider> {
    let own = || Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    CryptoProvider::get_default().cloned().unwrap_or_else(own)
}

/// Reads and checks all files.
pub(super) fn read(tls: &Tls) -> Result<Credentials, Vec<FileProblem>> {
    let mut problems = Vec::new();
    let authorities = tls.ca.as_deref().map_or(Ok(Vec::new()), |path| {
        authorities(path).map_err(|(wrong, remedy)| problem(tls.names.ca, path, wrong, remedy))
    });
    let identity = tls.identity.as_ref().map(|(cert, key)| identity(tls, cert, key));
    let mut keep = |found: FileProblem| problems.push(found);
    let authorities = authorities.map_err(&mut keep).unwrap_or_default();
    let identity = identity.transpose().map_err(|all| all.into_iter().for_each(keep));
    match (problems.is_empty(), identity) {
        (true, Ok(identity)) => Ok(Credentials { authorities, identity }),
        _ => Err(problems),
    }
}

/// What is wrong, and the remedy.
type Wrong = (String, String);

fn problem(setting: &'static str, path: &Path, wrong: String, remedy: String) -> FileProblem {
    FileProblem {
        setting,
        path: path.to_owned(),
        wrong,
        remedy,
    }
}

fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, Wrong> {
    let found = certificates(path)?;
    for (at, certificate) in found.iter().enumerate() {
        RootCertStore::empty().add(certificate.clone()).map_err(|e| {
            let why = match e {
                rustls::Error::InvalidCertificate(e) => e.to_string(),
                e => e.to_string(),
            };
            (
                format!("holds a certificate that cannot be read, number {}: {why}", at + 1),
                "name a file with certificates of authorities in PEM form".to_owned(),
            )
        })?;
    }
    Ok(found)
}

fn identity(tls: &Tls, cert: &Path, key: &Path) -> Result<Arc<CertifiedKey>, Vec<FileProblem>> {
    let of_cert = |(wrong, remedy)| problem(tls.names.cert, cert, wrong, remedy);
    let of_key = |(wrong, remedy)| problem(tls.names.key, key, wrong, remedy);
    let (chain, private) = match (certificates(cert), private_key(key)) {
        (Ok(chain), Ok(private)) => (chain, private),
        (chain, private) => {
            let chain = chain.err().map(of_cert);
            return Err(chain.into_iter().chain(private.err().map(of_key)).collect());
        }
    };
    let fits = CertifiedKey::from_der(chain, private, &provider());
    fits.map(Arc::new).map_err(|e| match e {
        rustls::Error::InconsistentKeys(_) => {
            let wrong = format!("does not belong to the first certificate of {}={cert:?}", tls.names.cert);
            let remedy = "name the key that the certificate was made for; in the file of the certificate, the client's own comes first";
            vec![of_key((wrong, remedy.to_owned()))]
        }
        e => {
            let remedy = "use an RSA, ECDSA or Ed25519 key and a certificate made for it";
            vec![of_key((format!("cannot be used: {e}"), remedy.to_owned()))]
        }
    })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Wrong> {
    let text = contents(path, "x509")?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if found.is_empty() => Err((
            "holds no certificate".to_owned(),
            "name a file with one or several certificates in PEM form: -----BEGIN CERTIFICATE-----".to_owned(),
        )),
        Ok(found) => Ok(found),
        Err(e) => Err(not_pem(&e)),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, Wrong> {
    let text = contents(path, "pkey")?;
    // rustls takes no passphrase. Both forms of such keys say so in clear.
    if text.windows(9).any(|part| part == b"ENCRYPTED") {
        let remedy = format!(
            "decrypt it: openssl pkey -in {} -out client-key.pem",
            shell::word(&path.to_string_lossy())
        );
        return Err(("holds an encrypted key, which cannot be read".to_owned(), remedy));
    }
    PrivateKeyDer::from_pem_slice(&text).map_err(|e| match e {
        pem::Error::NoItemsFound => (
            "holds no private key".to_owned(),
            "name a file with the client's key in PEM form: -----BEGIN PRIVATE KEY-----".to_owned(),
        ),
        e => not_pem(&e),
    })
}

/// The library's own text may repeat a line, and so a key.
fn not_pem(error: &pem::Error) -> Wrong {
    let wrong = match error {
        pem::Error::MissingSectionEnd { .. } => "is not valid PEM: an -----END line is missing",
        pem::Error::IllegalSectionStart { .. } => "is not valid PEM: a -----BEGIN line is malformed",
        pem::Error::Base64Decode(_) => "is not valid PEM: a section is not base64",
        _ => "is not valid PEM",
    };
    let remedy = "replace the file; it may be cut, or have lost its line breaks";
    (wrong.to_owned(), remedy.to_owned())
}

/// The whole file; `command`: the one of OpenSSL that converts such a file.
fn contents(path: &Path, command: &str) -> Result<Vec<u8>, Wrong> {
    const READABLE: &str = "name a file that exists and that this process may read";
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut text));
    if let Err(e) = read {
        return Err((format!("cannot be read: {e}"), READABLE.to_owned()));
    }
    let wrong = if text.trim_ascii().is_empty() {
        return Err((
            "is empty".to_owned(),
            "fill it; where a secret is mounted, check that it has a value".to_owned(),
        ));
    } else if text.len() as u64 > LARGEST {
        return Err((
            format!("has more than {LARGEST} bytes"),
            "name a file with certificates or a key alone".to_owned(),
        ));
    } else if text.starts_with(DER) {
        "is in DER form"
    } else {
        return Ok(text);
    };
    let path = shell::word(&path.to_string_lossy());
    let remedy = format!("convert it to PEM: openssl {command} -inform der -in {path} -out converted.pem");
    Err((wrong.to_owned(), remedy))
}
