//! Looks at Qdrant and the store that several handlers take, and that nobody waits for too long.

use super::App;
use super::api::LeaseHolder;
use super::error::HttpError;
use crate::base::error::{Code, Error, Result};
use crate::base::patience::{self, SILENT_QDRANT, SILENT_STORE};
use crate::ops::freshness::{self, Answer, FreshnessInput, FreshnessPolicy};
use crate::ops::source;
use crate::repository::catalog::{self, LatestQuery};
use crate::repository::lease;
use crate::repository::manifest::{self, Outline, Source};
use crate::repository::names::BackupId;
use crate::repository::selection::Selection;
use std::future::Future;
use time::OffsetDateTime;

impl App {
    /// The collections of Qdrant, and which one it is.
    pub(super) async fn live(&self) -> Result<(Vec<String>, Source)> {
        let live = async {
            let names = self.probe.collections().await?;
            let source = source::qdrant(&self.probe, self.ctx.settings.source.name.as_deref(), &names).await;
            Ok((names, source))
        };
        self.ask_qdrant("its collections", live).await
    }

    /// How every expected collection stands, and why Qdrant could not be asked which there are, if it could not.
    pub(super) async fn assess(&self, wanted: FreshnessPolicy, now: OffsetDateTime) -> Result<(Answer, Option<Error>)> {
        let (live, stored) = tokio::join!(
            self.live(),
            self.ask_store("the last backups", freshness::stored(&*self.ctx.store, wanted, now)),
        );
        let (live, error) = match live {
            Ok(live) => (Some(live), None),
            Err(error) => (None, Some(error)),
        };
        let source = live
            .as_ref()
            .map_or_else(|| self.source(), |(_, source)| source.clone());
        let question = FreshnessInput {
            selection: &self.selection,
            live: live.as_ref().map(|(names, _)| names.as_slice()),
            source: &source,
            wanted,
            now,
        };
        Ok((freshness::assess(&question, stored?)?, error))
    }

    /// Which Qdrant is backed up, as far as that is known without asking it.
    pub(super) fn source(&self) -> Source {
        Source {
            name: self.ctx.settings.source.name.clone(),
            url: self.probe.url(),
            ..Source::default()
        }
    }

    /// The latest good backup of `source`.
    pub(super) async fn latest(&self, source: Option<&Source>) -> Result<Outline> {
        let (selection, own) = (Selection::default(), self.source());
        let asked = LatestQuery {
            selection: &selection,
            source: source.or(Some(&own)),
            not_after: None,
        };
        let latest = catalog::latest(&*self.ctx.store, asked, self.ctx.clock.now());
        self.ask_store("the latest good backup", latest).await
    }

    /// The backup that `id` names; `latest` is one of the Qdrant that is backed up.
    pub(super) async fn named(&self, id: &str) -> Result<BackupId> {
        let source = match id {
            "latest" => self.live().await.map_or_else(|_| self.source(), |(_, source)| source),
            _ => self.source(),
        };
        catalog::named(&*self.ctx.store, id, Some(&source), self.ctx.clock.now()).await
    }

    /// Refuses at once what names no backup, or one that is not there.
    ///
    /// # Errors
    /// See [`mistake`].
    pub(super) async fn check_named(&self, id: &str) -> Result<(), HttpError> {
        let look = async { manifest::require(&*self.ctx.store, &self.named(id).await?).await };
        mistake(self.ask_store("a backup", look).await)
    }

    /// The error; if another process's run is in the way, with who and since when.
    pub(super) async fn with_lease_holder(&self, error: Error) -> HttpError {
        let holder = match error.code() {
            // Who that is, is an extra: without it the answer is right all the same.
            Code::RunInProgress => lease::holder(&*self.ctx.store, &self.ctx.clock).await.ok().flatten(),
            _ => None,
        };
        HttpError::from(error).with_holder(holder.map(|record| LeaseHolder {
            who: record.who,
            since: record.since,
        }))
    }

    /// Asks Qdrant for `what`, and gives up when whoever waits would.
    pub(super) async fn ask_qdrant<T>(&self, what: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
        let doing = format!("asking Qdrant at {} for {what}", self.probe.url());
        patience::within(self.patience, &doing, SILENT_QDRANT, work).await
    }

    /// Asks the store, likewise.
    pub(super) async fn ask_store<T>(&self, what: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
        let doing = format!("asking {} for {what}", self.ctx.store.url());
        patience::within(self.patience, &doing, SILENT_STORE, work).await
    }
}

/// Refuses at once what a look has found to be the caller's mistake. Whatever else is wrong is for the run to find, so that it is told
/// wherever failed runs are.
///
/// # Errors
/// [`Code::BadRequest`], [`Code::BackupNotFound`], [`Code::CollectionNotFound`].
pub(super) fn mistake(looked: Result<()>) -> Result<(), HttpError> {
    match looked {
        Err(error)
            if matches!(
                error.code(),
                Code::BadRequest | Code::BackupNotFound | Code::CollectionNotFound
            ) =>
        {
            Err(error.into())
        }
        _ => Ok(()),
    }
}
