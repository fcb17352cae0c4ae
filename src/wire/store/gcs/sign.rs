//! Signed URLs (V4): the official client builds them, a service account's key signs them, or IAM does for it.

use super::{GcsStore, again::Failures, answer::Kind, redacted::RedactedError, refusal::Action};
use crate::base::error::{BoxError, Code, Error, Result};
use crate::wire::store::{Signing, Version, valid_key};
use async_trait::async_trait;
use google_cloud_auth::{credentials::Builder, signer::Signer};
use google_cloud_storage::{Error as GcsError, builder::storage::SignedUrlBuilder};
use std::{error::Error as StdError, time::Duration};
use tokio::time::sleep;

/// Requests for one signature; the client itself repeats those of a service that is overloaded.
const SIGNATURES: u32 = 3;

const GRANT: &str =
    "grant the service account iam.serviceAccounts.signBlob on itself (role Service Account Token Creator)";

/// What signs on this machine: the key file that the default credentials name, or on Google Cloud the service account by
/// IAM's signBlob. Asks nobody yet. None for credentials that cannot sign, such as those of a person.
pub(super) fn discover() -> Option<Signer> {
    Builder::default()
        .build_signer()
        .inspect_err(|error| tracing::debug!(error = %error, "no signed URLs with these credentials"))
        .ok()
}

#[async_trait]
impl Signing for GcsStore {
    async fn signed_get_url(&self, key: &str, version: Option<&Version>, expires: Duration) -> Result<String> {
        valid_key(key)?;
        let call = self.call(Action::Read, "sign a URL for", key);
        let forbidden = |cause: BoxError| {
            let error = Error::new(Code::StoreForbidden, call.doing.clone());
            error.because(cause).remedy(GRANT)
        };
        let Some(mut signer) = self.signer.clone() else {
            return Err(Error::new(
                Code::StoreForbidden,
                format!("{}: these credentials cannot sign", call.doing),
            ));
        };
        let mut failures = Failures::default();
        loop {
            let error = match self.unsigned(key, version, expires).sign_with(&signer).await {
                Ok(signed) => return Ok(signed),
                Err(error) => error,
            };
            let Some(kind) = answer_of(&error).map(Kind::of) else {
                // IAM was not asked: a key that does not sign.
                return Err(forbidden(error.into()));
            };
            if !failures.again(kind, SIGNATURES) {
                let cause = RedactedError::by(&error);
                return Err(match kind {
                    Kind::Right | Kind::NotFound => forbidden(cause.into()),
                    _ => call.refused(kind, cause),
                });
            }
            // It keeps its token, too.
            if kind == Kind::Token && self.emulator.is_none() {
                signer = discover().unwrap_or(signer);
            }
            sleep(self.retry.first_delay * failures.all).await;
        }
    }
}

impl GcsStore {
    fn unsigned(&self, key: &str, version: Option<&Version>, expires: Duration) -> SignedUrlBuilder {
        let mut url = SignedUrlBuilder::for_object(self.resource(), self.name(key)).with_expiration(expires);
        if let Some(version) = version {
            url = url.with_query_param("generation", &version.0);
        }
        if let Some(emulator) = &self.emulator {
            url = url.with_endpoint(emulator);
        }
        url
    }
}

/// What IAM answered, if it was asked.
fn answer_of<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a GcsError> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(answer) = error.downcast_ref::<GcsError>() {
            return Some(answer);
        }
        cause = error.source();
    }
    None
}
