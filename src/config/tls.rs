//! Certificates of the connection to a Qdrant.

use super::qdrant::Variables;
use super::reader::Reader;
use super::settings::value;
use crate::wire::qdrant::{Tls, TlsNames};

/// Reads the group of the settings of these names, and looks whether the files can be used.
pub(super) fn read(reader: &mut Reader<'_>, names: TlsNames) -> Tls {
    let text = |name| reader.text(name);
    let (ca, cert, key) = (text(names.ca), text(names.cert), text(names.key));
    let identity = match (cert, key) {
        (Some(cert), Some(key)) => Some((cert.into(), key.into())),
        (None, None) => None,
        (Some(cert), None) => {
            alone(reader, (names.cert, &cert), names.key);
            None
        }
        (None, Some(key)) => {
            alone(reader, (names.key, &key), names.cert);
            None
        }
    };
    let tls = Tls {
        names,
        ca: ca.map(Into::into),
        identity,
    };
    for problem in tls.problems() {
        reader.problem(
            problem.setting,
            &problem.path.to_string_lossy(),
            problem.wrong,
            problem.remedy,
        );
    }
    tls
}

fn alone(reader: &mut Reader<'_>, (name, path): (&'static str, &str), other: &'static str) {
    let remedy = format!("set both, or none; {other} names the other file");
    reader.problem(name, path, format!("is set, and {other} is not"), remedy);
}

/// A warning of settings that mean nothing because the connection is one without TLS.
pub(super) fn unused(env: super::Env<'_>, variables: &Variables) -> Option<String> {
    let names = variables.tls();
    let set = [names.ca, names.cert, names.key];
    let set = set.into_iter().find(|name| value(env, name).is_some())?;
    variables.is_plain(env).then(|| {
        format!(
            "{set} is set but not used: {} does not begin with https://, and so the connection is not encrypted",
            names.url
        )
    })
}
