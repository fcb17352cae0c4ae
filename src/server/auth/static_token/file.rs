//! The file of tokens: one line for each, `ROLE NAME TOKEN` or `ROLE NAME sha256:HEX`. Nothing of a line is ever repeated, since
//! what stands in the wrong place may be a token.

use crate::base::hash::parse_sha256;
use crate::server::auth::Role;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;
use std::fmt;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Shortest token: 128 bits in hex.
const SHORTEST: usize = 32;
/// Longest name. No token can stand in its place.
const LONGEST_NAME: usize = SHORTEST - 1;
/// A random token of [`SHORTEST`] hex digits has fewer different characters once in 26 millions.
const DIFFERENT: usize = 8;
/// Largest file.
const LARGEST: u64 = 64 << 10;
/// What begins the SHA-256 of a token.
const HASHED: &str = "sha256:";
const FORMAT: &str = "write `ROLE NAME TOKEN` or `ROLE NAME sha256:HEX`, one line a token";

/// The digest of a token: tokens themselves are not kept.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Secret([u8; 32]);

impl Secret {
    fn of(token: &str) -> Self {
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
        Self(sha256)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// A caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TokenEntry {
    secret: Secret,
    /// For the audit log.
    pub(super) name: String,
    pub(super) role: Role,
}

/// Who may call, by token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TokenList {
    entries: Vec<TokenEntry>,
    /// Whether a token itself is in the file, not its digest.
    holds_tokens: bool,
}

/// What is wrong with a file of tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileProblem {
    pub(crate) wrong: String,
    pub(crate) remedy: &'static str,
}

impl fmt::Display for FileProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.wrong, self.remedy)
    }
}

/// By what a changed file is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileStamp {
    place: (u64, u64),
    len: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileStamp {
    pub(super) fn of(path: &Path) -> Option<Self> {
        let meta = std::fs::metadata(path).ok()?;
        Some(Self {
            place: (meta.dev(), meta.ino()),
            len: meta.len(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        })
    }
}

/// A file of tokens that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenFile {
    pub(super) path: PathBuf,
    pub(super) list: TokenList,
    /// From before it was read, so that a change meanwhile is seen.
    pub(super) stamp: Option<FileStamp>,
    mode: u32,
}

impl TokenFile {
    pub(crate) fn read(path: PathBuf) -> Result<Self, Vec<FileProblem>> {
        let failed = |wrong: String| {
            vec![FileProblem {
                wrong,
                remedy: "name a text file of at most 64 KiB that this process may read",
            }]
        };
        let stamp = FileStamp::of(&path);
        let cannot = |e: std::io::Error| failed(format!("cannot be read: {e}"));
        let file = std::fs::File::open(&path).map_err(cannot)?;
        let meta = file.metadata().map_err(cannot)?;
        if !meta.is_file() {
            return Err(failed("is not a file".to_owned()));
        }
        let mut bytes = Vec::new();
        file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(cannot)?;
        let text = String::from_utf8(bytes)
            .ok()
            .filter(|text| text.len() as u64 <= LARGEST);
        let text = text.ok_or_else(|| failed("is no text, or larger than 64 KiB".to_owned()))?;
        Ok(Self {
            list: TokenList::parse(&text)?,
            path,
            stamp,
            mode: meta.permissions().mode(),
        })
    }

    /// How many callers there are, with which roles.
    pub(crate) fn summary(&self) -> String {
        self.list.to_string()
    }

    /// What is unwise about its rights.
    pub(crate) fn warning(&self) -> Option<String> {
        let path = self.path.display();
        let may = match (self.mode & 0o002 != 0, self.mode & 0o004 != 0) {
            (true, _) => "change",
            (false, true) if self.list.holds_tokens => "read",
            _ => return None,
        };
        Some(format!(
            "every user of this machine may {may} {path}, which decides who may call"
        ))
    }
}

impl TokenList {
    fn parse(text: &str) -> Result<Self, Vec<FileProblem>> {
        let mut list = Self {
            entries: Vec::new(),
            holds_tokens: false,
        };
        let mut problems = Vec::new();
        for (n, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let added = entry(line).and_then(|(entry, is_token)| {
                list.holds_tokens |= is_token;
                list.add(entry)
            });
            if let Err((wrong, remedy)) = added {
                let wrong = format!("line {}: {wrong}", n + 1);
                problems.push(FileProblem { wrong, remedy });
            }
        }
        if list.entries.is_empty() && problems.is_empty() {
            problems.push(FileProblem {
                wrong: "holds no token".to_owned(),
                remedy: FORMAT,
            });
        }
        match problems.is_empty() {
            true => Ok(list),
            false => Err(problems),
        }
    }

    fn add(&mut self, entry: TokenEntry) -> Result<(), (&'static str, &'static str)> {
        if self.entries.iter().any(|other| other.secret == entry.secret) {
            return Err((
                "the token is that of an earlier line",
                "give each line a token of its own",
            ));
        }
        // Two tokens of one caller: while one takes the place of the other.
        if self
            .entries
            .iter()
            .any(|other| other.name == entry.name && other.role != entry.role)
        {
            return Err((
                "an earlier line has the same name and another role",
                "give one caller one role, or two names",
            ));
        }
        self.entries.push(entry);
        Ok(())
    }

    /// The entry of a token. All of them are compared, each in the same time. A weak one is none, whatever digest is in the file.
    pub(super) fn find(&self, token: &str) -> Option<&TokenEntry> {
        is_strong(token).ok()?;
        let secret = Secret::of(token);
        self.entries.iter().fold(None, |found, entry| {
            let is_equal = verify_slices_are_equal(&entry.secret.0, &secret.0).is_ok();
            if is_equal { Some(entry) } else { found }
        })
    }
}

/// `3 tokens: 1 reader, 0 operators, 2 admins`.
impl fmt::Display for TokenList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
        let of = |role: Role| {
            number(
                self.entries.iter().filter(|entry| entry.role == role).count(),
                &role.to_string(),
            )
        };
        write!(
            f,
            "{}: {}, {}, {}",
            number(self.entries.len(), "token"),
            of(Role::Reader),
            of(Role::Operator),
            of(Role::Admin)
        )
    }
}

/// The entry of a line, and whether the token itself stands there.
fn entry(line: &str) -> Result<(TokenEntry, bool), (&'static str, &'static str)> {
    let mut words = line.split_whitespace();
    let (Some(role), Some(name), Some(token), None) = (words.next(), words.next(), words.next(), words.next()) else {
        return Err(("has not three words", FORMAT));
    };
    let role = Role::parse(role).ok_or(("does not begin with a role", "begin it with reader, operator or admin"))?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "@.-_+".contains(c);
    if name.len() > LONGEST_NAME || !name.chars().all(is_plain) {
        let remedy = "write up to 31 letters, digits and @.-_+ as the name";
        return Err(("the second word is not a name", remedy));
    }
    let (secret, is_token) = match token.strip_prefix(HASHED) {
        Some(hex) => {
            let remedy = "write the 64 hex digits of: printf %s \"$TOKEN\" | sha256sum";
            (
                Secret(parse_sha256(hex).ok_or(("the third word is not the SHA-256 of a token", remedy))?),
                false,
            )
        }
        None => {
            is_strong(token)?;
            (Secret::of(token), true)
        }
    };
    let entry = TokenEntry {
        secret,
        name: name.to_owned(),
        role,
    };
    Ok((entry, is_token))
}

/// Refuses what somebody has thought out.
fn is_strong(token: &str) -> Result<(), (&'static str, &'static str)> {
    const MAKE: &str = "make one with: openssl rand -hex 32";
    if token.len() < SHORTEST {
        return Err(("the token is shorter than 32 characters", MAKE));
    }
    if !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(("the token has characters that no header can hold", MAKE));
    }
    let mut characters: Vec<_> = token.bytes().collect();
    characters.sort_unstable();
    characters.dedup();
    match characters.len() < DIFFERENT {
        true => Err(("the token has less than 8 different characters", MAKE)),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::base::hash::sha256_hex;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn a_line_is_a_role_a_name_and_a_token_or_its_digest() {
        let hashed = format!("sha256:{}", sha256_hex(b"another-token-of-32-characters--"));
        let text = format!(
            "# who may call\n\n  reader\tagent {TOKEN}\r\nADMIN me@x.test {hashed}\nadmin weak sha256:{}\n",
            sha256_hex(b"short")
        );
        let list = TokenList::parse(&text).unwrap();
        assert_eq!(list.to_string(), "3 tokens: 1 reader, 0 operators, 2 admins");
        let found = |token: &str| list.find(token).map(|entry| (entry.name.as_str(), entry.role));
        assert_eq!(found(TOKEN), Some(("agent", Role::Reader)));
        assert_eq!(
            found("another-token-of-32-characters--"),
            Some(("me@x.test", Role::Admin))
        );
        // The digest opens nothing.
        for wrong in ["", "x", "short", &TOKEN[1..], &hashed, &hashed["sha256:".len()..]] {
            assert_eq!(found(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn each_fault_has_its_line_and_its_remedy_and_nothing_of_a_token_is_told() {
        let secret = "S3cr3t-S3cr3t-0123456789-abcdefghij";
        let other = format!("sha256:{}", sha256_hex(secret.as_bytes()));
        for (line, wrong) in [
            (secret.to_owned(), "has not three words"),
            (format!("admin {secret}"), "has not three words"),
            (format!("admin me {secret} x"), "has not three words"),
            (format!("{secret} me admin"), "does not begin with a role"),
            (format!("admin {secret} me"), "the second word is not a name"),
            (format!("admin a\u{1b}b {secret}"), "the second word is not a name"),
            (
                "admin me S3cr3t-S3cr3t".to_owned(),
                "the token is shorter than 32 characters",
            ),
            (
                format!("admin me {}", "S3cr3t".repeat(8)),
                "the token has less than 8 different characters",
            ),
            (
                format!("admin me {secret}é"),
                "the token has characters that no header can hold",
            ),
            (
                format!("admin me sha256:{secret}"),
                "the third word is not the SHA-256 of a token",
            ),
            (
                format!("admin a {secret}\nadmin b {other}"),
                "the token is that of an earlier line",
            ),
            (
                format!("admin a {secret}\nreader a {TOKEN}"),
                "an earlier line has the same name and another role",
            ),
        ] {
            let text = format!("# first\n{line}\n");
            let problems = TokenList::parse(&text).unwrap_err();
            let last = text.lines().count();
            assert_eq!(problems.len(), 1, "{line}");
            assert_eq!(problems[0].wrong, format!("line {last}: {wrong}"));
            let told = problems[0].to_string().to_ascii_lowercase();
            assert!(!told.contains("s3cr3t") && !told.contains('\u{1b}'), "{told}");
        }
        assert_eq!(TokenList::parse("# nobody\n").unwrap_err()[0].wrong, "holds no token");
    }

    #[test]
    fn one_caller_may_have_two_tokens_while_they_are_exchanged() {
        let text = format!("admin me {TOKEN}\nadmin me {}\n", TOKEN.to_uppercase());
        assert_eq!(TokenList::parse(&text).unwrap().entries.len(), 2);
    }

    #[test]
    fn nothing_of_a_token_is_printed() {
        let list = TokenList::parse(&format!("admin me {TOKEN}")).unwrap();
        let told = format!("{list:?} {list}");
        assert!(
            !told.contains(TOKEN) && !told.contains(&sha256_hex(TOKEN.as_bytes())),
            "{told}"
        );
    }
}
