//! A store whose writes do what those of a healthy one never do.

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use qdrant_backup::base::error::{Code, Error, Result};
use qdrant_backup::wire::store::{Condition, ObjectMeta, Source, Store, Version};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// What becomes of one write.
pub enum Twist {
    /// It is done.
    None,
    /// Neither done nor answered.
    Hangs,
    /// Refused for good, with this code.
    Refused(Code),
    /// Done, but the answer is lost.
    AnswerLost,
    /// Done after this.
    After(BoxFuture<'static, ()>),
}

struct Twisted {
    inner: Arc<dyn Store>,
    twist: Box<dyn Fn(&str) -> Twist + Send + Sync>,
}

/// `inner`, with what `twist` says of each write by its key.
pub fn twisted(inner: &Arc<dyn Store>, twist: impl Fn(&str) -> Twist + Send + Sync + 'static) -> Arc<dyn Store> {
    Arc::new(Twisted {
        inner: inner.clone(),
        twist: Box::new(twist),
    })
}

impl fmt::Debug for Twisted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl Store for Twisted {
    fn url(&self) -> String {
        self.inner.url()
    }

    async fn put(&self, key: &str, source: Box<dyn Source>, condition: Condition) -> Result<ObjectMeta> {
        match (self.twist)(key) {
            Twist::None => {}
            Twist::Hangs => std::future::pending().await,
            Twist::Refused(code) => return Err(Error::new(code, format!("write {key}: refused"))),
            Twist::After(work) => work.await,
            Twist::AnswerLost => {
                self.inner.put(key, source, condition).await?;
                return Err(Error::new(Code::StoreUnreachable, "the answer was lost"));
            }
        }
        self.inner.put(key, source, condition).await
    }

    async fn get(
        &self,
        key: &str,
        range: Option<Range<u64>>,
        version: Option<&Version>,
    ) -> Result<Option<BoxStream<'static, Result<bytes::Bytes>>>> {
        self.inner.get(key, range, version).await
    }

    async fn head(&self, key: &str) -> Result<Option<ObjectMeta>> {
        self.inner.head(key).await
    }

    async fn list(&self, prefix: &str) -> Result<BoxStream<'static, Result<ObjectMeta>>> {
        self.inner.list(prefix).await
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>> {
        self.inner.folders(prefix).await
    }

    async fn delete(&self, key: &str, version: &Version) -> Result<bool> {
        self.inner.delete(key, version).await
    }

    async fn check(&self) -> Result<()> {
        self.inner.check().await
    }
}
