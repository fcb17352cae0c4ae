//! The real HTTP service on a free port, wired by the real configuration, in the test's own process.

use qdrant_backup::app;
use qdrant_backup::base::error::Result;
use qdrant_backup::config::Config;
use qdrant_backup::server;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

/// A running service; dropped, it stops.
pub struct Service {
    pub url: String,
    http: reqwest::Client,
    served: Mutex<Option<JoinHandle<Result<()>>>>,
    stop: CancellationToken,
    _stop: DropGuard,
}

impl Service {
    /// Starts it with these environment variables and no others.
    pub async fn start(env: &[(&str, &str)]) -> Self {
        let mut env: HashMap<String, String> = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        env.insert("LISTEN".into(), "127.0.0.1:0".into());
        let env = |name: &str| env.get(name).cloned();
        let config = Config::from_env(&env).unwrap();
        let stop = CancellationToken::new();
        let ctx = app::context(&config, "service under test".into()).await.unwrap();
        let probe = app::probe(&config.qdrant).unwrap();
        let service = server::App::new(ctx, probe, config.backup.selection.clone(), stop.clone())
            .with_retention(config.retention.policy.clone(), config.retention.after_backup)
            .with_drills_on(app::drill_qdrant(&env).unwrap());
        let listener = server::listen(config.server.listen).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let served = tokio::spawn(server::serve(listener, service, stop.clone()));
        Self {
            url,
            http: reqwest::Client::new(),
            served: Mutex::new(Some(served)),
            _stop: stop.clone().drop_guard(),
            stop,
        }
    }

    /// Stops it, and waits until it has cleaned up.
    pub async fn stop(&self) {
        self.stop.cancel();
        let served = self.served.lock().unwrap().take();
        served.unwrap().await.unwrap().unwrap();
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        answer(self.http.get(format!("{}{path}", self.url))).await
    }

    pub async fn put(&self, path: &str, body: &str) -> (u16, Value) {
        answer(self.http.put(format!("{}{path}", self.url)).body(body.to_owned())).await
    }

    pub async fn delete(&self, path: &str) -> (u16, Value) {
        answer(self.http.delete(format!("{}{path}", self.url))).await
    }

    pub async fn post(&self, path: &str, body: &str) -> (u16, Value) {
        answer(self.http.post(format!("{}{path}", self.url)).body(body.to_owned())).await
    }
}

async fn answer(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}
