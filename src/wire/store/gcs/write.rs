//! Writing one object, and finding out what is true when that failed.

use super::{
    GcsStore,
    again::delays,
    answer::Kind,
    generation,
    redacted::RedactedError,
    refusal::{Action, Call},
    upload::{Body, Pauses, RetryLimit, SharedSource, UploadState},
};
use crate::base::error::{Code, Error, Result};
use crate::wire::store::{Condition, ObjectMeta, Source, Store as _, valid_key};
use google_cloud_storage::{Error as GcsError, error::WriteError, model::Object};
use std::{error::Error as _, sync::Arc};
use tokio::{sync::Mutex, time::sleep};

/// Metadata key that names the one `put` that wrote an object. It tells our own write, whose answer was lost, from
/// somebody else's.
pub(super) const WRITE_ID: &str = "qdrant-backup-write";

/// Sessions of one upload: the service may drop one, and the bytes are sent again from the first.
const SESSIONS: u32 = 3;

/// One upload.
struct Upload<'a> {
    key: &'a str,
    source: Arc<Mutex<SharedSource>>,
    len: u64,
    /// What the object has to be for the write to happen; 0: not there.
    generation: i64,
    write_id: String,
    call: Call,
}

/// How a session ended.
enum Ended {
    /// With an object, as the service says.
    Stored(Box<Object>),
    /// With an object that differs so from what was sent.
    Damaged(Box<Object>, String),
    Failed(Error),
    /// The service knows the session no more.
    Gone(Error),
}

impl GcsStore {
    pub(super) async fn upload(&self, key: &str, source: Box<dyn Source>, condition: Condition) -> Result<ObjectMeta> {
        valid_key(key)?;
        let (generation, action) = match &condition {
            Condition::Absent => (0, Action::Create),
            Condition::Unchanged(version) => {
                let generation = generation(version).ok_or_else(|| conflict(&self.gs(key)))?;
                (generation, Action::Replace)
            }
        };
        let upload = Upload {
            key,
            len: source.len(),
            source: SharedSource::new(source),
            generation,
            write_id: uuid::Uuid::new_v4().to_string(),
            call: self.call(action, "write", key),
        };
        let mut session = 1;
        loop {
            let flight = Arc::new(UploadState::default());
            let (error, is_gone) = match self.session(&upload, session, &flight).await {
                Ended::Stored(object) => return self.accept(key, &self.meta(key, &object), flight.digest()).await,
                Ended::Damaged(object, difference) => {
                    return Err(self.withdraw(&self.meta(key, &object), difference).await);
                }
                Ended::Failed(error) => (error, false),
                Ended::Gone(error) => (error, true),
            };
            // Only once every byte was sent can the service have made an object of them, and its answer have been lost.
            if flight.began() && flight.digest().0 == upload.len {
                match self.object(key).await {
                    Ok(Some(object)) if is_of(&object, &upload.write_id) => {
                        return self.accept(key, &self.meta(key, &object), flight.digest()).await;
                    }
                    Ok(_) => {}
                    Err(_) => return Err(self.unclear(key, error)),
                }
            }
            if !is_gone || session == SESSIONS {
                return Err(error);
            }
            tracing::info!(error = %error, "the service dropped an upload; it begins anew");
            sleep(self.retry.first_delay * session).await;
            session += 1;
        }
    }

    /// Sends the bytes once, with all the resuming that the service allows.
    async fn session(&self, upload: &Upload<'_>, session: u32, flight: &Arc<UploadState>) -> Ended {
        let body = Body::new(&upload.source, session, self.retry.attempts, flight.clone()).await;
        let delays = match delays(&self.retry) {
            Ok(delays) => delays,
            Err(error) => return Ended::Failed(error),
        };
        let request = self
            .data
            .write_object(self.resource(), self.name(upload.key), body)
            .set_if_generation_match(upload.generation)
            .set_content_type(content_type(upload.key))
            .set_metadata([(WRITE_ID, upload.write_id.as_str())])
            .with_retry_policy(RetryLimit {
                attempts: self.retry.attempts,
                tokens: self.tokens.clone(),
                flight: flight.clone(),
            })
            .with_backoff_policy(Pauses {
                delays,
                flight: flight.clone(),
            })
            // Computing the checksum first would read the source twice.
            .with_checksum_precomputation(false)
            .with_resumable_upload_threshold(0_usize)
            .send_unbuffered();
        let stall = self.retry.stall;
        let failure = tokio::select! {
            biased;
            sent = request => match sent {
                Ok(object) => return Ended::Stored(Box::new(object)),
                Err(failure) => failure,
            },
            () = flight.stalled(stall) => {
                let text = format!("upload of {}: no progress for {stall:?}", self.gs(upload.key));
                let error = Error::new(Code::Stalled, text);
                return Ended::Failed(error.remedy("check the network to Cloud Storage, then try again"));
            }
        };
        if let Some(object) = mismatched(&failure) {
            let sent = RedactedError::by(&failure);
            let difference = format!("{} differs from what was sent: {sent}", self.gs(upload.key));
            return Ended::Damaged(Box::new(object.clone()), difference);
        }
        match flight.take_error() {
            Some(error) => Ended::Failed(error),
            None => self.refused(upload, failure, flight).await,
        }
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
        match self.object(key).await {
            Ok(Some(object)) if is_of(&object, write_id) => self.accept(key, &self.meta(key, &object), sent).await,
            Ok(_) => Err(error),
            Err(_) => Err(self.unclear(key, error)),
        }
    }

    /// The error of an upload of which nobody can say whether it became an object.
    fn unclear(&self, key: &str, error: Error) -> Error {
        let check = format!("check whether {} was written before trying again", self.gs(key));
        let remedy = match error.remedy_text() {
            Some(remedy) => format!("{remedy}; {check}"),
            None => check,
        };
        error.remedy(remedy)
    }

    async fn refused(&self, upload: &Upload<'_>, failure: GcsError, flight: &UploadState) -> Ended {
        let kind = match Kind::of(&failure) {
            // The service and the client do not agree on what is there.
            Kind::NotFound | Kind::Range if flight.began() => Kind::Gone,
            // No upload that could be missing: it is the bucket.
            Kind::NotFound => Kind::NoBucket,
            Kind::Range => Kind::Other,
            kind => kind,
        };
        let error = match (kind, upload.call.action) {
            (Kind::Right, Action::Create) => self.already_exists(upload.key, upload.call.failed(&failure)).await,
            (Kind::Right, _) => self.not_changed(upload.key, &upload.call, &failure).await,
            _ => upload.call.refused(kind, RedactedError::by(&failure)),
        };
        match kind {
            Kind::Gone => Ended::Gone(error),
            _ => Ended::Failed(error),
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
}

/// Whether the write of this id made the object.
fn is_of(object: &Object, write_id: &str) -> bool {
    object.metadata.get(WRITE_ID).is_some_and(|id| id == write_id)
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
