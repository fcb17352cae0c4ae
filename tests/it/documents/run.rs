//! The commands of the documents are run in their order: those of a page against a Qdrant of its own (the node over Qdrant's
//! engine), into a directory of its own, and requests to the service with what the page has exported until then.
//!
//! A page finds the sample collections, some more, and a backup of all; what else it takes for granted is in [`Session::before`].

use super::commands::{body, words};
use super::markdown::{Block, Page, pages};
use super::{is_chinese, none, root, shells};
use embedded_qdrant::Node;
use futures_util::future::join_all;
use qdrant_backup::base::hash::sha256_hex;
use reqwest::multipart::{Form, Part};
use reqwest::{Method, RequestBuilder};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use testkit::job::{end_of, node};
use testkit::process::command;
use testkit::sample::{Client, fill};
use testkit::service::Service;

/// Where the documents have Qdrant, the service, another Qdrant, and backups.
const QDRANT: &str = "http://localhost:6333";
const SERVICE: &str = "http://localhost:8080";
const OTHER: &str = "http://10.0.0.9:6333";
const BACKUPS: &str = "/var/backups/qdrant";
/// A copy of these, on another machine.
const COPY: &str = "/srv/qdrant-backups";

const TUTORIAL: &str = "docs/tutorials/first-backup.md";

/// One reader of one page, at his machine.
struct Session {
    /// Of its Qdrant.
    client: Client,
    /// Another Qdrant.
    other: String,
    home: TempDir,
    env: BTreeMap<String, String>,
    _nodes: [(Node, TempDir); 2],
}

impl Session {
    async fn new(page: &Path) -> Self {
        let nodes = [node(0).await, node(0).await];
        let home = tempfile::tempdir().unwrap();
        let mut session = Self {
            client: Client::new(nodes[0].0.url(), None),
            other: nodes[1].0.url(),
            env: [("HOME".to_owned(), home.path().display().to_string())].into(),
            home,
            _nodes: nodes,
        };
        // The tutorial begins with nothing.
        if page != Path::new(TUTORIAL) {
            std::fs::create_dir(session.backups()).unwrap();
            session
                .runs(&format!("export QDRANT_URL={QDRANT} BACKUP_STORE=file://{BACKUPS}"))
                .await;
            fill(&session.client, "", 1).await.unwrap();
            for name in ["logs-new", "logs-old"] {
                let vectors = json!({"vectors": {"size": 4, "distance": "Dot"}});
                session.call("PUT", &format!("/collections/{name}"), vectors).await;
            }
            session.runs("qdrant-backup backup").await;
        }
        session
    }

    /// What a section takes for granted.
    async fn before(&mut self, page: &str, block: &Block) {
        match (page, block.section.as_str()) {
            ("README.md", "Restore") => self.lose("articles").await,
            ("docs/how-to/restore.md", "Restore a collection") => {
                for name in ["articles", "drafts", "products", "logs-new", "logs-old"] {
                    self.lose(name).await;
                }
            }
            ("docs/how-to/restore.md", "Over HTTP") => self.lose("articles-copy").await,
            ("docs/how-to/restore-by-hand.md", _) => {
                self.lose("articles").await;
                std::fs::copy(self.snapshot(), self.home.path().join("collection.snapshot")).unwrap();
            }
            ("docs/how-to/run-on-a-vm.md", "Copy the backups off the machine") => {
                let [from, to] = [self.backups(), self.home.path().join("copy")];
                let copied = std::process::Command::new("cp").arg("-a").args([from, to]).status();
                assert!(copied.unwrap().success());
            }
            // Freshness is asked of what is verified.
            ("docs/how-to/monitor.md", _) => self.runs("qdrant-backup verify latest").await,
            ("docs/reference/http-api.md", _) => self.runs("export RETAIN_LAST=7").await,
            _ => {}
        }
    }

    async fn lose(&self, collection: &str) {
        assert_eq!(
            self.client.delete(collection).await.unwrap(),
            json!(true),
            "{collection}"
        );
    }

    async fn call(&self, method: &str, path: &str, body: serde_json::Value) {
        self.client.call(method, path, Some(body)).await.unwrap();
    }

    fn backups(&self) -> PathBuf {
        self.home.path().join("backups")
    }

    /// The snapshot of `articles` in the only backup.
    fn snapshot(&self) -> PathBuf {
        let folders = std::fs::read_dir(self.backups().join("backups")).unwrap();
        let newest = folders.map(|folder| folder.unwrap().path()).max().unwrap();
        newest.join("articles/collection.snapshot")
    }

    /// A word with its variables, and with what the documents' names stand for here.
    fn real(&self, word: &str) -> String {
        let mut real = word
            .replace(QDRANT, &self.client.url)
            .replace(OTHER, &self.other)
            .replace(BACKUPS, self.backups().to_str().unwrap())
            .replace(COPY, self.home.path().join("copy").to_str().unwrap());
        for (name, value) in &self.env {
            real = real.replace(&format!("${name}"), value);
        }
        if real.contains("SHA256") {
            real = real.replace("SHA256", &sha256_hex(&std::fs::read(self.snapshot()).unwrap()));
        }
        real
    }

    /// Runs what must work.
    async fn runs(&mut self, text: &str) {
        self.run(&words(text)).await.unwrap();
    }

    /// Runs a command; what is wrong, if anything is.
    async fn run(&mut self, words: &[String]) -> Result<(), String> {
        let real: Vec<_> = words.iter().map(|word| self.real(word)).collect();
        let args: Vec<_> = real.iter().map(String::as_str).collect();
        match args.as_slice() {
            ["export", variables @ ..] => {
                let pairs = variables.iter().filter_map(|pair| pair.split_once('='));
                self.env
                    .extend(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
                Ok(())
            }
            ["mkdir", "-p", path] => std::fs::create_dir_all(path).map_err(|error| error.to_string()),
            ["qdrant-backup", args @ ..] => {
                let mut command = command(args, "", Path::new("/"));
                command.env_clear().envs(&self.env).current_dir(self.home.path());
                match end_of(command).await {
                    (Some(0), _, _) => Ok(()),
                    (code, out, err) => Err(format!("exit code {code:?}\n{out}{err}")),
                }
            }
            ["curl", ..] => self.curl(&real).await,
            _ => Err("it is neither run here nor marked with what it needs".to_owned()),
        }
    }

    async fn curl(&self, words: &[String]) -> Result<(), String> {
        let url = words.iter().find(|word| word.starts_with("http://")).ok_or("no URL")?;
        // One that has the settings which the page has exported until here.
        let service = match url.starts_with(SERVICE) {
            true => {
                let env: Vec<_> = self
                    .env
                    .iter()
                    .map(|(name, value)| (name.as_str(), value.as_str()))
                    .collect();
                Some(Service::start(&env).await)
            }
            false => None,
        };
        let url = match &service {
            Some(service) => url.replace(SERVICE, &service.url),
            None => url.clone(),
        };
        let response = self
            .request(words, &url)?
            .send()
            .await
            .map_err(|error| error.to_string())?;
        let (status, text) = (response.status(), response.text().await.unwrap_or_default());
        if let Some(service) = service {
            service.stop().await;
        }
        status.is_success().then_some(()).ok_or(format!("{status}: {text}"))
    }

    fn request(&self, words: &[String], url: &str) -> Result<RequestBuilder, String> {
        let behind = |option: &str| {
            let at = words.iter().position(|word| word == option)?;
            words.get(at + 1).map(String::as_str)
        };
        let (body, file) = (body(words), behind("-F"));
        let usual = if body.or(file).is_some() { "POST" } else { "GET" };
        let method = behind("-X")
            .unwrap_or(usual)
            .parse::<Method>()
            .map_err(|error| error.to_string())?;
        let mut request = self.client.http.request(method, url);
        if let Some(body) = body {
            request = request.body(body.to_owned());
        }
        if let Some(header) = behind("-H") {
            let (name, value) = header.split_once(": ").ok_or("no header")?;
            request = request.header(name, value);
        }
        if let Some(file) = file {
            let (field, name) = file.split_once("=@").ok_or("no file")?;
            let bytes = std::fs::read(self.home.path().join(name)).map_err(|error| error.to_string())?;
            let part = Part::bytes(bytes).file_name(name.to_owned());
            request = request.multipart(Form::new().part(field.to_owned(), part));
        }
        let options: Vec<_> = words.iter().filter(|word| word.starts_with('-')).collect();
        let mut known = options.clone();
        known.sort_unstable();
        known.dedup();
        match known.len() == options.len()
            && known
                .iter()
                .all(|option| ["-X", "-d", "-H", "-F"].contains(&option.as_str()))
        {
            true => Ok(request),
            false => Err(format!("not all of {options:?} are understood here")),
        }
    }
}

/// The problems of a page, and how many commands of it were run.
async fn run(page: &Page) -> (Vec<String>, usize) {
    let (mut problems, mut commands) = (Vec::new(), 0);
    let path = page.path.to_str().unwrap();
    let mut session = Session::new(&page.path).await;
    let mut section = None;
    for block in shells(page).filter(|block| block.mark().is_none()) {
        if section.replace(&block.section) != Some(&block.section) {
            session.before(path, block).await;
        }
        for command in block.commands() {
            commands += 1;
            if let Err(problem) = session.run(&words(&command)).await {
                problems.push(format!("{path}:{}: {command}\n{problem}", block.line));
            }
        }
    }
    (problems, commands)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_the_documents_works_or_is_marked_with_what_it_needs() {
    let pages = pages(root());
    let is_run = |page: &&Page| !is_chinese(&page.path) && shells(page).any(|block| block.mark().is_none());
    let runs = join_all(pages.iter().filter(is_run).map(run)).await;
    none(
        &runs
            .iter()
            .flat_map(|(problems, _)| problems.clone())
            .collect::<Vec<_>>(),
    );
    let (pages, commands) = (runs.len(), runs.iter().map(|(_, commands)| commands).sum::<usize>());
    assert!(pages >= 9 && commands > 50, "only {commands} commands of {pages} pages");
}
