//! Writing one object, and finding out what is true when that failed.

use super::{
    GcsStore, generation,
    refusal::{Kind, RedactedError, explain, missing_bucket},
    upload::{Body, Pauses, RetryLimit, UploadState, delays},
};
use crate::base::error::{Code, Error, Result};
use crate::wire::store::{Condition, ObjectMeta, Source, Store as _, valid_key};
use google_cloud_storage::{Error as GcsError, error::WriteError, model::Object};
use std::{error::Error as _, sync::Arc};

/// Metadata key that names the one `put` that wrote an object. It tells our own write, whose answer was lost, from
/// somebody else's.
pub(super) const WRITE_ID: &str = "qdrant-backup-write";

impl GcsStore {
    pub(super) async fn upload(&self, key: &str, source: Box<dyn Source>, condition: Condition) -> Result<ObjectMeta> {
        valid_key(key)?;
        let generation = match &condition {
            Condition::Absent => 0,
            Condition::Unchanged(version) => generation(version).ok_or_else(|| conflict(&self.gs(key)))?,
        };
        let flight = Arc::new(UploadState::default());
        let write_id = uuid::Uuid::new_v4().to_string();
        let len = source.len();
        let body = Body::new(source, self.retry.attempts, flight.clone());
        let request = self
            .data
            .write_object(self.resource(), self.name(key), body)
            .set_if_generation_match(generation)
            .set_content_type(content_type(key))
            .set_metadata([(WRITE_ID, write_id.as_str())])
            .with_retry_policy(RetryLimit {
                attempts: self.retry.attempts,
                flight: flight.clone(),
            })
            .with_backoff_policy(Pauses {
                delays: delays(&self.retry)?,
                flight: flight.clone(),
            })
            // Computing the checksum first would read the source twice.
            .with_checksum_precomputation(false)
            .with_resumable_upload_threshold(0_usize)
            .send_unbuffered();
        let stall = self.retry.stall;
        let error = tokio::select! {
            biased;
            sent = request => match sent {
                Ok(object) => return self.accept(key, &self.meta(key, &object), flight.digest()).await,
                Err(failure) => match mismatched(&failure) {
                    Some(object) => {
                        let difference = format!("{} differs from what was sent: {}", self.gs(key), RedactedError::by(&failure));
                        return Err(self.withdraw(&self.meta(key, object), difference).await);
                    }
                    None => flight
                        .take_error()
                        .unwrap_or_else(|| self.refused(key, failure, &flight)),
                },
            },
            () = flight.stalled(stall) => {
                let text = format!("upload of {}: no progress for {stall:?}", self.gs(key));
                Error::new(Code::Stalled, text)
                    .remedy("check the network to Cloud Storage, then try again")
            }
        };
        let error = match condition {
            Condition::Absent if error.code() == Code::StoreForbidden => self.already_exists(key, error).await,
            _ => error,
        };
        // Only once every byte was sent can the service have made an object of them, and its answer have been lost.
        if flight.began() && flight.digest().0 == len {
            return self.settle(key, error, flight.digest(), &write_id).await;
        }
        Err(error)
    }

    /// Compares what the service holds with the length and CRC32C of what was sent; removes it when it differs.
    pub(super) async fn accept(&self, key: &str, meta: &ObjectMeta, (len, crc32c): (u64, u32)) -> Result<ObjectMeta> {
        if meta.size == len && meta.crc32c == Some(crc32c) {
            return Ok(meta.clone());
        }
        let difference = format!(
            "{} has {} bytes with CRC32C {:08x?}, {len} with {crc32c:08x} were sent",
            self.gs(key),
            meta.size,
            meta.crc32c,
        );
        Err(self.withdraw(meta, difference).await)
    }

    /// Removes a damaged object again; the error says whether that worked.
    async fn withdraw(&self, meta: &ObjectMeta, difference: String) -> Error {
        let error = Error::new(Code::ChecksumMismatch, difference);
        match self.delete(&meta.key, &meta.version).await {
            Ok(_) => error.remedy("try again; the damaged object was deleted"),
            Err(e) => error.because(e).permanent(true).remedy(format!(
                "delete the damaged object {}#{}",
                self.gs(&meta.key),
                meta.version.0
            )),
        }
    }

    /// Finds out whether an upload that failed at its end has become an object after all, and says what is true.
    pub(super) async fn settle(&self, key: &str, error: Error, sent: (u64, u32), write_id: &str) -> Result<ObjectMeta> {
        let is_ours = |o: &Object| o.metadata.get(WRITE_ID).is_some_and(|id| id == write_id);
        match self.object(key).await {
            Ok(Some(object)) if is_ours(&object) => self.accept(key, &self.meta(key, &object), sent).await,
            Ok(_) => Err(error),
            Err(_) => Err(error.remedy(format!(
                "check whether {} was written before trying again",
                self.gs(key)
            ))),
        }
    }

    /// Whoever may create objects but not replace them may be refused with a 403 where an object is, before the condition on
    /// it is looked at.
    pub(super) async fn already_exists(&self, key: &str, refusal: Error) -> Error {
        match self.object(key).await {
            Ok(Some(_)) => Error::new(Code::StoreConflict, format!("{} already exists", self.gs(key))).because(refusal),
            _ => refusal,
        }
    }

    fn refused(&self, key: &str, failure: GcsError, flight: &UploadState) -> Error {
        let doing = format!("write {}", self.gs(key));
        match Kind::of(&failure) {
            Kind::NotFound if flight.began() => Error::new(Code::StoreUnreachable, doing)
                .because(RedactedError::by(&failure))
                .remedy("try again; the service dropped the upload"),
            Kind::NotFound => missing_bucket(&self.bucket).because(RedactedError::by(&failure)),
            _ => explain(failure, &self.bucket, doing, "storage.objects.create"),
        }
    }
}

/// The object of an upload whose checksum the client found to be wrong.
fn mismatched(failure: &GcsError) -> Option<&Object> {
    match failure.source()?.downcast_ref()? {
        WriteError::ChecksumMismatch { object, .. } => Some(object),
        _ => None,
    }
}

pub(super) fn content_type(key: &str) -> &'static str {
    match key.rsplit_once('.') {
        Some((_, "snapshot")) => "application/x-tar",
        Some((_, "json")) => "application/json",
        _ => "application/octet-stream",
    }
}

fn conflict(name: &str) -> Error {
    Error::new(Code::StoreConflict, format!("{name} was replaced or deleted"))
}
