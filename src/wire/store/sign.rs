//! Signed URLs: read access to one object for a short time, without credentials.

use super::Version;
use crate::base::error::Result;
use async_trait::async_trait;
use std::time::Duration;

/// A store that can hand out signed URLs.
#[async_trait]
pub trait Signing: Send + Sync {
    /// A URL by which anybody may read `key`, as it is at `version` (or now), until `expires` has passed. It is a secret.
    async fn signed_get_url(&self, key: &str, version: Option<&Version>, expires: Duration) -> Result<String>;
}
