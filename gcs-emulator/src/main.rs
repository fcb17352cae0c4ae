//! The emulator as a program, to try a storage tool by hand.

use gcs_emulator::{Emulator, Options};
use std::{io, process::ExitCode};

const USAGE: &str = "usage: gcs-emulator [--listen 127.0.0.1:4443] [--bucket NAME]... [--discard]";

#[tokio::main]
#[allow(clippy::print_stderr)]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("gcs-emulator: {e}");
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::print_stderr)]
async fn run() -> io::Result<()> {
    let bad = |what: String| io::Error::new(io::ErrorKind::InvalidInput, format!("{what}\n{USAGE}"));
    let mut options = Options {
        listen: ([127, 0, 0, 1], 4443).into(),
        discard: false,
    };
    let mut buckets = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| bad(format!("{argument} needs a value")));
        match argument.as_str() {
            "--listen" => {
                let text = value()?;
                options.listen = text.parse().map_err(|e| bad(format!("--listen {text}: {e}")))?;
            }
            "--bucket" => buckets.push(value()?),
            "--discard" => options.discard = true,
            other => return Err(bad(format!("unknown argument {other}"))),
        }
    }
    let emulator = Emulator::start_with(options).await?;
    for bucket in &buckets {
        emulator.create_bucket(bucket);
    }
    eprintln!("STORAGE_EMULATOR_HOST={}", emulator.url());
    emulator.serve().await
}
