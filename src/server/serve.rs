//! Listening, serving, and coming to an end.

use super::connections::{self, Limits};
use super::{App, router};
use crate::base::error::{Code, Error, Result};
use crate::repository::since;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::sync::CancellationToken;

/// Time to clean up after the signal to stop: Cloud Run and Docker kill after 10 s.
const GRACE: Duration = Duration::from_secs(9);
/// When the process ends, whatever holds it up then: Cloud Run and Docker would kill it.
pub(crate) const STOP_WITHIN: Duration = Duration::from_millis(9_800);
/// What connections get of it once no run is under way: enough for the last answers, and not for requests that never end.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// Connections that the system holds until they are accepted: one beyond has to knock again a second later.
const BACKLOG: u32 = 1024;

/// Listens on `address`; port 0 takes any free port.
pub async fn listen(address: SocketAddr) -> Result<TcpListener> {
    let socket = || {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        }?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    socket().map_err(|e: io::Error| {
        Error::new(Code::ConfigInvalid, format!("listening on {address}"))
            .because(e)
            .remedy("choose another address with --listen or LISTEN, or another port with PORT")
    })
}

/// Serves until `stop` is cancelled, then ends what is under way. An error when a run takes longer to clean up than Cloud Run
/// and Docker allow, and at once when others could reach a service that asks nobody who they are. Connections are waited for
/// only as long as it takes to send the last answers: a client that never ends its request keeps nobody.
pub async fn serve(listener: TcpListener, app: App, stop: CancellationToken) -> Result<()> {
    let address = listener
        .local_addr()
        .map_err(|e| Error::new(Code::Internal, "asking for the address that is listened on").because(e))?;
    if app.auth.is_none() && !address.ip().to_canonical().is_loopback() {
        return Err(Error::new(
            Code::ConfigInvalid,
            format!("with AUTH_MODE=none everybody who reaches {address} could back up, restore and delete"),
        )
        .remedy("set AUTH_MODE=oidc or AUTH_MODE=token (--auth-mode), or LISTEN=127.0.0.1:8080 (--listen)"));
    }
    let callers = app.auth.callers();
    tracing::info!(%address, callers, qdrant = app.probe.url(), store = app.ctx.store.url(), "listening on http://{address}");
    let (ctx, runs) = (app.ctx.clone(), app.runs.clone());
    // Nobody waits for it: without it a collection is missing at once.
    let noted = stop.clone().run_until_cancelled_owned(async move {
        if let Err(error) = since::note(&*ctx.store, ctx.clock.now()).await {
            tracing::info!(error = %error, "the first start is not recorded; collections without a backup are missing at once");
        }
    });
    tokio::spawn(noted);
    let limits = Limits::of_this_process();
    let routes = router(app, &limits);
    let served = async {
        connections::serve(listener, routes, limits, &stop).await;
        runs.ended().await;
    };
    let without_open_connections = async {
        stop.cancelled().await;
        runs.ended().await;
        tokio::time::sleep(LAST_ANSWERS).await;
        // One of them may have begun what the service has to wait for.
        runs.ended().await;
        tracing::info!("open connections are closed; their requests did not finish");
    };
    let too_late = async {
        stop.cancelled().await;
        tracing::info!("stopping");
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        () = served => Ok(()),
        () = without_open_connections => Ok(()),
        () = too_late => match runs.under_way() {
            false => Ok(()),
            true => Err(Error::new(Code::Cancelled, format!("a running operation did not finish its cleanup within {GRACE:?}"))
                .remedy("run it again; the next run removes what is left, once the lease has expired")),
        },
    }
}
