//! `serve`: the HTTP service.

use super::signals;
use crate::app;
use crate::config::{Config, Env};
use crate::error::Result;
use crate::server::{self, App};

/// Serves until a signal; `Ok` when everything under way, a backup included, has ended and cleaned up in time.
pub(super) async fn serve(env: Env<'_>) -> Result<()> {
    let config = Config::from_env(env)?;
    let stop = signals::stop()?;
    let ctx = app::context(&config, app::who(env)).await?;
    let probe = app::probe(&config.qdrant)?;
    let app = App::new(ctx, probe, config.backup.selection, stop.clone())
        .with_retention(config.retention.policy, config.retention.after_backup);
    let listener = server::listen(config.server.listen).await?;
    server::serve(listener, app, stop).await
}
