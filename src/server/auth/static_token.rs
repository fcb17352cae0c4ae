//! Callers with a token of a file: for places without Google. Only digests of tokens are kept, a right token is never refused for
//! what others send, and the file is read again as soon as it has changed.

mod failures;
mod file;

pub(crate) use file::FileProblem;
pub use file::TokenFile;

use super::{Bearer, Role, bearer};
use crate::base::clock::Clock;
use crate::server::error::{HttpError, RequestCode};
use axum::http::{HeaderMap, header};
use failures::Failures;
use file::{FileStamp, TokenList};
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

const HOW: &str = "send `Authorization: Bearer TOKEN` with a token of AUTH_TOKEN_FILE";

/// Verifies callers by the tokens of one file.
#[derive(Debug)]
pub(super) struct StaticTokens {
    file: TokenFile,
    now: RwLock<Held>,
    failures: Failures,
}

/// Refuses a caller whose role is less than what is needed.
pub(super) fn permit(role: Role, needed: Role) -> Result<(), HttpError> {
    match role >= needed {
        true => Ok(()),
        false => Err(HttpError::new(
            RequestCode::CallerNotAllowed,
            format!("the caller's role is {role}, and this request needs the role {needed}"),
            &format!("send a token whose line in AUTH_TOKEN_FILE begins with {needed}"),
        )),
    }
}

#[derive(Debug)]
struct Held {
    list: Arc<TokenList>,
    /// Of the file when it was last looked at, whatever came of it: one thing that is wrong is told once.
    stamp: Option<FileStamp>,
}

impl StaticTokens {
    pub(super) fn new(file: TokenFile, clock: Clock) -> Self {
        if let Some(warning) = file.warning() {
            tracing::warn!(file = %file.path.display(), "{warning}");
        }
        let held = Held {
            list: Arc::new(file.list.clone()),
            stamp: file.stamp,
        };
        Self {
            file,
            now: RwLock::new(held),
            failures: Failures::new(clock),
        }
    }

    /// The caller's name and role, if its token is one of the file.
    pub(super) async fn verify(&self, headers: &HeaderMap, peer: Option<IpAddr>) -> Result<(String, Role), HttpError> {
        let list = self.list().await;
        let found = match bearer(headers, &header::AUTHORIZATION) {
            Bearer::Token(token) => list.find(token).ok_or_else(|| {
                HttpError::new(
                    RequestCode::TokenNotTrusted,
                    "the token is not one of AUTH_TOKEN_FILE",
                    HOW,
                )
            }),
            Bearer::Unreadable => Err(HttpError::new(
                RequestCode::TokenMalformed,
                "Authorization holds no token that can be read",
                HOW,
            )),
            Bearer::Absent => Err(HttpError::new(
                RequestCode::TokenMissing,
                "this service wants a token",
                HOW,
            )),
        };
        // Only those who failed are counted, so that nobody keeps a right token out.
        found
            .map(|entry| (entry.name.clone(), entry.role))
            .map_err(|refusal| self.failures.answer(peer, refusal))
    }

    /// The tokens as they are now. A file that cannot be used leaves the ones that it held before, which the log tells.
    async fn list(&self) -> Arc<TokenList> {
        let (file, known) = (self.file.path.clone(), self.read().stamp);
        let look = move || {
            let stamp = FileStamp::of(&file);
            (stamp != known).then(|| (stamp, TokenFile::read(file)))
        };
        // A panic of it is as no change.
        if let Ok(Some((stamp, read))) = tokio::task::spawn_blocking(look).await {
            let mut now = self.now.write().unwrap_or_else(PoisonError::into_inner);
            // Else another request has told it already.
            if now.stamp != stamp {
                now.stamp = stamp;
                self.replace(&mut now, read);
            }
        }
        self.read().list.clone()
    }

    fn replace(&self, now: &mut Held, read: Result<TokenFile, Vec<FileProblem>>) {
        let path = self.file.path.display();
        match read {
            Ok(file) => {
                tracing::info!(file = %path, "{path} has changed and was read again: {}", file.list);
                if let Some(warning) = file.warning() {
                    tracing::warn!(file = %path, "{warning}");
                }
                (now.list, now.stamp) = (Arc::new(file.list), file.stamp);
            }
            Err(problems) => {
                for problem in problems {
                    tracing::error!(
                        file = %path,
                        "{path} has changed and cannot be used, so the tokens that it held before stay valid: {problem}"
                    );
                }
            }
        }
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Held> {
        self.now.read().unwrap_or_else(PoisonError::into_inner)
    }
}
