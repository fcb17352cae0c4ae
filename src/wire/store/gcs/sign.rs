//! Signed URLs (V4): the official client builds them, a service account's key signs them, or IAM does for it.

use super::GcsStore;
use crate::base::error::{Code, Error, Result};
use crate::wire::store::{Signing, Version, valid_key};
use async_trait::async_trait;
use google_cloud_auth::{credentials::Builder, signer::Signer};
use google_cloud_storage::builder::storage::SignedUrlBuilder;
use std::time::Duration;

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
        let doing = format!("sign a URL for {}", self.gs(key));
        let Some(signer) = &self.signer else {
            return Err(Error::new(
                Code::StoreForbidden,
                format!("{doing}: these credentials cannot sign"),
            ));
        };
        let mut url = SignedUrlBuilder::for_object(self.resource(), self.name(key)).with_expiration(expires);
        if let Some(version) = version {
            url = url.with_query_param("generation", &version.0);
        }
        if let Some(emulator) = &self.emulator {
            url = url.with_endpoint(emulator);
        }
        url.sign_with(signer).await.map_err(|e| {
            Error::new(Code::StoreForbidden, doing).because(e).remedy(
                "grant the service account iam.serviceAccounts.signBlob on itself (role Service Account Token Creator)",
            )
        })
    }
}
