//! The real HTTP service on a free port, and its requests as a user sends them.

use super::Result;
use qdrant_backup::app::{self, Host};
use qdrant_backup::base::clock::Clock;
use qdrant_backup::config::Config;
use qdrant_backup::server;
use serde_json::Value;
use std::collections::HashMap;
use std::path::Path;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A running service.
pub(super) struct Service {
    url: String,
    http: reqwest::Client,
    stop: CancellationToken,
    serving: JoinHandle<qdrant_backup::base::error::Result<()>>,
}

impl Service {
    /// Starts it for the Qdrant at `qdrant` and the directory `store`.
    pub(super) async fn start(qdrant: &str, store: &Path) -> Result<Self> {
        let store =
            url::Url::from_directory_path(store).map_err(|()| "the temporary directory has no absolute path")?;
        let env: HashMap<&str, String> = HashMap::from([
            ("QDRANT_URL", qdrant.to_owned()),
            ("BACKUP_STORE", store.to_string()),
            ("LISTEN", "127.0.0.1:0".to_owned()),
        ]);
        let config = Config::from_env(&|name: &str| env.get(name).cloned())?;
        let stop = CancellationToken::new();
        let host = Host {
            who: "demo".to_owned(),
            clock: Clock::system(),
            drills_on: None,
            stop: stop.clone(),
        };
        let listener = server::listen(config.server.listen).await?;
        let service = app::compose(config, host).await?;
        Ok(Self {
            url: format!("http://{}", listener.local_addr()?),
            http: reqwest::Client::new(),
            serving: tokio::spawn(server::serve(listener, service, stop.clone())),
            stop,
        })
    }

    /// Shows the request as a command, sends it, and returns the report when everything that was asked for is done.
    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        println!("   curl -X POST {}{path} -d '{body}'", self.url);
        let response = self.http.post(format!("{}{path}", self.url)).json(body).send().await?;
        let status = response.status();
        let report: Value = response.json().await?;
        match status.is_success() && report["status"] == "complete" {
            true => Ok(report),
            false => Err(format!("POST {path} answered {status}: {report}").into()),
        }
    }

    /// `GET /status`.
    pub(super) async fn status(&self) -> Result<Value> {
        let response = self.http.get(format!("{}/status", self.url)).send().await?;
        Ok(response.json().await?)
    }

    pub(super) async fn stop(self) -> Result<()> {
        self.stop.cancel();
        Ok(self.serving.await??)
    }
}
