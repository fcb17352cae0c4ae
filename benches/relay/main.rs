//! The relay beside `curl | curl`: how fast, how much processor time, how much memory.
//!
//! `cargo run --release -p relay-bench -- --gib 4,16 --runs 5`. Source, sink and either way are processes of their own on the loopback
//! interface (this program starts itself again). Both ways run in turns within one run, since only their ratio means
//! anything on a machine that does other work too; the ratio shown is the median of the runs' ratios. Linux only.
//!
//! `relay-bench restore` measures the way back, see [`restore`].
#![allow(clippy::print_stdout)]

mod node;
mod peers;
mod restore;
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
        ["curl", source, sink, bytes] => ways::curl(source, sink, bytes)?,
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

/// One transfer.
struct Sample {
    mb_per_second: f64,
    cpu_per_gib: f64,
    peak_mb: f64,
}

/// What one size came to: medians.
struct Row {
    gib: f64,
    curl: Sample,
    relay: Sample,
    throughput: f64,
    cpu: f64,
}

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
    let mut rows = Vec::new();
    for gib in &options.gib {
        let bytes = (gib * f64::from(1 << 30)) as u64;
        let sha256 = sha256(bytes);
        let bytes = bytes.to_string();
        let relay = ["relay", &source.address, &sink.address, &bytes, &sha256];
        let curl = ["curl", &source.address, &sink.address, &bytes];
        let (mut relays, mut curls) = (Vec::new(), Vec::new());
        for run in 1..=options.runs {
            // Whoever comes second must not always be the same.
            if run % 2 == 0 {
                relays.push(sample(&relay, *gib)?);
                curls.push(sample(&curl, *gib)?);
            } else {
                curls.push(sample(&curl, *gib)?);
                relays.push(sample(&relay, *gib)?);
            }
            let (r, c) = (&relays[run - 1], &curls[run - 1]);
            eprint_line(&format!(
                "{gib} GiB, run {run} of {}: curl {:.0} MB/s {:.2} s/GiB, relay {:.0} MB/s {:.2} s/GiB {:.1} MB",
                options.runs, c.mb_per_second, c.cpu_per_gib, r.mb_per_second, r.cpu_per_gib, r.peak_mb
            ));
        }
        rows.push(Row::of(*gib, &curls, &relays));
    }
    println!("{}", table(&rows));
    if !options.verdict {
        return Ok(ExitCode::SUCCESS);
    }
    let (text, met) = verdict(&rows);
    println!("{text}");
    Ok(if met { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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
fn sample(way: &[&str], gib: f64) -> Result<Sample> {
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
        mb_per_second: gib * f64::from(1 << 30) / 1e6 / seconds,
        cpu_per_gib: cost.cpu_seconds / gib,
        peak_mb: cost.peak_bytes as f64 / 1e6,
    })
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
    fn of(gib: f64, curls: &[Sample], relays: &[Sample]) -> Self {
        let pairs = || relays.iter().zip(curls);
        let middle = |samples: &[Sample]| Sample {
            mb_per_second: median(samples.iter().map(|s| s.mb_per_second)),
            cpu_per_gib: median(samples.iter().map(|s| s.cpu_per_gib)),
            // Memory is a promise: the worst counts.
            peak_mb: samples.iter().map(|s| s.peak_mb).fold(0.0, f64::max),
        };
        Self {
            gib,
            curl: middle(curls),
            relay: middle(relays),
            throughput: median(pairs().map(|(r, c)| r.mb_per_second / c.mb_per_second)),
            cpu: median(pairs().map(|(r, c)| r.cpu_per_gib / c.cpu_per_gib)),
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
            gib,
            curl,
            relay,
            throughput,
            cpu,
        } = row;
        let _ = writeln!(
            text,
            "| `curl \\| curl` | {gib} | {:.0} | 1 | {:.2} | 1 | |",
            curl.mb_per_second, curl.cpu_per_gib
        );
        let _ = writeln!(
            text,
            "| relay, SHA-256 + CRC32C | {gib} | {:.0} | {throughput:.2} | {:.2} | {cpu:.2} | {:.1} |",
            relay.mb_per_second, relay.cpu_per_gib, relay.peak_mb
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
    let peak = worst(|r| r.relay.peak_mb, f64::max);
    let spread = peak - worst(|r| r.relay.peak_mb, f64::min);
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
