//! Why a connection by TLS does not come about, and what to do about it: by the types of the errors, never by their wording.

use super::Tls;
use crate::base::error::{Code, Error};
use crate::base::text::in_the_middle;
use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, InvalidMessage, PeerIncompatible};
use std::error::Error as StdError;
use std::fmt;
use std::io;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Names of a certificate that are told, and the length of each.
const SHOWN: usize = 5;
const LONGEST_NAME: usize = 100;

/// A certificate that is its own issuer and not among the trusted ones.
#[derive(Debug)]
pub(super) struct SelfSigned;

impl fmt::Display for SelfSigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("self-signed certificate")
    }
}

impl StdError for SelfSigned {}

/// What the connection was to be.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Attempt<'a> {
    pub(in super::super) tls: &'a Tls,
    /// `https://h:6333`.
    pub(in super::super) base: &'a str,
    /// Whether anything was ever answered.
    pub(in super::super) is_reached: bool,
}

/// The error that says why TLS is in the way, if it is; `doing`: of what.
pub(in super::super) fn failure(
    doing: &str,
    why: &(dyn StdError + Send + Sync + 'static),
    attempt: Attempt<'_>,
) -> Option<Error> {
    let wrong = match attempt.base.starts_with("https:") {
        true => of_tls(why, attempt)?,
        false => of_plain(why, attempt)?,
    };
    Some(Error::new(wrong.code, format!("{doing}: {}", wrong.what)).remedy(wrong.remedy))
}

/// What is wrong.
#[derive(Debug)]
struct Wrong {
    code: Code,
    what: String,
    remedy: String,
}

fn wrong(what: String, remedy: String) -> Wrong {
    Wrong {
        code: Code::QdrantTls,
        what,
        remedy,
    }
}

/// Of HTTP without TLS: what a port that speaks TLS does with it.
fn of_plain(why: &(dyn StdError + 'static), attempt: Attempt<'_>) -> Option<Wrong> {
    let Attempt { base, tls, is_reached } = attempt;
    // Where anything was ever answered no TLS is spoken.
    let error: &hyper::Error = find(why).filter(|_| !is_reached)?;
    let remedy = |last: &str| {
        format!(
            "if this port speaks TLS, write https:// in {}; otherwise {last}",
            tls.names.url
        )
    };
    if error.is_parse() {
        let what = format!("the answer of {base} is not HTTP; a port that speaks TLS answers so");
        let code = Code::QdrantUnexpected;
        let remedy = remedy("check host and port");
        return Some(Wrong { code, what, remedy });
    }
    error.is_incomplete_message().then(|| Wrong {
        code: Code::QdrantUnreachable,
        what: format!("{base} closed the connection without an answer; a port that speaks TLS may do so"),
        remedy: remedy("check that Qdrant runs, and read its log"),
    })
}

fn of_tls(why: &(dyn StdError + 'static), attempt: Attempt<'_>) -> Option<Wrong> {
    let Attempt { tls, base, .. } = attempt;
    let is_connecting = find::<reqwest::Error>(why).is_some_and(reqwest::Error::is_connect);
    let Some(error) = find::<rustls::Error>(why) else {
        let closed = is_connecting && has_kind(why, io::ErrorKind::UnexpectedEof);
        return closed.then(|| Wrong {
            code: Code::QdrantUnreachable,
            what: format!("{base} closed the connection during the TLS handshake"),
            remedy: format!(
                "check that Qdrant runs and that this port speaks TLS; if it does not, write http:// in {}",
                tls.names.url
            ),
        });
    };
    match error {
        rustls::Error::InvalidCertificate(error) => Some(of_certificate(error, attempt)),
        rustls::Error::AlertReceived(alert) => of_alert(*alert, attempt, is_connecting),
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) if is_connecting => Some(wrong(
            format!("{base} answers without TLS"),
            format!("write http:// in {}, or the port that speaks TLS", tls.names.url),
        )),
        rustls::Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled,
        ) => Some(version(base)),
        rustls::Error::PeerIncompatible(_) => Some(nothing_in_common(base, &error.to_string())),
        // What goes wrong later is a broken connection.
        error if is_connecting => Some(wrong(
            format!("TLS with {base} fails: {error}"),
            format!("check that {base} is the address of Qdrant's REST API, and what stands between"),
        )),
        _ => None,
    }
}

fn version(base: &str) -> Wrong {
    wrong(
        format!("{base} speaks neither TLS 1.2 nor TLS 1.3"),
        format!("enable TLS 1.2 or 1.3 at {base}; older versions are insecure"),
    )
}

fn nothing_in_common(base: &str, error: &str) -> Wrong {
    wrong(
        format!("{base} has no parameters of TLS in common with this tool: {error}"),
        format!("enable at {base} a cipher suite of TLS 1.3, or ECDHE with AES-GCM or ChaCha20-Poly1305"),
    )
}

fn of_certificate(error: &CertificateError, attempt: Attempt<'_>) -> Wrong {
    let Attempt { tls, base, .. } = attempt;
    let names = tls.names;
    let clock = "correct this machine's clock";
    match error {
        CertificateError::ExpiredContext { not_after, .. } => wrong(
            format!("a certificate of {base} expired at {}", moment(*not_after)),
            format!("renew the certificate of {base}; if that is still valid, {clock}"),
        ),
        CertificateError::Expired => wrong(
            format!("a certificate of {base} is expired"),
            format!("renew the certificate of {base}; if that is still valid, {clock}"),
        ),
        CertificateError::NotValidYetContext { not_before, .. } => wrong(
            format!("a certificate of {base} is not valid before {}", moment(*not_before)),
            format!("{clock}; if that is right, replace the certificate of {base}"),
        ),
        CertificateError::NotValidYet => wrong(
            format!("a certificate of {base} is not valid yet"),
            format!("{clock}; if that is right, replace the certificate of {base}"),
        ),
        CertificateError::NotValidForNameContext { expected, presented } => wrong(
            format!(
                "the certificate of {base} is not for {:?}: {}",
                expected.to_str(),
                listed(presented)
            ),
            format!(
                "use a name of the certificate in {}, or give the certificate the name {:?} (subjectAltName)",
                names.url,
                expected.to_str()
            ),
        ),
        CertificateError::NotValidForName => wrong(
            format!("the certificate of {base} is for another name"),
            format!("use a name of the certificate in {}", names.url),
        ),
        CertificateError::UnknownIssuer => wrong(
            format!("the certificate of {base} is of an authority that is not trusted here"),
            match &tls.ca {
                None => format!(
                    "set {} to a PEM file with the certificate of that authority, if it is yours",
                    names.ca
                ),
                Some(path) => format!(
                    "add the certificate of that authority to {}={path:?}; and check that {base} sends the certificates between its own and that one",
                    names.ca
                ),
            },
        ),
        CertificateError::Revoked => wrong(
            format!("the certificate of {base} is revoked"),
            format!("replace the certificate of {base}"),
        ),
        CertificateError::Other(other) if other.0.is::<SelfSigned>() => wrong(
            format!("the certificate of {base} is self-signed and not trusted here"),
            format!("set {} to a PEM file with this certificate, if it is yours", names.ca),
        ),
        // What `openssl req -x509` makes by itself.
        CertificateError::Other(other) if matches!(other.0.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity)) => {
            wrong(
                format!(
                    "the certificate of {base} is marked as that of an authority (CA:TRUE), which is refused for a server"
                ),
                format!(
                    "make one for the server, signed by that authority or with `openssl req -x509 -addext basicConstraints=critical,CA:FALSE`; {} trusts it then",
                    names.ca
                ),
            )
        }
        other => wrong(
            format!(
                "the certificate of {base} is not valid: {}",
                in_the_middle(&other.to_string(), 500)
            ),
            format!("replace the certificate of {base}"),
        ),
    }
}

/// Alerts of the other side: what it does not like about us.
fn of_alert(alert: AlertDescription, attempt: Attempt<'_>, is_connecting: bool) -> Option<Wrong> {
    let Attempt { tls, base, .. } = attempt;
    let names = tls.names;
    let Some((cert, _)) = &tls.identity else {
        return match alert {
            AlertDescription::CertificateRequired | AlertDescription::BadCertificate => Some(wrong(
                format!("{base} requires a client certificate"),
                format!("set {} and {}", names.cert, names.key),
            )),
            // In TLS 1.2 there is no alert of its own for that.
            AlertDescription::HandshakeFailure => Some(wrong(
                format!(
                    "{base} refuses the TLS handshake: it requires a client certificate, or has no cipher suite in common with this tool"
                ),
                format!("set {} and {}, or enable TLS 1.3 at {base}", names.cert, names.key),
            )),
            other => of_any_alert(other, base, is_connecting),
        };
    };
    let (why, remedy) = match alert {
        AlertDescription::CertificateExpired => ("it is expired", "renew it"),
        AlertDescription::CertificateRevoked => ("it is revoked", "replace it"),
        AlertDescription::UnknownCA => (
            "it knows no authority that issued it",
            "use one of an authority that Qdrant trusts (tls.ca_cert), with the certificates between in the same file",
        ),
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::CertificateRequired
        | AlertDescription::AccessDenied
        | AlertDescription::DecryptError
        | AlertDescription::HandshakeFailure => (
            "it gives no reason; its log may",
            "use a certificate for clients (extendedKeyUsage clientAuth) of an authority that Qdrant trusts (tls.ca_cert)",
        ),
        other => return of_any_alert(other, base, is_connecting),
    };
    Some(wrong(
        format!("{base} refuses the client certificate {cert:?}: {why} (TLS alert {alert:?})"),
        format!("check {}: {remedy}", names.cert),
    ))
}

fn of_any_alert(alert: AlertDescription, base: &str, is_connecting: bool) -> Option<Wrong> {
    match alert {
        AlertDescription::ProtocolVersion => Some(version(base)),
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => {
            Some(nothing_in_common(base, "it refuses the handshake"))
        }
        AlertDescription::UnrecognisedName => Some(wrong(
            format!("{base} has no certificate for this host name"),
            "use the name that the server's certificate is for".to_owned(),
        )),
        alert if is_connecting => Some(wrong(
            format!("{base} refuses the TLS handshake (TLS alert {alert:?})"),
            format!("read the log of what answers at {base}"),
        )),
        _ => None,
    }
}

/// The first error of this type in the chain.
fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

fn has_kind(error: &(dyn StdError + 'static), kind: io::ErrorKind) -> bool {
    causes(error).any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == kind))
}

/// An error and its causes.
fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| {
        // `source` of an I/O error leaves out what it holds itself.
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(held) => Some(held),
            None => error.source(),
        }
    })
}

fn moment(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    let moment = OffsetDateTime::from_unix_timestamp(seconds).ok();
    moment
        .and_then(|moment| moment.format(&Rfc3339).ok())
        .unwrap_or_else(|| format!("{seconds} s after 1970"))
}

/// The names of a certificate, which webpki writes as `DnsName("h")` and `IpAddress(10.0.0.5)`.
fn listed(names: &[String]) -> String {
    if names.is_empty() {
        return "it has no name at all (subjectAltName)".to_owned();
    }
    let plain = |name: &String| {
        let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
        let inner = inner.unwrap_or(name).trim_matches('"');
        format!("{:?}", in_the_middle(inner, LONGEST_NAME))
    };
    let more = if names.len() > SHOWN { ", …" } else { "" };
    let shown: Vec<_> = names.iter().take(SHOWN).map(plain).collect();
    format!("its names are {}{more}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::collections::BTreeSet;
    use std::path::PathBuf;

    /// What no server of the tests can do, and what it would be told as: each has words of its own.
    #[test]
    fn each_refusal_is_told_with_a_remedy_of_its_own() {
        let tls = Tls {
            identity: Some((PathBuf::from("/cert.pem"), PathBuf::from("/key.pem"))),
            ..Tls::default()
        };
        let base = "https://h:6333";
        let attempt = |tls| Attempt {
            tls,
            base,
            is_reached: false,
        };
        let mut told = BTreeSet::new();
        for error in [
            CertificateError::Revoked,
            CertificateError::Expired,
            CertificateError::NotValidYet,
            CertificateError::NotValidForName,
            CertificateError::UnknownIssuer,
            CertificateError::BadEncoding,
        ] {
            told.insert(of_certificate(&error, attempt(&tls)).what);
        }
        for alert in [
            AlertDescription::CertificateExpired,
            AlertDescription::CertificateRevoked,
            AlertDescription::UnknownCA,
            AlertDescription::AccessDenied,
            AlertDescription::ProtocolVersion,
            AlertDescription::InsufficientSecurity,
            AlertDescription::InternalError,
        ] {
            told.insert(of_alert(alert, attempt(&tls), true).unwrap().what);
        }
        let without = Tls::default();
        for alert in [
            AlertDescription::CertificateRequired,
            AlertDescription::HandshakeFailure,
        ] {
            told.insert(of_alert(alert, attempt(&without), true).unwrap().what);
        }
        assert_eq!(told.len(), 15, "{told:#?}");
        // In the middle of an answer it is a broken connection, which is tried again.
        assert!(of_alert(AlertDescription::InternalError, attempt(&tls), false).is_none());
    }
}
