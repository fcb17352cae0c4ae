//! The service with its page, once for each state that things can be in: what `tests/browser` looks at.
//!
//! Prints one line of JSON for each state, with its URL, then `ready`; serves until its standard input ends. What the pages show is
//! planted, and time stands still, so that they are the same each time. The last one is real: a node over Qdrant's own engine, with a
//! backup to be restored.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

mod past;
mod states;

use embedded_qdrant::Node;
use serde_json::{Value, json};
use std::any::Any;
use tempfile::TempDir;
use testkit::service::Service;
use tokio::io::AsyncReadExt;

/// A service in one state.
struct State {
    name: &'static str,
    service: Service,
    /// What the overview has in it, as a selector: by this it is known that the state is there.
    shows: &'static str,
    /// Pages beside `/`.
    paths: Vec<String>,
    more: Value,
    /// A real Qdrant, and its data.
    node: Option<(Node, TempDir)>,
    /// What else it needs to go on.
    _kept: Box<dyn Any>,
}

impl State {
    fn new(name: &'static str, service: Service, shows: &'static str) -> Self {
        Self {
            name,
            service,
            shows,
            paths: Vec::new(),
            more: Value::Null,
            node: None,
            _kept: Box::new(()),
        }
    }

    fn told(&self) -> Value {
        json!({
            "state": self.name, "url": self.service.url, "shows": self.shows, "paths": self.paths, "more": self.more,
        })
    }
}

#[tokio::main]
async fn main() {
    let states = states::all().await;
    for state in &states {
        println!("{}", state.told());
    }
    println!("ready");
    let _ = tokio::io::stdin().read_to_end(&mut Vec::new()).await;
    for state in states {
        state.service.stop().await;
        if let Some((node, _data)) = state.node {
            node.stop().await;
        }
    }
}
