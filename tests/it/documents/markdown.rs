//! As much of Markdown as the documents use: headings, links, code.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// One file.
pub struct Page {
    /// Relative to the repository.
    pub path: PathBuf,
    pub text: String,
    pub lines: usize,
    /// Level and text.
    pub headings: Vec<(usize, String)>,
    /// Line and target.
    pub links: Vec<(usize, String)>,
    /// Line and text of code between single backticks.
    pub codes: Vec<(usize, String)>,
    pub blocks: Vec<Block>,
}

/// A fenced block.
pub struct Block {
    /// Of its first fence.
    pub line: usize,
    /// The heading that it stands under.
    pub section: String,
    info: String,
    lines: Vec<String>,
}

impl Block {
    pub fn language(&self) -> &str {
        self.info.split_whitespace().next().unwrap_or_default()
    }

    /// The word behind the language: what it needs that a test has not.
    pub fn mark(&self) -> Option<&str> {
        self.info.split_whitespace().nth(1)
    }

    /// Its lines, those put together that end with a backslash.
    pub fn commands(&self) -> Vec<String> {
        let mut commands = vec![String::new()];
        for line in &self.lines {
            let (text, goes_on) = match line.strip_suffix('\\') {
                Some(text) => (text, true),
                None => (line.as_str(), false),
            };
            if let Some(last) = commands.last_mut() {
                last.push_str(text);
            }
            if !goes_on {
                commands.push(String::new());
            }
        }
        commands.retain(|command| !command.trim().is_empty() && !command.trim().starts_with('#'));
        commands
    }
}

impl Page {
    pub fn read(root: &Path, path: &Path) -> Self {
        let text = fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self::parse(path, text)
    }

    fn parse(path: &Path, text: String) -> Self {
        let mut page = Self {
            path: path.to_owned(),
            lines: text.lines().count(),
            text: String::new(),
            headings: Vec::new(),
            links: Vec::new(),
            codes: Vec::new(),
            blocks: Vec::new(),
        };
        let mut open = false;
        for (number, line) in (1..).zip(text.lines()) {
            let trimmed = line.trim();
            match (open, trimmed.strip_prefix("```")) {
                (true, Some(_)) => open = false,
                (true, None) => {
                    if let Some(block) = page.blocks.last_mut() {
                        block.lines.push(trimmed.to_owned());
                    }
                }
                (false, Some(info)) => {
                    open = true;
                    let heading = page.headings.last().map(|(_, text)| text.clone());
                    page.blocks.push(Block {
                        line: number,
                        section: heading.unwrap_or_default(),
                        info: info.to_owned(),
                        lines: Vec::new(),
                    });
                }
                (false, None) => page.take(number, line),
            }
        }
        assert!(!open, "{}: a block has no end", path.display());
        page.text = text;
        page
    }

    /// A line outside of blocks.
    fn take(&mut self, number: usize, line: &str) {
        let level = line.bytes().take_while(|b| *b == b'#').count();
        if let Some(heading) = line[level..].strip_prefix(' ').filter(|_| level > 0) {
            self.headings.push((level, heading.to_owned()));
        }
        // Every second part is between backticks.
        let codes = line.split('`').skip(1).step_by(2);
        self.codes.extend(codes.map(|code| (number, code.to_owned())));
        let mut in_code = false;
        for (at, c) in line.char_indices() {
            in_code ^= c == '`';
            if let Some(rest) = line[at..].strip_prefix("](").filter(|_| !in_code)
                && let Some((target, _)) = rest.split_once(')')
            {
                self.links.push((number, target.to_owned()));
            }
        }
    }

    /// How many headings of the second level it has.
    pub fn sections(&self) -> usize {
        self.headings.iter().filter(|(level, _)| *level == 2).count()
    }

    /// What links to its headings can say, by GitHub's rule.
    pub fn anchors(&self) -> BTreeSet<String> {
        let mut anchors = BTreeSet::new();
        for (_, heading) in &self.headings {
            let plain = anchor(heading);
            let again = (1..).map(|n| format!("{plain}-{n}"));
            let free = std::iter::once(plain.clone())
                .chain(again)
                .find(|name| !anchors.contains(name));
            anchors.extend(free);
        }
        anchors
    }
}

fn anchor(heading: &str) -> String {
    let mut text = String::new();
    let mut rest = heading;
    // Of a link its text counts.
    while let Some((before, after)) = rest.split_once("](") {
        text.push_str(before);
        rest = after.split_once(')').map_or("", |(_, rest)| rest);
    }
    text.push_str(rest);
    let kept = text
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

/// All documents of the repository.
pub fn pages(root: &Path) -> Vec<Page> {
    let (mut pages, mut folders) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root.join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let path = folder.join(&name);
            if entry.file_type().unwrap().is_dir() {
                let is_ours = name != "target" && (!name.starts_with('.') || name == ".github");
                folders.extend(is_ours.then_some(path));
            } else if name.ends_with(".md") {
                pages.push(Page::read(root, &path));
            }
        }
    }
    pages.sort_by(|a, b| a.path.cmp(&b.path));
    pages
}

#[test]
fn a_page_is_read_as_github_reads_it() {
    let text = "# A `b` c?\n## A `b` c?\n[x](y.md#z) `[no](link)` `qdrant-backup list`\n\n  ```bash gcloud\n  a \\\n    b # c\n  # d\n  ```\n## [去](d.md)，好\n";
    let page = Page::parse(Path::new("p.md"), text.to_owned());
    let anchors: Vec<_> = page.anchors().into_iter().collect();
    assert_eq!(anchors, ["a-b-c", "a-b-c-1", "去好"]);
    assert_eq!(page.links, [(3, "y.md#z".to_owned()), (10, "d.md".to_owned())]);
    assert_eq!(
        page.codes[2..],
        [(3, "[no](link)".to_owned()), (3, "qdrant-backup list".to_owned())]
    );
    let [block] = page.blocks.as_slice() else {
        panic!("{}", page.blocks.len())
    };
    assert_eq!(
        (block.line, block.language(), block.mark(), block.section.as_str()),
        (5, "bash", Some("gcloud"), "A `b` c?")
    );
    assert_eq!(block.commands(), ["a b # c"]);
    assert_eq!(page.sections(), 2);
}
