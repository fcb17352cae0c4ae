//! Runs an embedded node by hand until it is interrupted.

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;
use embedded_qdrant::{Cluster, Node, NodeOptions};

/// A small Qdrant-like node over Qdrant's own engine, for demos and tests.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:6333")]
    listen: SocketAddr,
    /// Where everything is kept; made if missing.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Name of the environment variable with the key that may do everything.
    #[arg(long, value_name = "NAME")]
    api_key_env: Option<String>,
    /// Name of the environment variable with the key that may only read.
    #[arg(long, value_name = "NAME")]
    read_only_key_env: Option<String>,
    /// Be a cluster of one node, as Qdrant's Helm chart makes it.
    #[arg(long)]
    cluster: bool,
    /// The Qdrant release that `GET /` shows.
    #[arg(long, default_value = "1.18.3")]
    qdrant_version: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let mut options = NodeOptions::new(arguments.data);
    options.listen = arguments.listen;
    options.version = arguments.qdrant_version;
    options.cluster = arguments.cluster.then(Cluster::new);
    options.api_key = key(arguments.api_key_env)?;
    options.read_only_key = key(arguments.read_only_key_env)?;

    let node = Node::start(options).await?;
    announce(&node.url());
    tokio::signal::ctrl_c().await?;
    node.stop().await;
    Ok(())
}

/// A key by the name of its variable, so that it never stands in a process list.
fn key(variable: Option<String>) -> Result<Option<String>, String> {
    let read = |name: String| std::env::var(&name).map_err(|error| format!("environment variable {name}: {error}"));
    variable.map(read).transpose()
}

/// The only line on standard output: where to send requests.
#[allow(clippy::print_stdout)]
fn announce(url: &str) {
    println!("{url}");
}
