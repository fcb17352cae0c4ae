//! Reading one object, or a range of it, to the last byte asked for.

use super::{
    GcsStore,
    answer::Kind,
    generation,
    refusal::{Action, Call},
};
use crate::base::error::{Code, Error, Result};
use crate::wire::store::{Store as _, Version, valid_key};
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use google_cloud_storage::{Error as GcsError, error::ReadError, model_ext::ReadRange};
use std::{error::Error as _, ops::Range, time::Duration};

impl GcsStore {
    pub(super) async fn download(
        &self,
        key: &str,
        range: Option<Range<u64>>,
        version: Option<&Version>,
    ) -> Result<Option<BoxStream<'static, Result<Bytes>>>> {
        valid_key(key)?;
        let mut request = self
            .data
            .read_object(self.resource(), self.name(key))
            .with_retry_policy(self.attempts());
        if let Some(version) = version {
            let Some(generation) = generation(version) else {
                return Ok(None);
            };
            request = request.set_generation(generation);
        }
        if let Some(range) = &range {
            if range.is_empty() {
                // There is no empty range in HTTP.
                let found = self.head(key).await?;
                let found = found.filter(|m| version.is_none_or(|v| *v == m.version));
                return Ok(found.map(|_| stream::empty().boxed()));
            }
            let count = range.end - range.start;
            request = request.set_read_range(ReadRange::segment(range.start, count));
        }
        let name = self.gs(key);
        let call = self.call(Action::Read, "read", key);
        let reading = match tokio::time::timeout(self.retry.stall, request.send()).await {
            Ok(Ok(reading)) => reading,
            Ok(Err(e)) if Kind::of(&e) == Kind::NotFound => return Ok(None),
            Ok(Err(e)) => return Err(call.failed(&e)),
            Err(_) => return Err(read_stalled(&name, self.retry.stall)),
        };
        let size = u64::try_from(reading.object().size).unwrap_or(0);
        let left = range.map_or(size, |r| r.end - r.start);
        let stall = self.retry.stall;
        let state = Some((reading, left));
        let stream = stream::unfold(state, move |state| {
            let (name, call) = (name.clone(), call.clone());
            async move {
                let (mut reading, left) = state?;
                match tokio::time::timeout(stall, reading.next()).await {
                    Ok(Some(Ok(bytes))) if bytes.len() as u64 <= left => {
                        let left = left - bytes.len() as u64;
                        Some((Ok(bytes), Some((reading, left))))
                    }
                    Ok(Some(Ok(_))) => Some((Err(wrong_length(&name, "more")), None)),
                    Ok(Some(Err(e))) => Some((Err(read_error(e, &call)), None)),
                    Ok(None) if left > 0 => Some((Err(wrong_length(&name, "fewer")), None)),
                    Ok(None) => None,
                    Err(_) => Some((Err(read_stalled(&name, stall)), None)),
                }
            }
        });
        Ok(Some(stream.boxed()))
    }
}

fn wrong_length(name: &str, how: &str) -> Error {
    Error::new(Code::LengthMismatch, format!("{name} has {how} bytes than requested"))
}

fn read_stalled(name: &str, limit: Duration) -> Error {
    Error::new(Code::Stalled, format!("reading {name}: no data for {limit:?}"))
}

fn read_error(error: GcsError, call: &Call) -> Error {
    let cause = error.source().and_then(|e| e.downcast_ref::<ReadError>());
    let code = match cause {
        Some(ReadError::ChecksumMismatch(_)) => Code::ChecksumMismatch,
        Some(ReadError::ShortRead(_) | ReadError::LongRead { .. }) => Code::LengthMismatch,
        _ => return call.failed(&error),
    };
    Error::new(code, call.doing.clone()).because(error)
}
