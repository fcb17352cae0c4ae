//! Where tokens come from.

use crate::base::error::with_causes;
use futures_util::future::BoxFuture;
use gcp_auth::{Error, TokenProvider};
use std::{error::Error as StdError, io, sync::Arc};

pub(super) type Opened = Result<Arc<dyn TokenProvider>, Error>;

/// Finds out where tokens come from. Asked again when a token is refused: `gcp_auth` keeps one until it expires, and only a
/// new provider fetches another, from a key file that was replaced, too.
#[derive(Clone)]
pub struct TokenSource(Arc<dyn Fn() -> BoxFuture<'static, Opened> + Send + Sync>);

impl TokenSource {
    /// The provider that `open` makes each time.
    pub fn new<F>(open: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Opened> + Send + 'static,
    {
        Self(Arc::new(move || Box::pin(open())))
    }

    /// What is configured on this machine; the metadata server when nothing else is.
    pub(in crate::wire::store) fn of_this_machine() -> Self {
        Self::new(gcp_auth::provider)
    }

    pub(super) fn open(&self) -> BoxFuture<'static, Opened> {
        (self.0)()
    }
}

/// Why there is no provider, for each place that was tried: the error itself does not tell.
pub(super) fn told(error: &Error) -> String {
    let full = |e: &Error| with_causes(e.to_string(), e);
    match error {
        Error::NoAuthMethod(gcloud, metadata, file) => format!(
            "metadata server: {}; gcloud: {}; application default credentials: {}",
            full(metadata),
            full(gcloud),
            full(file)
        ),
        other => full(other),
    }
}

/// Whether a provider may be there in a moment: the metadata server is there, and does not give what it should. A key file
/// that cannot be read, and a machine without a metadata server, stay as they are.
pub(super) fn may_come(error: &Error) -> bool {
    let Error::NoAuthMethod(_, metadata, file) = error else {
        return false;
    };
    // A person's credentials are there, and Google did not answer.
    if matches!(**file, Error::Other(..) | Error::Http(..)) {
        return true;
    }
    match &**metadata {
        // Without an answer. Whoever does not find the name of the server is not on Google Cloud.
        Error::Other(_, cause) => {
            let mut cause: Option<&(dyn StdError + 'static)> = Some(&**cause);
            while let Some(error) = cause {
                if let Some(error) = error.downcast_ref::<io::Error>() {
                    return is_of_a_connection(error.kind());
                }
                cause = error.source();
            }
            true
        }
        _ => true,
    }
}

fn is_of_a_connection(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{
        BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable, NetworkUnreachable,
        TimedOut, UnexpectedEof,
    };
    matches!(
        kind,
        BrokenPipe
            | ConnectionAborted
            | ConnectionRefused
            | ConnectionReset
            | HostUnreachable
            | NetworkUnreachable
            | TimedOut
            | UnexpectedEof
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_metadata_server_that_is_there_is_waited_for() {
        let nowhere = |metadata: Error| {
            let other = || Box::new(Error::Str("none"));
            Error::NoAuthMethod(other(), Box::new(metadata), other())
        };
        let io = |kind: io::ErrorKind| Error::Other("HTTP request failed", io::Error::new(kind, "x").into());
        for (error, waited) in [
            (nowhere(Error::Str("token request failed")), true),
            (nowhere(io(io::ErrorKind::ConnectionRefused)), true),
            // As a name that is not found.
            (nowhere(io(io::ErrorKind::Other)), false),
            (Error::Io("no key file", io::ErrorKind::NotFound.into()), false),
            (Error::Str("invalid private key in credentials"), false),
        ] {
            assert_eq!(may_come(&error), waited, "{error:?}");
        }
    }
}
