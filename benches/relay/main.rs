//! The relay beside `curl | curl`: how fast, how much processor time, how much memory.
//!
//! `cargo run --release -p relay-bench -- --gib 4,16 --runs 5`. Source, sink and each way are processes of their own on the loopback
//! interface (this program starts itself again). All ways run in turns within one run, since only their ratios mean
//! anything on a machine that does other work too; the ratio shown is the median of the runs' ratios. Linux only.
//!
//! A stream has no length, comes in small chunks, and its structure is proven as it passes; the pipe that moves the same bytes is beside it.
//!
//! Two more rows tell what the ratio is made of: the same pipe with `sha256sum` in it, and the SHA-256 alone, faster than which
//! no single stream can be checked on the machine. The kernel's congestion control is named, for it decides how dear a byte on
//! loopback is: `bbr` paces it, `cubic` does not.
//!
//! `relay-bench restore` measures the way back, see [`restore`].
#![allow(clippy::print_stdout)]

mod node;
mod peers;
mod restore;
mod shard;
mod ways;

use aws_lc_rs::digest;
use std::{
    error::Error,
    fmt::Write as _,
    io::{BufRead as _, BufReader},
    process::{Child, Command, ExitCode, Stdio},
    time::Instant,
};
use ways::Cost;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const THROUGHPUT: f64 = 1.3;
const CPU: f64 = 1.1;
const PEAK_MB: f64 = 40.0;
const PEAK_SPREAD_MB: f64 = 5.0;

fn main() -> Result<ExitCode> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["source"] => peers::source()?,
        ["sink"] => peers::sink()?,
        ["relay", source, sink, bytes, sha256] => ways::relay(source, sink, bytes, sha256)?,
        ["curl", source, sink, bytes, _] => ways::curl(source, sink, bytes)?,
        ["curl-sha256sum", source, sink, bytes, sha256] => ways::curl_sha256sum(source, sink, bytes, sha256)?,
        ["curl-stream", source, sink, bytes, _] => ways::curl_stream(source, sink, bytes)?,
        ["stream", source, sink, bytes, _] => ways::stream(source, sink, bytes)?,
        ["node"] => node::node()?,
        ["curl-upload", file, node, collection] => restore::curl(file, node, collection)?,
        ["send", store, node, collection, crc32c] => restore::restore(store, node, collection, Some(crc32c))?,
        ["check-send", store, node, collection] => restore::restore(store, node, collection, None)?,
        ["restore", options @ ..] => return restore::compare(&Options::parse(options)?),
        _ => return compare(&Options::parse(&words)?),
    }
    Ok(ExitCode::SUCCESS)
}

struct Options {
    gib: Vec<f64>,
    runs: usize,
    verdict: bool,
}

impl Options {
    fn parse(words: &[&str]) -> Result<Self> {
        let mut options = Self {
            gib: vec![4.0, 16.0],
            runs: 5,
            verdict: true,
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value"));
            match *word {
                "--gib" => {
                    options.gib = value()?
                        .split(',')
                        .map(str::parse)
                        .collect::<std::result::Result<_, _>>()?;
                }
                "--runs" => options.runs = value()?.parse()?,
                "--no-verdict" => options.verdict = false,
                _ => {
                    return Err(format!("unknown option {word}; there are --gib 4,16 --runs 5 --no-verdict").into());
                }
            }
        }
        if options.gib.is_empty() || options.runs == 0 {
            return Err("nothing to measure".into());
        }
        Ok(options)
    }
}

/// One transfer. Memory is not measured of what is not ours.
struct Sample {
    mb_per_second: f64,
    cpu_per_gib: f64,
    peak_mb: f64,
}

/// What one way came to at one size: medians, and the medians of the ratios to [`CURL`] in the same run.
struct Row {
    way: &'static str,
    gib: f64,
    sample: Sample,
    throughput: f64,
    cpu: f64,
}

/// The way that the others are compared with.
const CURL: &str = r"`curl \| curl`";
const CURL_SHA256SUM: &str = r"`curl \| tee >(sha256sum) \| curl`";
const RELAY: &str = "relay, SHA-256 + CRC32C";
const CURL_STREAM: &str = r"stream: `curl \| curl`";
const STREAM: &str = "stream: relay, SHA-256 + CRC32C + structure";
const SHA256: &str = "SHA-256 alone, nothing moved";

fn compare(options: &Options) -> Result<ExitCode> {
    if Command::new("curl")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_err()
    {
        return Err("curl is not on the PATH; it is what the relay is compared with: install it".into());
    }
    let source = Peer::start("source")?;
    let sink = Peer::start("sink")?;
    let (source, sink) = (source.address.as_str(), sink.address.as_str());
    let mut rows = Vec::new();
    for &gib in &options.gib {
        let bytes = (gib * f64::from(1 << 30)) as u64;
        let start = Instant::now();
        let sha256 = sha256(bytes);
        let hashing = start.elapsed().as_secs_f64();
        let bytes = bytes.to_string();
        let of = |way: &str| [way, source, sink, &bytes, &sha256].map(str::to_owned).to_vec();
        let ways = [
            (CURL, "curl"),
            (CURL_SHA256SUM, "curl-sha256sum"),
            (RELAY, "relay"),
            (CURL_STREAM, "curl-stream"),
            (STREAM, "stream"),
        ];
        let measured = measure(gib, options.runs, &ways, |way, _| of(way))?;
        let curl = &measured[0].sample;
        let (mb_per_second, cpu_per_gib) = (megabytes(gib) / hashing, hashing / gib);
        let alone = Row {
            way: SHA256,
            gib,
            throughput: mb_per_second / curl.mb_per_second,
            cpu: cpu_per_gib / curl.cpu_per_gib,
            sample: Sample {
                mb_per_second,
                cpu_per_gib,
                peak_mb: 0.0,
            },
        };
        rows.extend(measured);
        rows.push(alone);
    }
    println!("{}", table(&rows));
    let control = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control")?;
    println!("TCP congestion control: {}\n", control.trim());
    if !options.verdict {
        return Ok(ExitCode::SUCCESS);
    }
    rows.retain(|row| row.way == RELAY);
    let (text, met) = verdict(&rows);
    println!("{text}");
    Ok(if met { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Takes each way in turns, `runs` times. The first one is what the others are compared with; `args` makes the arguments for a
/// way and a run, and a way without a peak of its own is not ours.
fn measure(
    gib: f64,
    runs: usize,
    ways: &[(&'static str, &str)],
    args: impl Fn(&str, usize) -> Vec<String>,
) -> Result<Vec<Row>> {
    let mut all: Vec<Vec<Sample>> = Vec::new();
    for run in 1..=runs {
        let mut samples = Vec::new();
        // Whoever comes first must not always be the same.
        for turn in 0..ways.len() {
            let way = (turn + run) % ways.len();
            samples.push((way, sample(&args(ways[way].1, run), gib)?));
        }
        samples.sort_by_key(|(way, _)| *way);
        let text = samples.iter().fold(String::new(), |mut text, (way, s)| {
            let _ = write!(
                text,
                ", {} {:.0} MB/s {:.2} s/GiB",
                ways[*way].1, s.mb_per_second, s.cpu_per_gib
            );
            text
        });
        eprint_line(&format!("{gib} GiB, run {run} of {runs}{text}"));
        all.push(samples.into_iter().map(|(_, sample)| sample).collect());
    }
    Ok((0..ways.len())
        .map(|way| Row::of(ways[way].0, gib, &all, way))
        .collect())
}

#[allow(clippy::print_stderr)]
fn eprint_line(text: &str) {
    eprintln!("{text}");
}

/// A server process; killed when this is dropped.
struct Peer {
    process: Child,
    address: String,
}

impl Peer {
    fn start(role: &str) -> Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg(role)
            .stdout(Stdio::piped())
            .spawn()?;
        let output = process.stdout.take().ok_or("no output")?;
        let mut address = String::new();
        BufReader::new(output).read_line(&mut address)?;
        Ok(Self {
            process,
            address: address.trim().to_owned(),
        })
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs one way from its process's start to its end.
fn sample(way: &[String], gib: f64) -> Result<Sample> {
    let start = Instant::now();
    let out = Command::new(std::env::current_exe()?)
        .args(way)
        .stderr(Stdio::inherit())
        .output()?;
    let seconds = start.elapsed().as_secs_f64();
    if !out.status.success() {
        return Err(format!("{} failed: {}", way[0], out.status).into());
    }
    let cost = Cost::parse(std::str::from_utf8(&out.stdout)?)?;
    Ok(Sample {
        mb_per_second: megabytes(gib) / seconds,
        cpu_per_gib: cost.cpu_seconds / gib,
        peak_mb: cost.peak_bytes as f64 / 1e6,
    })
}

fn megabytes(gib: f64) -> f64 {
    gib * f64::from(1 << 30) / 1e6
}

/// SHA-256 of what the source serves, as Qdrant tells it when a snapshot has been made.
fn sha256(bytes: u64) -> String {
    let pattern = peers::pattern();
    let mut context = digest::Context::new(&digest::SHA256);
    let mut left = bytes;
    while left > 0 {
        let piece = left.min(pattern.len() as u64);
        context.update(&pattern[..piece as usize]);
        left -= piece;
    }
    context.finish().as_ref().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl Row {
    /// The way at `i` of each run.
    fn of(way: &'static str, gib: f64, runs: &[Vec<Sample>], i: usize) -> Self {
        let of = |value: fn(&Sample) -> f64| median(runs.iter().map(|r| value(&r[i])));
        let ratio = |value: fn(&Sample) -> f64| median(runs.iter().map(|r| value(&r[i]) / value(&r[0])));
        Self {
            way,
            gib,
            throughput: ratio(|s| s.mb_per_second),
            cpu: ratio(|s| s.cpu_per_gib),
            sample: Sample {
                mb_per_second: of(|s| s.mb_per_second),
                cpu_per_gib: of(|s| s.cpu_per_gib),
                // Memory is a promise: the worst counts.
                peak_mb: runs.iter().map(|r| r[i].peak_mb).fold(0.0, f64::max),
            },
        }
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 {
        values[middle]
    } else {
        f64::midpoint(values[middle - 1], values[middle])
    }
}

fn table(rows: &[Row]) -> String {
    let mut text =
        String::from("| way | GiB | MB/s | ratio | CPU s/GiB | ratio | peak RSS MB |\n|---|---|---|---|---|---|---|\n");
    for row in rows {
        let Row {
            way,
            gib,
            sample,
            throughput,
            cpu,
        } = row;
        let peak = match sample.peak_mb {
            0.0 => String::new(),
            mb => format!(" {mb:.1}"),
        };
        let _ = writeln!(
            text,
            "| {way} | {gib} | {:.0} | {throughput:.2} | {:.2} | {cpu:.2} |{peak} |",
            sample.mb_per_second, sample.cpu_per_gib
        );
    }
    text
}

/// One line per target, and whether all are met.
fn verdict(rows: &[Row]) -> (String, bool) {
    let worst =
        |value: fn(&Row) -> f64, pick: fn(f64, f64) -> f64| rows.iter().map(value).reduce(pick).unwrap_or(f64::NAN);
    let throughput = worst(|r| r.throughput, f64::min);
    let cpu = worst(|r| r.cpu, f64::max);
    let peak = worst(|r| r.sample.peak_mb, f64::max);
    let spread = peak - worst(|r| r.sample.peak_mb, f64::min);
    let lines = [
        (
            throughput >= THROUGHPUT,
            format!("throughput {throughput:.2} of curl's, at least {THROUGHPUT}"),
        ),
        (
            cpu <= CPU,
            format!("CPU seconds per GiB {cpu:.2} of curl's, at most {CPU}"),
        ),
        (peak < PEAK_MB, format!("peak memory {peak:.1} MB, below {PEAK_MB}")),
        (
            spread <= PEAK_SPREAD_MB,
            format!("peak memory differs by {spread:.1} MB between sizes, at most {PEAK_SPREAD_MB}"),
        ),
    ];
    let mut text = String::new();
    for (met, line) in &lines {
        let word = if *met { "met" } else { "MISSED" };
        let _ = writeln!(text, "{word}: {line}");
    }
    (text, lines.iter().all(|(met, _)| *met))
}
