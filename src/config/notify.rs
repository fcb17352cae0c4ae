//! Who is told how runs end. Each URL is a secret as a whole, so that none is ever shown.

use super::reader::Reader;
use crate::base::text::without_secrets;
use crate::ops::notify::{MOST, NotifyConfig, Receiver};
use secrecy::SecretString;

const URLS: &str = "NOTIFY_URLS";
const URLS_FILE: &str = "NOTIFY_URLS_FILE";
const SECRET: &str = "NOTIFY_WEBHOOK_SECRET";
const SECRET_FILE: &str = "NOTIFY_WEBHOOK_SECRET_FILE";
const EXAMPLE: &str = "write e.g. https://hc-ping.com/UUID, slack+https://…, chat+https://… or webhook+https://…";

/// Reads this group alone.
pub(crate) fn from_env(env: super::Env<'_>) -> Result<NotifyConfig, super::Invalid> {
    let mut reader = Reader::new(env);
    let group = read(&mut reader);
    reader.finish(Some(group))
}

pub(super) fn read(reader: &mut Reader<'_>) -> NotifyConfig {
    let (receivers, secret) = (receivers(reader), text(reader, SECRET, SECRET_FILE));
    NotifyConfig {
        receivers,
        always: always(reader),
        secret: secret.map(|(_, text)| SecretString::from(text)),
        about: about(reader),
    }
}

fn receivers(reader: &mut Reader<'_>) -> Vec<Receiver> {
    let Some((variable, text)) = text(reader, URLS, URLS_FILE) else {
        return Vec::new();
    };
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let urls = lines.flat_map(|line| line.split([',', ' ', '\t'])).map(str::trim);
    let mut receivers = Vec::new();
    for (i, url) in urls.filter(|url| !url.is_empty()).enumerate() {
        match Receiver::parse(url) {
            Ok(receiver) => receivers.push(receiver),
            Err(wrong) => reader.secret_problem(variable, format!("URL {} {wrong}", i + 1), EXAMPLE),
        }
    }
    if receivers.len() > MOST {
        let wrong = format!("has {} URLs, and {MOST} are the most", receivers.len());
        reader.secret_problem(variable, wrong, "tell one receiver that tells the others");
    }
    receivers
}

fn always(reader: &mut Reader<'_>) -> bool {
    const NAME: &str = "NOTIFY_ON";
    match reader.text(NAME).as_deref() {
        None | Some("failure") => false,
        Some("always") => true,
        Some(other) => {
            reader.problem(NAME, other, "does not say when", "write failure or always");
            false
        }
    }
}

/// Whose backups these are: by name, or else by where they are.
fn about(reader: &Reader<'_>) -> String {
    let store = || reader.text("BACKUP_STORE").or_else(|| reader.text("GCS_BUCKET_NAME"));
    let name = reader.text("BACKUP_SOURCE_NAME").or_else(store);
    name.map_or_else(|| "Qdrant".to_owned(), |name| without_secrets(&name))
}

/// A secret, and the variable that it comes from: it holds it, or names the file that does.
fn text(reader: &mut Reader<'_>, in_env: &'static str, in_file: &'static str) -> Option<(&'static str, String)> {
    match (reader.text(in_env), reader.text(in_file)) {
        (None, None) => None,
        (Some(text), None) => Some((in_env, text)),
        (None, Some(path)) => match std::fs::read_to_string(&path) {
            Ok(text) if text.trim().is_empty() => {
                reader.problem(
                    in_file,
                    &path,
                    "is empty",
                    "write into the file what belongs there, or unset it",
                );
                None
            }
            Ok(text) => Some((in_file, text.trim().to_owned())),
            Err(e) => {
                let remedy = "name a file that this process may read";
                reader.problem(in_file, &path, format!("cannot be read: {e}"), remedy);
                None
            }
        },
        (Some(_), Some(_)) => {
            let wrong = format!("is set, and so is {in_file}");
            reader.secret_problem(in_env, wrong, "keep one of them");
            None
        }
    }
}
