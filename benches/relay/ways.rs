//! The ways between source and sink, each in a process of its own that reports what it cost.

use crate::Result;
use crate::shard::{Part, shard};
use qdrant_backup::base::snapshot::{self, ArtifactKind};
use qdrant_backup::wire::qdrant::{Options, Qdrant, Snapshot};
use qdrant_backup::wire::store::{GcsOptions, GcsStore};
use qdrant_backup::wire::transfer::{self, Expected, Limits, Sink};
use std::{
    fs,
    io::{self, Write as _},
    process::Command,
    sync::Arc,
};

/// What a way cost its process, or the processes it started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) cpu_seconds: f64,
    /// Largest resident set in bytes; not of curl.
    pub(crate) peak_bytes: u64,
}

impl Cost {
    /// Hands the cost to the process that reads our output.
    pub(crate) fn print(self) -> Result<()> {
        let Self {
            cpu_seconds,
            peak_bytes,
        } = self;
        writeln!(io::stdout(), "{cpu_seconds} {peak_bytes}")?;
        Ok(())
    }

    /// Reads what [`Cost::print`] wrote.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let (cpu_seconds, peak_bytes) = text.trim().split_once(' ').ok_or("no cost")?;
        Ok(Self {
            cpu_seconds: cpu_seconds.parse()?,
            peak_bytes: peak_bytes.parse()?,
        })
    }
}

/// The way that ships: Qdrant client, relay, storage client, in mode `file` with both checksums.
pub(crate) fn relay(source: &str, sink: &str, bytes: &str, sha256: &str) -> Result<()> {
    // As the shipped program does.
    transfer::keep_freed_buffers();
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let (qdrant, store) = (qdrant(source)?, bucket(sink).await?);
        let snapshot = Snapshot {
            name: format!("{bytes}.snapshot"),
            size: bytes.parse()?,
            checksum: Some(sha256.to_owned()),
        };
        let body = qdrant.download("bench", &snapshot).await?;
        let expected = Expected {
            bytes: snapshot.size,
            sha256: snapshot.sha256(),
            crc32c: None,
        };
        let key = "bench/collection.snapshot";
        transfer::copy(
            Box::new(body),
            &expected,
            &store,
            key,
            &Limits::default(),
            None,
            Arc::default(),
        )
        .await?;
        Cost {
            cpu_seconds: cpu_seconds(13..=14)?,
            peak_bytes: peak_bytes()?,
        }
        .print()
    })
}

/// The same in mode `stream`: the structure is proven, too.
pub(crate) fn stream(source: &str, sink: &str, bytes: &str) -> Result<()> {
    transfer::keep_freed_buffers();
    let runtime = tokio::runtime::Runtime::new()?;
    let (source, sink, bytes) = (source.to_owned(), sink.to_owned(), bytes.to_owned());
    // In a task, as a run does each of its units: a small chunk that wakes another thread costs more than its bytes.
    runtime.block_on(runtime.spawn(async move { moved(&source, &sink, &bytes).await }))??;
    Cost {
        cpu_seconds: cpu_seconds(13..=14)?,
        peak_bytes: peak_bytes()?,
    }
    .print()
}

async fn moved(source: &str, sink: &str, bytes: &str) -> Result<()> {
    let store = bucket(sink).await?;
    let stream = qdrant(source)?.stream_shard(bytes, 0).await?;
    let expected = snapshot::Expected {
        kind: ArtifactKind::Shard(0),
        shards: Vec::new(),
        holds_points: true,
    };
    let sink = Sink {
        store: &store,
        key: "bench/shard-0.snapshot",
        limits: &Limits::default(),
        rate: None,
        on_bytes: Arc::default(),
    };
    transfer::copy_stream(Box::new(stream), expected, sink).await?;
    Ok(())
}

fn qdrant(source: &str) -> Result<Qdrant> {
    Ok(Qdrant::new(Options::new(format!("http://{source}").parse()?))?)
}

async fn bucket(sink: &str) -> Result<GcsStore> {
    let options = GcsOptions {
        endpoint: Some(sink.to_owned()),
        ..GcsOptions::default()
    };
    Ok(GcsStore::open("bench", "", options).await?)
}

/// What [`stream`] is compared with: the same bytes, and nothing is checked.
pub(crate) fn curl_stream(source: &str, sink: &str, bytes: &str) -> Result<()> {
    let whole: u64 = bytes.parse()?;
    let whole = shard(whole).iter().map(Part::len).sum::<u64>().to_string();
    let pipe =
        format!("curl -sfN http://{source}/collections/{bytes}/shards/0/snapshot | curl -sSf -T - http://{sink}/drop");
    shell(&pipe, &[&whole])
}

/// The way to beat. It checks nothing.
pub(crate) fn curl(source: &str, sink: &str, bytes: &str) -> Result<()> {
    let [get, put] = curls(source, sink, bytes);
    shell(&format!("{get} | {put}"), &[bytes])
}

/// The same with one of the two checksums, as a script would compute it.
pub(crate) fn curl_sha256sum(source: &str, sink: &str, bytes: &str, sha256: &str) -> Result<()> {
    let [get, put] = curls(source, sink, bytes);
    // The sink's answer passes sha256sum by.
    let pipe = format!("exec 4>&1; {{ {get} | tee /dev/fd/3 | {put} >&4; }} 3>&1 | sha256sum");
    shell(&pipe, &[bytes, sha256])
}

fn curls(source: &str, sink: &str, bytes: &str) -> [String; 2] {
    [
        format!("curl -sfN http://{source}/collections/bench/snapshots/{bytes}.snapshot"),
        format!("curl -sSf -T - http://{sink}/drop"),
    ]
}

/// Runs a pipe whose output must have these words, in any order, besides the name `-` that sha256sum gives its input.
fn shell(pipe: &str, words: &[&str]) -> Result<()> {
    let out = Command::new("sh").args(["-c", pipe]).output()?;
    let answer = String::from_utf8_lossy(&out.stdout).into_owned();
    let mut found: Vec<&str> = answer.split_whitespace().filter(|word| *word != "-").collect();
    let mut wanted = words.to_vec();
    found.sort_unstable();
    wanted.sort_unstable();
    if !out.status.success() || found != wanted {
        return Err(format!("{pipe}: {} {answer}", String::from_utf8_lossy(&out.stderr)).into());
    }
    Cost {
        // The shell and all that it started have been waited for.
        cpu_seconds: cpu_seconds(15..=16)?,
        peak_bytes: 0,
    }
    .print()
}

/// The sum of some fields of `/proc/self/stat`, counted from 0, that are in ticks: 13 and 14 are user and system time of
/// this process, 15 and 16 those of the children that it has waited for.
pub(crate) fn cpu_seconds(fields: std::ops::RangeInclusive<usize>) -> Result<f64> {
    // What programs see is always 1/100 s on Linux, whatever the kernel's own clock.
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The second field is the program's name in parentheses and may hold anything.
    let rest = stat.rsplit_once(") ").ok_or("unknown /proc/self/stat")?.1;
    let mut ticks = 0.0;
    for field in rest.split(' ').skip(fields.start() - 2).take(fields.count()) {
        ticks += field.parse::<f64>()?;
    }
    Ok(ticks / TICKS_PER_SECOND)
}

pub(crate) fn peak_bytes() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .ok_or("no VmHWM in /proc/self/status")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib << 10)
}
