//! The two sides of a transfer, each a process of its own: a node that serves a snapshot, and a bucket that discards it.
//!
//! Blocking sockets, large buffers, no HTTP library, and no checksum of what arrives: the peers of both ways are to cost as
//! little as possible, so that what is measured is the way between them.

use crate::shard::{Part, shard};
use std::{
    error::Error,
    io::{self, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Length of the pattern of which a snapshot consists. Not a power of two, so that it meets the chunks of the transfer at
/// ever other places.
const PATTERN: usize = (1 << 20) + 7;

/// One period of the bytes that [`source`] serves.
pub(crate) fn pattern() -> Vec<u8> {
    let mut x = 0x9E37_79B9_7F4A_7C15_u64;
    let mut bytes = Vec::with_capacity(PATTERN + 8);
    while bytes.len() < PATTERN {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        bytes.extend_from_slice(&x.to_le_bytes());
    }
    bytes.truncate(PATTERN);
    bytes
}

/// Serves `GET /collections/{c}/snapshots/{length}.snapshot` as Qdrant does: length, strong ETag, ranges, If-Match.
pub(crate) fn source() -> Result<()> {
    let pattern = pattern();
    serve(move |connection, request| match request.path.ends_with("/snapshot") {
        true => serve_stream(connection, request, &pattern),
        false => serve_snapshot(connection, request, &pattern),
    })
}

/// Length of a chunk of a stream; Qdrant 1.18.3 sends 512 to 4096 bytes in one.
const CHUNK: usize = 4096;

/// Serves `GET /collections/{length}/shards/0/snapshot` as Qdrant does: in small chunks, without a length.
fn serve_stream(connection: &mut Connection, request: &Request, pattern: &[u8]) -> Result<()> {
    let length = request.path.split('/').nth(2).ok_or("no length")?.parse()?;
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: application/octet-stream\r\n\r\n";
    connection.stream.write_all(head.as_bytes())?;
    let mut framed = Vec::new();
    for part in shard(length) {
        match part {
            Part::Bytes(bytes) => chunked(&mut connection.stream, &bytes, &mut framed)?,
            Part::Pattern(mut left) => {
                while left > 0 {
                    let piece = left.min(pattern.len() as u64);
                    chunked(&mut connection.stream, &pattern[..piece as usize], &mut framed)?;
                    left -= piece;
                }
            }
        }
    }
    connection.stream.write_all(b"0\r\n\r\n")?;
    Ok(())
}

fn chunked(stream: &mut TcpStream, bytes: &[u8], framed: &mut Vec<u8>) -> Result<()> {
    for block in bytes.chunks(64 * CHUNK) {
        framed.clear();
        for chunk in block.chunks(CHUNK) {
            write!(framed, "{:x}\r\n", chunk.len())?;
            framed.extend_from_slice(chunk);
            framed.extend_from_slice(b"\r\n");
        }
        stream.write_all(framed)?;
    }
    Ok(())
}

fn serve_snapshot(connection: &mut Connection, request: &Request, pattern: &[u8]) -> Result<()> {
    let total: u64 = request
        .path
        .rsplit('/')
        .next()
        .and_then(|name| name.strip_suffix(".snapshot"))
        .ok_or("not a snapshot")?
        .parse()?;
    let etag = format!("\"{total:x}\"");
    if request.header("if-match").is_some_and(|m| m != etag) {
        return connection.answer("412 Precondition Failed", "", "");
    }
    let from = request
        .header("range")
        .and_then(|r| r.strip_prefix("bytes=")?.strip_suffix('-'))
        .map(str::parse::<u64>)
        .transpose()?;
    let (status, range) = match from {
        None | Some(0) => ("200 OK", String::new()),
        Some(from) if from >= total => {
            return connection.answer("416 Range Not Satisfiable", "", "");
        }
        Some(from) => (
            "206 Partial Content",
            format!("Content-Range: bytes {from}-{}/{total}\r\n", total - 1),
        ),
    };
    let mut at = from.unwrap_or(0);
    let length = total - at;
    write!(
        connection.stream,
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nETag: {etag}\r\nAccept-Ranges: bytes\r\n{range}\r\n"
    )?;
    while at < total {
        let offset = (at % PATTERN as u64) as usize;
        let piece = ((PATTERN - offset) as u64).min(total - at) as usize;
        connection.stream.write_all(&pattern[offset..offset + piece])?;
        at += piece as u64;
    }
    Ok(())
}

/// CRC32C of the first `bytes` bytes that [`source`] serves.
fn crc32c_of(bytes: u64, pattern: &[u8]) -> u32 {
    let (periods, rest) = (bytes as usize / pattern.len(), bytes as usize % pattern.len());
    let (mut whole, mut power, mut length, mut left) = (0, crc32c::crc32c(pattern), pattern.len(), periods);
    while left > 0 {
        if left & 1 == 1 {
            whole = crc32c::crc32c_combine(whole, power, length);
        }
        power = crc32c::crc32c_combine(power, power, length);
        length *= 2;
        left >>= 1;
    }
    crc32c::crc32c_append(whole, &pattern[..rest])
}

/// Takes resumable uploads as Cloud Storage does, and plain `PUT /drop`. Counts the bytes, and discards them; the CRC32C that
/// it answers with is that of the snapshot that [`source`] serves, and of a stream the one that it is told.
pub(crate) fn sink() -> Result<()> {
    let sessions = AtomicU64::new(0);
    let pattern = pattern();
    serve(move |connection, request| take_upload(connection, request, &sessions, &pattern))
}

fn take_upload(connection: &mut Connection, request: &Request, sessions: &AtomicU64, pattern: &[u8]) -> Result<()> {
    if request.method == "POST" && request.path.contains("uploadType=resumable") {
        connection.body(request, |_| ())?;
        let session = sessions.fetch_add(1, Ordering::Relaxed);
        let location = format!(
            "Location: http://{}/session/{session}\r\n",
            connection.stream.local_addr()?
        );
        return connection.answer("200 OK", &location, "");
    }
    let mut bytes = 0_u64;
    connection.body(request, |piece| bytes += piece.len() as u64)?;
    if request.path == "/drop" {
        return connection.answer("200 OK", "", &format!("{bytes}\n"));
    }
    let range = request.header("content-range").and_then(|r| r.strip_prefix("bytes "));
    let (of_these, total) = range.and_then(|r| r.split_once('/')).unwrap_or_default();
    if total == "*" {
        let (_, last) = of_these.split_once('-').ok_or("no bytes")?;
        return connection.answer("308 Resume Incomplete", &format!("Range: bytes=0-{last}\r\n"), "");
    }
    if let Some(sum) = request.header("x-goog-hash").and_then(|h| h.strip_prefix("crc32c=")) {
        // The last chunk of a stream, which tells the sum of all.
        return connection.object(total.parse()?, sum);
    }
    if total.parse() != Ok(bytes) {
        // What was cut is not kept; the bench has no use for an interrupted session.
        return connection.answer("400 Bad Request", "", "");
    }
    let sum = crc32c_of(bytes, pattern).to_be_bytes();
    connection.object(bytes, &base64::Engine::encode(&base64::prelude::BASE64_STANDARD, sum))
}

/// Listens on a free port, names it on standard output, and serves until the process is killed.
pub(crate) fn serve(handle: impl Fn(&mut Connection, &Request) -> Result<()> + Send + Sync + 'static) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    writeln!(io::stdout(), "{}", listener.local_addr()?)?;
    let handle = Arc::new(handle);
    for stream in listener.incoming() {
        let stream = stream?;
        stream.set_nodelay(true)?;
        let handle = Arc::clone(&handle);
        thread::spawn(move || {
            let mut connection = Connection {
                stream,
                buffer: vec![0; 256 << 10],
                filled: 0..0,
            };
            while let Ok(request) = connection.request() {
                // An error here is a peer that went away; it has its own report.
                if handle(&mut connection, &request).is_err() {
                    return;
                }
            }
        });
    }
    Ok(())
}

pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    headers: Vec<(String, String)>,
}

impl Request {
    fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(n, _)| n == name)?;
        Some(value)
    }
}

pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// The part of `buffer` that has been read from the socket and not been used.
    filled: std::ops::Range<usize>,
}

impl Connection {
    fn request(&mut self) -> Result<Request> {
        let line = self.line()?;
        let mut words = line.split(' ');
        let method = words.next().unwrap_or_default().to_owned();
        let path = words.next().unwrap_or_default().to_owned();
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else {
                break;
            };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        Ok(Request { method, path, headers })
    }

    pub(crate) fn answer(&mut self, status: &str, headers: &str, body: &str) -> Result<()> {
        let length = body.len();
        write!(
            self.stream,
            "HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
        )?;
        Ok(())
    }

    /// Answers that there is an object now.
    fn object(&mut self, bytes: u64, crc32c: &str) -> Result<()> {
        let object = serde_json::json!({
            "kind": "storage#object",
            "bucket": "bench",
            "name": "bench",
            "size": bytes.to_string(),
            "generation": "1",
            "metageneration": "1",
            "updated": "2026-11-22T12:00:00Z",
            "crc32c": crc32c,
        });
        self.answer("200 OK", "Content-Type: application/json\r\n", &object.to_string())
    }

    /// Reads the body of `request`, of known length or chunked.
    pub(crate) fn body(&mut self, request: &Request, mut each: impl FnMut(&[u8])) -> Result<()> {
        if request.header("expect").is_some() {
            self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        if request.header("transfer-encoding").is_none() {
            let length = request.header("content-length").map_or(Ok(0), str::parse::<u64>)?;
            return self.pieces(length, &mut each);
        }
        loop {
            let length = u64::from_str_radix(&self.line()?, 16)?;
            self.pieces(length, &mut each)?;
            self.line()?;
            if length == 0 {
                return Ok(());
            }
        }
    }

    fn pieces(&mut self, mut length: u64, each: &mut impl FnMut(&[u8])) -> Result<()> {
        while length > 0 {
            if self.filled.is_empty() {
                self.fill()?;
            }
            let piece = (self.filled.len() as u64).min(length) as usize;
            each(&self.buffer[self.filled.start..self.filled.start + piece]);
            self.filled.start += piece;
            length -= piece as u64;
        }
        Ok(())
    }

    fn line(&mut self) -> Result<String> {
        let mut line = Vec::new();
        loop {
            if self.filled.is_empty() {
                self.fill()?;
            }
            let byte = self.buffer[self.filled.start];
            self.filled.start += 1;
            match byte {
                b'\n' => return Ok(String::from_utf8(line)?),
                b'\r' => {}
                _ => line.push(byte),
            }
        }
    }

    fn fill(&mut self) -> Result<()> {
        let read = self.stream.read(&mut self.buffer)?;
        if read == 0 {
            return Err("the peer closed the connection".into());
        }
        self.filled = 0..read;
        Ok(())
    }
}
