//! The first minute: a Qdrant, a backup, the proof that it can be restored, and two restores. Needs nothing but Rust and a C
//! compiler.
//!
//! It starts a node over Qdrant's own engine in this process, fills three collections, and backs them up into a directory
//! through the real HTTP service. Then it opens the written snapshots with the engine, loses one collection and restores it,
//! damages another one and swaps it for its backup behind an alias, and compares everything with what there was before. It
//! ends by itself, and with an error if anything differs.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod bars;
mod contents;
#[path = "../../tests/it/support/sample.rs"]
#[allow(dead_code, unreachable_pub)]
mod sample;
mod service;

use bars::Bars;
use contents::Contents;
use embedded_qdrant::{Node, NodeOptions};
use sample::{Client, Sample, fill};
use serde_json::{Value, json};
use service::Service;
use std::error::Error;
use std::future::Future;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// The alias that [`fill`] sets on the first collection.
const ALIAS: &str = "live";

#[tokio::main]
async fn main() -> ExitCode {
    match demo().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nThe demo FAILED: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn demo() -> Result<()> {
    let dir = tempfile::Builder::new().prefix("qdrant-backup-demo-").tempdir()?.keep();
    let (data, store, work) = (dir.join("qdrant"), dir.join("backups"), dir.join("proof"));
    std::fs::create_dir(&store)?;

    println!("1. A Qdrant node with three collections");
    let node = Node::start(NodeOptions::new(&data)).await?;
    let qdrant = Client::new(node.url(), None);
    let samples = fill(&qdrant, "", 100).await?;
    let mut before = Vec::new();
    for sample in &samples {
        before.push(Contents::of_collection(&qdrant, &sample.name, sample).await?);
    }
    println!("   {} (Qdrant's engine in this process)", node.url());

    println!("\n2. Its backup, through the HTTP service");
    let service = Service::start(&node.url(), &store).await?;
    let report = post(&service, "/backup", json!({})).await?;
    table(&samples, &report);

    println!("\n3. The proof: the written snapshots, opened by the engine");
    for (sample, before) in samples.iter().zip(&before) {
        let file = artifact(&store, &report, sample)?;
        let saved = Contents::of_snapshot(file, &work, sample).await?;
        saved.expect("its snapshot", before)?;
        println!("   {:12} {saved}: equal", sample.name);
    }

    println!("\n4. A collection is lost, and restored");
    let id = report["id"].clone();
    lose(&service, &qdrant, &id, &samples[1], &before[1]).await?;

    println!("\n5. Another one is damaged, and swapped for its backup behind the alias {ALIAS:?}");
    swap(&service, &qdrant, &id, &samples[0], &before[0]).await?;

    let left = left_on_qdrant(&qdrant).await?;
    if !left.is_empty() {
        return Err(format!("these snapshots were left on Qdrant: {}", left.join(", ")).into());
    }
    println!("\nEverything is equal, and no snapshot was left on Qdrant's disk.");
    service.stop().await?;
    node.stop().await;
    std::fs::remove_dir_all(&data)?;
    std::fs::remove_dir_all(&work)?;

    println!("The backup is in {}", store.display());
    println!("\nNext, with your own Qdrant:");
    println!(
        "  export QDRANT_URL=http://localhost:6333 BACKUP_STORE=file:///path/to/a/directory   # or gs://bucket/prefix"
    );
    println!("  cargo run --release -- check");
    println!("  cargo run --release -- backup");
    println!("  cargo run --release -- restore latest --into '{{}}-copy' --dry-run   # shows what it would do");
    Ok(())
}

/// A collection is deleted and comes back as it was.
async fn lose(service: &Service, qdrant: &Client, id: &Value, sample: &Sample, before: &Contents) -> Result<()> {
    let name = sample.name.as_str();
    println!("   curl -X DELETE {}/collections/{name}", qdrant.url);
    qdrant.delete(name).await?;
    if qdrant.count(name).await.is_ok() {
        return Err(format!("{name}: it is still there, so restoring it would prove nothing").into());
    }
    post(service, "/restore", json!({"id": id, "collections": [name]})).await?;
    let now = Contents::of_collection(qdrant, name, sample).await?;
    now.expect("what was restored", before)?;
    println!("   {name:12} {now}: as before");
    Ok(())
}

/// A collection loses half its points. Its backup is restored beside it, and takes its place without a moment in which a
/// client gets no answer.
async fn swap(service: &Service, qdrant: &Client, id: &Value, sample: &Sample, before: &Contents) -> Result<()> {
    let (name, search) = (sample.name.as_str(), &sample.searches[0]);
    let whole = qdrant.search(ALIAS, search).await?;
    let lost: Vec<u64> = (0..sample.points / 2).collect();
    println!(
        "   curl -X POST {}/collections/{name}/points/delete …   # {} of its {} points",
        qdrant.url,
        lost.len(),
        sample.points
    );
    let path = format!("/collections/{name}/points/delete?wait=true");
    qdrant.call("POST", &path, Some(json!({"points": lost}))).await?;
    let damaged = Contents::of_collection(qdrant, name, sample).await?;

    // What a client that searches through the alias all the time gets to see, without repetitions.
    let mut seen = vec![qdrant.search(ALIAS, search).await?];
    let mut searches = 1;
    let body = json!({"id": id, "collections": [name], "swap": true});
    let report = while_waiting(service.post("/restore", &body), async || {
        let answer = qdrant.search(ALIAS, search).await?;
        searches += 1;
        if seen.last() != Some(&answer) {
            seen.push(answer);
        }
        Ok(())
    })
    .await?;
    let last = qdrant.search(ALIAS, search).await?;
    if seen.last() != Some(&last) {
        seen.push(last);
    }
    if seen.len() != 2 || seen[1] != whole {
        return Err(format!(
            "the clients of {ALIAS:?} were to see the damaged collection, then the restored one; they saw {} different answers",
            seen.len()
        )
        .into());
    }

    let restored = report["collections"][0]["target"].as_str().unwrap_or_default();
    let aliases = qdrant.call("GET", "/aliases", None).await?;
    let wanted = json!([{"alias_name": ALIAS, "collection_name": restored}]);
    if aliases["aliases"] != wanted {
        return Err(format!("the aliases are {aliases}, they should be {wanted}").into());
    }
    for collection in [restored, ALIAS] {
        let now = Contents::of_collection(qdrant, collection, sample).await?;
        now.expect(&format!("{collection:?}"), before)?;
    }
    // The other one was not touched: whoever still needs it has it.
    let beside = Contents::of_collection(qdrant, name, sample).await?;
    beside.expect("the damaged collection", &damaged)?;
    println!("   {ALIAS:12} is {restored} now");
    println!("   {:12} {before}: as before", "");
    println!(
        "   {:12} {} searches meanwhile: all answered, first by the damaged one, then by the restored one",
        "",
        searches + 1
    );
    println!(
        "   {name:12} is still there, damaged; once nobody needs it: curl -X DELETE {}/collections/{name}",
        qdrant.url
    );
    Ok(())
}

/// Sends a request to the service, shows it and how far it is, and returns the report of a success.
async fn post(service: &Service, path: &str, body: Value) -> Result<Value> {
    let mut bars = Bars::default();
    while_waiting(service.post(path, &body), async || {
        bars.show(&service.status().await?);
        Ok(())
    })
    .await
}

/// Waits for `work`, and does `meanwhile` again and again until then.
async fn while_waiting<T>(
    work: impl Future<Output = Result<T>>,
    mut meanwhile: impl AsyncFnMut() -> Result<()>,
) -> Result<T> {
    tokio::pin!(work);
    loop {
        tokio::select! {
            result = &mut work => return result,
            () = tokio::time::sleep(Duration::from_millis(20)) => {}
        }
        meanwhile().await?;
    }
}

fn table(samples: &[Sample], report: &Value) {
    println!(
        "   backup {}: {}",
        report["id"].as_str().unwrap_or("?"),
        report["status"].as_str().unwrap_or("?")
    );
    println!("   {:12} {:24} {:>8} {:>12}", "collection", "kind", "points", "bytes");
    for sample in samples {
        let saved = named(&report["collections"], &sample.name);
        println!(
            "   {:12} {:24} {:>8} {:>12}",
            sample.name,
            sample.kind,
            saved["points"].to_string(),
            saved["bytes"].to_string()
        );
    }
}

/// The file that has a collection, when it has the length and SHA-256 that the manifest tells.
fn artifact(store: &Path, report: &Value, sample: &Sample) -> Result<std::path::PathBuf> {
    let backup = store.join("backups").join(report["id"].as_str().unwrap_or_default());
    let manifest: Value = serde_json::from_slice(&std::fs::read(backup.join("manifest.json"))?)?;
    let artifact = &named(&manifest["collections"], &sample.name)["artifacts"][0];
    let file = store.join(artifact["key"].as_str().ok_or("the manifest does not name the file")?);
    let sum = qdrant_backup::base::hash::sha256_hex(&std::fs::read(&file)?);
    if artifact["sha256"] != json!(sum) {
        return Err(format!(
            "{}: its SHA-256 is {sum}, the manifest says {}",
            file.display(),
            artifact["sha256"]
        )
        .into());
    }
    Ok(file)
}

fn named<'a>(list: &'a Value, name: &str) -> &'a Value {
    let found = list.as_array().and_then(|list| list.iter().find(|c| c["name"] == name));
    found.unwrap_or(&Value::Null)
}

/// Snapshots of any collection.
async fn left_on_qdrant(qdrant: &Client) -> Result<Vec<String>> {
    let mut left = Vec::new();
    let collections = qdrant.call("GET", "/collections", None).await?;
    for collection in collections["collections"].as_array().into_iter().flatten() {
        let name = collection["name"].as_str().unwrap_or_default();
        let path = format!("/collections/{name}/snapshots");
        let snapshots = qdrant.call("GET", &path, None).await?;
        left.extend(
            snapshots
                .as_array()
                .into_iter()
                .flatten()
                .map(|s| format!("{name}: {}", s["name"])),
        );
    }
    Ok(left)
}
