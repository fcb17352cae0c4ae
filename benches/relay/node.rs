//! The Qdrant that is restored into: takes an upload, discards it, and answers what a restore asks before and after.

use crate::Result;
use crate::peers::{Connection, Request, serve};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

/// Serves until the process is killed. A collection exists from its upload on; it is empty.
pub(crate) fn node() -> Result<()> {
    let collections = Mutex::new(BTreeSet::new());
    serve(move |connection, request| answer(connection, request, &collections))
}

fn answer(connection: &mut Connection, request: &Request, collections: &Mutex<BTreeSet<String>>) -> Result<()> {
    connection.body(request, |_| ())?;
    let path = request.path.split('?').next().unwrap_or_default();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let mut collections = collections.lock().unwrap_or_else(PoisonError::into_inner);
    let result = match (request.method.as_str(), segments.as_slice()) {
        ("GET", [""]) => return send(connection, "200 OK", &json!({"version": "1.18.3"})),
        ("GET", ["cluster"]) => json!({"status": "disabled"}),
        ("GET", ["collections"]) => {
            let names = collections.iter().map(|name| json!({"name": name}));
            json!({"collections": names.collect::<Vec<_>>()})
        }
        ("GET", ["aliases"]) => json!({"aliases": []}),
        ("PUT", ["collections", _, "snapshots", "recover"]) => {
            let error = json!({"status": {"error": "URL with that scheme is not supported"}});
            return send(connection, "400 Bad Request", &error);
        }
        ("POST", ["collections", name, "snapshots", "upload"]) => json!(collections.insert((*name).to_owned())),
        ("DELETE", ["collections", _, "snapshots", _]) => json!(true),
        (_, ["collections", name, rest @ ..]) if collections.contains(*name) => match rest {
            [] => json!({"status": "green", "points_count": 0, "config": {}, "payload_schema": {}}),
            ["cluster"] => json!({"peer_id": 1, "local_shards": [{"shard_id": 0, "state": "Active"}]}),
            ["points", "count"] => json!({"count": 0}),
            ["points", "scroll"] => json!({"points": []}),
            _ => return missing(connection, path),
        },
        _ => return missing(connection, path),
    };
    send(
        connection,
        "200 OK",
        &json!({"result": result, "status": "ok", "time": 0.0}),
    )
}

fn missing(connection: &mut Connection, path: &str) -> Result<()> {
    let error = format!("Not found: {path} doesn't exist!");
    send(connection, "404 Not Found", &json!({"status": {"error": error}}))
}

fn send(connection: &mut Connection, status: &str, body: &Value) -> Result<()> {
    connection.answer(status, "Content-Type: application/json\r\n", &body.to_string())
}
