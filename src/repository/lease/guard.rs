//! What keeps other runs away from one that only reads the store: the lease, or nothing where the store takes no writes.
//!
//! A restore must be possible from a disk that is full or mounted read-only, and from a bucket that may only be read: that is
//! when it is needed. So it goes on without the lease where the store refuses that for lack of room or rights, and says so.
//! A lease that another run holds still excludes it.

use super::{Lease, holder, is_refused, require_free};
use crate::base::clock::{Clock, stamp};
use crate::base::error::Result;
use crate::wire::store::Store;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// What is at stake without a lease.
const UNPROTECTED: &str = "a backup or another restore may run at the same time, and a prune may delete what is being \
     read";

/// The lease of a run, or what may go on without one.
#[derive(Debug)]
pub struct Guard {
    lease: Option<Lease>,
    warning: Option<String>,
}

impl Guard {
    /// Takes the lease, unless the store refuses it for lack of room or rights. With `no_lock` it is not tried, and whoever has
    /// it is only named.
    ///
    /// # Errors
    /// [`crate::base::error::Code::RunInProgress`] while another run holds the lease.
    pub async fn take(store: Arc<dyn Store>, clock: &Clock, who: &str, life: Duration, no_lock: bool) -> Result<Self> {
        if no_lock {
            // A look that fails is as good as none: it was asked for to go on whatever there is.
            let other = holder(&*store, clock).await.ok().flatten();
            let other = other.map_or_else(String::new, |other| {
                format!("; {} is running since {}", other.who, stamp(other.since))
            });
            return Ok(Self::without(format!(
                "running without a lease, as requested: {UNPROTECTED}{other}"
            )));
        }
        let refused = match super::acquire_if_kept(store.clone(), clock, who, life).await {
            Ok(lease) => {
                let (lease, warning) = (Some(lease), None);
                return Ok(Self { lease, warning });
            }
            Err(error) if is_refused(&error) => error,
            Err(error) => return Err(error),
        };
        // Somebody may have found room, or have the right to write. Whoever cannot even look does not know.
        require_free(&*store, clock)
            .await
            .map_err(|error| match is_refused(&error) {
                true => error
                    .remedy("grant this account read access to lock.json; or run without the lease: --no-lock")
                    .over_http(
                        "grant the service's account read access to lock.json; or run without the lease: send {\"no_lock\": true}",
                    ),
                false => error,
            })?;
        Ok(Self::without(format!(
            "{} refuses the lease ({}): {UNPROTECTED}",
            store.url(),
            refused.chain()
        )))
    }

    fn without(warning: String) -> Self {
        tracing::warn!("{warning}");
        Self {
            lease: None,
            warning: Some(warning),
        }
    }

    /// A token for the work: cancelled when the caller's is, or when the lease was lost.
    pub fn token(&self, caller: &CancellationToken) -> CancellationToken {
        match &self.lease {
            Some(lease) => lease.token(caller),
            None => caller.child_token(),
        }
    }

    /// As [`Lease::holder`]; nobody without a lease.
    pub(crate) async fn holder(&self) -> Option<String> {
        match &self.lease {
            Some(lease) => Some(lease.holder().await),
            None => None,
        }
    }

    /// As [`Lease::confirm`]; there is nothing to confirm without a lease.
    pub async fn confirm(&self) -> Result<()> {
        match &self.lease {
            Some(lease) => lease.confirm().await,
            None => Ok(()),
        }
    }

    /// Fails if the lease was lost; no request to the store.
    pub fn confirm_not_lost(&self) -> Result<()> {
        self.lease.as_ref().map_or(Ok(()), Lease::confirm_not_lost)
    }

    /// Releases the lease. Returns the warning that the work was not protected all the time.
    pub async fn end(&self) -> Option<String> {
        let Some(lease) = &self.lease else {
            return self.warning.clone();
        };
        let lapsed = lease.lapsed().map(|why| format!("{why}: {UNPROTECTED}"));
        if let Err(error) = lease.release().await {
            tracing::warn!(error = %error, "failed to release the lease; it will expire");
        }
        lapsed
    }
}

impl From<Lease> for Guard {
    fn from(lease: Lease) -> Self {
        Self {
            lease: Some(lease),
            warning: None,
        }
    }
}
