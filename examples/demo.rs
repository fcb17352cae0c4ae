//! The first minute: a Qdrant, a backup, and the proof that it can be restored. Needs nothing but Rust and a C compiler.
//!
//! It starts a node over Qdrant's own engine in this process, fills three collections, backs them up into a directory through
//! the real HTTP service, reads the written snapshots back with the engine, and compares. It ends by itself.
#![allow(clippy::print_stdout)]

#[path = "../tests/support/sample.rs"]
#[allow(dead_code, unreachable_pub)]
mod sample;

use embedded_qdrant::{Node, NodeOptions, open_snapshot};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use qdrant_backup::app;
use qdrant_backup::config::Config;
use qdrant_backup::hash::sha256_hex;
use qdrant_backup::server;
use sample::{Client, Sample, fill};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::error::Error;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

#[tokio::main]
async fn main() -> Result<()> {
    let dir = tempfile::Builder::new().prefix("qdrant-backup-demo-").tempdir()?.keep();
    let (data, store, work) = (dir.join("qdrant"), dir.join("backups"), dir.join("proof"));
    std::fs::create_dir(&store)?;

    println!("1. A Qdrant node with three collections");
    let node = Node::start(NodeOptions::new(&data)).await?;
    let qdrant = Client::new(node.url(), None);
    let samples = fill(&qdrant, "", 100).await?;
    println!("   {} (Qdrant's engine in this process)\n", node.url());

    println!("2. Its backup, through the HTTP service");
    let stop = CancellationToken::new();
    let (service, serving) = start_service(&node.url(), &store, &stop).await?;
    println!("   curl -X POST {service}/backup -d '{{}}'");
    let report = back_up(&service).await?;
    table(&samples, &report);
    stop.cancel();
    serving.await??;

    println!("\n3. The proof: the written snapshots, opened by the engine");
    for sample in &samples {
        prove(&qdrant, sample, &store, &report, &work).await?;
    }
    let left = left_on_qdrant(&qdrant, &samples).await?;
    if left > 0 {
        return Err(format!("{left} snapshots were left on Qdrant").into());
    }
    println!("   nothing was left on Qdrant's disk");
    node.stop().await;
    std::fs::remove_dir_all(&data)?;
    std::fs::remove_dir_all(&work)?;

    println!(
        "\nAll {} collections are proven restorable. The backup is in {}",
        samples.len(),
        store.display()
    );
    println!("\nNext, with your own Qdrant:");
    println!(
        "  export QDRANT_URL=http://localhost:6333 BACKUP_STORE=file:///path/to/a/directory   # or gs://bucket/prefix"
    );
    println!("  cargo run --release -- check");
    println!("  cargo run --release -- backup");
    Ok(())
}

/// The real service on a free port, backing up the Qdrant at `qdrant` into the directory `store`.
async fn start_service(
    qdrant: &str,
    store: &Path,
    stop: &CancellationToken,
) -> Result<(String, tokio::task::JoinHandle<qdrant_backup::error::Result<()>>)> {
    let store = url::Url::from_directory_path(store).map_err(|()| "the temporary directory has no absolute path")?;
    let env: HashMap<&str, String> = HashMap::from([
        ("QDRANT_URL", qdrant.to_owned()),
        ("BACKUP_STORE", store.to_string()),
        ("LISTEN", "127.0.0.1:0".to_owned()),
    ]);
    let config = Config::from_env(&|name| env.get(name).cloned())?;
    let ctx = app::context(&config, "demo".to_owned()).await?;
    let service = server::App::new(
        ctx,
        app::probe(&config.qdrant)?,
        config.backup.selection.clone(),
        stop.clone(),
    );
    let listener = server::listen(config.server.listen).await?;
    let url = format!("http://{}", listener.local_addr()?);
    Ok((url, tokio::spawn(server::serve(listener, service, stop.clone()))))
}

/// `POST /backup`; while it runs, bars from `GET /status` on a terminal, a line for each change of phase elsewhere.
async fn back_up(service: &str) -> Result<Value> {
    let http = reqwest::Client::new();
    let post = http.post(format!("{service}/backup")).json(&json!({})).send();
    tokio::pin!(post);
    let bars = MultiProgress::new();
    let mut shown: HashMap<String, (ProgressBar, String)> = HashMap::new();
    let response = loop {
        tokio::select! {
            response = &mut post => break response?,
            () = tokio::time::sleep(Duration::from_millis(50)) => {}
        }
        let status: Value = http.get(format!("{service}/status")).send().await?.json().await?;
        let running = status["running"]["progress"]["collections"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        running.iter().for_each(|c| show(&bars, &mut shown, c));
    };
    shown.values().for_each(|(bar, _)| bar.finish_and_clear());
    let status = response.status();
    let report: Value = response.json().await?;
    if !status.is_success() {
        return Err(format!("the backup failed: {status}: {report}").into());
    }
    Ok(report)
}

fn show(bars: &MultiProgress, shown: &mut HashMap<String, (ProgressBar, String)>, collection: &Value) {
    let name = collection["name"].as_str().unwrap_or_default().to_owned();
    let phase = collection["phase"].as_str().unwrap_or_default().to_owned();
    let (bar, last) = shown.entry(name.clone()).or_insert_with(|| {
        let style = ProgressStyle::with_template("   {prefix:12} {bar:30} {bytes}/{total_bytes} {msg}");
        let bar = bars.add(ProgressBar::new(0).with_prefix(name.clone()));
        (
            bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())),
            String::new(),
        )
    });
    if !std::io::stdout().is_terminal() && *last != phase {
        println!("   {name:12} {phase}");
    }
    *last = phase.clone();
    bar.set_length(collection["bytes_total"].as_u64().unwrap_or(0));
    bar.set_position(collection["bytes_done"].as_u64().unwrap_or(0));
    bar.set_message(phase);
}

fn table(samples: &[Sample], report: &Value) {
    println!(
        "   backup {}: {}",
        report["id"].as_str().unwrap_or("?"),
        report["status"].as_str().unwrap_or("?")
    );
    println!("   {:12} {:24} {:>8} {:>12}", "collection", "kind", "points", "bytes");
    for sample in samples {
        let saved = saved(report, &sample.name);
        println!(
            "   {:12} {:24} {:>8} {:>12}",
            sample.name,
            sample.kind,
            saved["points"].to_string(),
            saved["bytes"].to_string()
        );
    }
}

fn saved<'a>(report: &'a Value, name: &str) -> &'a Value {
    let saved = report["collections"]
        .as_array()
        .and_then(|list| list.iter().find(|c| c["name"] == name));
    saved.unwrap_or(&Value::Null)
}

/// Opens the snapshot of one collection with the engine and compares it with the live collection.
async fn prove(qdrant: &Client, sample: &Sample, store: &Path, report: &Value, work: &Path) -> Result<()> {
    let manifest = store
        .join("backups")
        .join(report["id"].as_str().unwrap_or_default())
        .join("manifest.json");
    let manifest: Value = serde_json::from_slice(&std::fs::read(manifest)?)?;
    let collection = manifest["collections"]
        .as_array()
        .and_then(|list| list.iter().find(|c| c["name"] == *sample.name));
    let artifact = &collection.ok_or("the manifest does not have the collection")?["artifacts"][0];
    let file: PathBuf = store.join(artifact["key"].as_str().unwrap_or_default());

    let sum = sha256_hex(&std::fs::read(&file)?);
    expect(&sample.name, "SHA-256 of the file", &json!(sum), &artifact["sha256"])?;
    let (searches, work) = (sample.searches.clone(), work.to_owned());
    let (count, answers) = tokio::task::spawn_blocking(move || -> Result<_> {
        let opened = open_snapshot(&file, &work)?;
        let answers = searches
            .into_iter()
            .map(|s| opened.query(s))
            .collect::<Result<Vec<_>, _>>()?;
        Ok((opened.count()?, answers))
    })
    .await??;
    expect(&sample.name, "number of points", &json!(count), &json!(sample.points))?;
    expect(
        &sample.name,
        "number of points",
        &json!(count),
        &json!(qdrant.count(&sample.name).await?),
    )?;
    for (search, answer) in sample.searches.iter().zip(&answers) {
        expect(
            &sample.name,
            "answer to a search",
            answer,
            &qdrant.search(&sample.name, search).await?,
        )?;
    }
    let hits: usize = answers
        .iter()
        .filter_map(|a| a["points"].as_array())
        .map(Vec::len)
        .sum();
    if sample.points > 0 && hits == 0 {
        return Err(format!("{}: the searches found nothing", sample.name).into());
    }
    println!(
        "   {:12} {count} points, {} searches with {hits} hits: equal",
        sample.name,
        answers.len()
    );
    Ok(())
}

fn expect(name: &str, what: &str, found: &Value, wanted: &Value) -> Result<()> {
    match found == wanted {
        true => Ok(()),
        false => Err(format!("{name}: {what} differs: {found} in the backup, {wanted} in Qdrant").into()),
    }
}

async fn left_on_qdrant(qdrant: &Client, samples: &[Sample]) -> Result<usize> {
    let mut left = 0;
    for sample in samples {
        let list = qdrant
            .call("GET", &format!("/collections/{}/snapshots", sample.name), None)
            .await?;
        left += list.as_array().map_or(0, Vec::len);
    }
    Ok(left)
}
