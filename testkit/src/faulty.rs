//! The one faulty store: a healthy one, of which each call can be made to go wrong.

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use qdrant_backup::base::error::{Code, Error, Result};
use qdrant_backup::wire::store::{ByteStream, Condition, Folder, ObjectMeta, Source, Store, Version};
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex};

/// What becomes of one write or deletion.
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

/// The bytes of an object on their way.
pub type Bytestream = BoxStream<'static, Result<Bytes>>;

type OnChange = Box<dyn Fn(&str) -> Twist + Send + Sync>;
type OnRead = Box<dyn Fn(String, Bytestream) -> BoxFuture<'static, Result<Option<Bytestream>>> + Send + Sync>;
type OnHead = Box<dyn Fn(ObjectMeta) -> ObjectMeta + Send + Sync>;

/// A store of which each kind of call is healthy until a script says otherwise.
pub struct Faulty {
    inner: Arc<dyn Store>,
    put: OnChange,
    delete: OnChange,
    get: OnRead,
    head: OnHead,
}

impl Faulty {
    pub fn over(inner: &Arc<dyn Store>) -> Self {
        Self {
            inner: inner.clone(),
            put: Box::new(|_| Twist::None),
            delete: Box::new(|_| Twist::None),
            get: Box::new(|_, stream| std::future::ready(Ok(Some(stream))).boxed()),
            head: Box::new(|meta| meta),
        }
    }

    /// What becomes of each write, by its key.
    #[must_use]
    pub fn on_put(mut self, twist: impl Fn(&str) -> Twist + Send + Sync + 'static) -> Self {
        self.put = Box::new(twist);
        self
    }

    /// What becomes of each deletion, by its key.
    #[must_use]
    pub fn on_delete(mut self, twist: impl Fn(&str) -> Twist + Send + Sync + 'static) -> Self {
        self.delete = Box::new(twist);
        self
    }

    /// What becomes of the bytes of each object that is there, by its key; `None`: it is gone.
    #[must_use]
    pub fn on_get<F>(mut self, read: impl Fn(String, Bytestream) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Option<Bytestream>>> + Send + 'static,
    {
        self.get = Box::new(move |key, stream| read(key, stream).boxed());
        self
    }

    /// What is told of each object that is there.
    #[must_use]
    pub fn on_head(mut self, tell: impl Fn(ObjectMeta) -> ObjectMeta + Send + Sync + 'static) -> Self {
        self.head = Box::new(tell);
        self
    }

    pub fn build(self) -> Arc<dyn Store> {
        Arc::new(self)
    }
}

/// `inner`, with what `twist` says of each write by its key.
pub fn twisted(inner: &Arc<dyn Store>, twist: impl Fn(&str) -> Twist + Send + Sync + 'static) -> Arc<dyn Store> {
    Faulty::over(inner).on_put(twist).build()
}

/// Does `work` once, the first time it is asked.
pub fn once(work: impl Future<Output = ()> + Send + 'static) -> impl Fn() -> Twist + Clone + Send + Sync + 'static {
    let work: Arc<Mutex<Option<BoxFuture<'static, ()>>>> = Arc::new(Mutex::new(Some(work.boxed())));
    move || work.lock().unwrap().take().map_or(Twist::None, Twist::After)
}

/// The first chunk up to `after` bytes, then an error.
pub fn broken_off(stream: Bytestream, after: usize, code: Code) -> Bytestream {
    let head = stream
        .take(1)
        .map_ok(move |bytes| bytes.slice(..after.min(bytes.len())));
    let broken = Err(Error::new(code, "the connection to the store broke"));
    head.chain(stream::iter([broken])).boxed()
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

/// `change` of the object `key`, or what `twist` makes of it.
async fn change<T>(twist: Twist, key: &str, change: impl Future<Output = Result<T>> + Send) -> Result<T> {
    match twist {
        Twist::None => {}
        Twist::Hangs => std::future::pending().await,
        Twist::Refused(code) => return Err(Error::new(code, format!("{key}: refused by the script"))),
        Twist::After(work) => work.await,
        Twist::AnswerLost => {
            change.await?;
            return Err(Error::new(Code::StoreUnreachable, "the answer was lost"));
        }
    }
    change.await
}

#[async_trait]
impl Store for Faulty {
    fn url(&self) -> String {
        self.inner.url()
    }

    async fn put(&self, key: &str, source: Box<dyn Source>, condition: Condition) -> Result<ObjectMeta> {
        change((self.put)(key), key, self.inner.put(key, source, condition)).await
    }

    async fn put_stream(&self, key: &str, stream: Box<dyn ByteStream>) -> Result<ObjectMeta> {
        change((self.put)(key), key, self.inner.put_stream(key, stream)).await
    }

    async fn get(&self, key: &str, range: Option<Range<u64>>, version: Option<&Version>) -> Result<Option<Bytestream>> {
        match self.inner.get(key, range, version).await? {
            Some(stream) => (self.get)(key.to_owned(), stream).await,
            None => Ok(None),
        }
    }

    async fn head(&self, key: &str) -> Result<Option<ObjectMeta>> {
        Ok(self.inner.head(key).await?.map(&self.head))
    }

    async fn list(&self, prefix: &str) -> Result<BoxStream<'static, Result<ObjectMeta>>> {
        self.inner.list(prefix).await
    }

    async fn folder(&self, prefix: &str) -> Result<Folder> {
        self.inner.folder(prefix).await
    }

    async fn delete(&self, key: &str, version: &Version) -> Result<bool> {
        change((self.delete)(key), key, self.inner.delete(key, version)).await
    }

    async fn check(&self) -> Result<()> {
        self.inner.check().await
    }
}
