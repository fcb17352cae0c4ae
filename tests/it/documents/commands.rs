//! The commands in the documents.

/// The words of a command, as a shell takes them apart; variables stay as they are, comments go.
pub fn words(command: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in command.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => break,
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// The words behind the variables that are set for it alone.
fn without_variables(words: &[String]) -> Vec<&str> {
    let is_name = |name: &str| name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    let is_variable = |word: &&str| word.split_once('=').is_some_and(|(name, _)| is_name(name));
    words.iter().map(String::as_str).skip_while(is_variable).collect()
}

/// Runs a command in Kubernetes.
const KUBERNETES: &str = "deploy/kubernetes/run.sh";

/// What `qdrant-backup` is given by a command, if that runs it: as itself, in a container, or as a job on Cloud Run or Kubernetes.
pub fn arguments(words: &[String]) -> Option<Vec<String>> {
    let list = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
    let given = match without_variables(words).as_slice() {
        ["qdrant-backup" | KUBERNETES, rest @ ..] | ["sudo", "qb", rest @ ..] => {
            rest.iter().map(|word| (*word).to_owned()).collect()
        }
        ["docker", rest @ ..] => {
            let at = rest.iter().position(|word| *word == "qdrant-backup")?;
            rest[at + 1..].iter().map(|word| (*word).to_owned()).collect()
        }
        ["gcloud", rest @ ..] => {
            let given = rest.iter().find_map(|word| word.strip_prefix("--args="))?;
            // The function of docs/how-to/disaster.md has its own argument there.
            list(Some(given).filter(|given| !given.contains('$'))?)
        }
        ["run", given] => list(given),
        _ => return None,
    };
    let meant = |word: String| match word.as_str() {
        "ID" => "2026-11-22T12-00-00Z".to_owned(),
        "SHELL" => "bash".to_owned(),
        _ => word,
    };
    Some(given.into_iter().map(meant).collect())
}

/// What a mark says that a block needs, and whether a command needs that; `None` for a mark that means nothing.
pub fn needs(mark: &str, words: &[String]) -> Option<bool> {
    let first = words.first().map(String::as_str).unwrap_or_default();
    let has = |sign: &str| words.iter().any(|word| word.contains(sign));
    match mark {
        // `run` is the function of docs/how-to/disaster.md.
        "gcloud" => Some(first == "terraform" || first == "run" || has("gcloud") || has("gs://")),
        "cluster" => Some(has("QDRANT_NODES=") || has("/shards/")),
        "docker" => Some(first == "docker"),
        "kubectl" => Some(matches!(first, "kubectl" | KUBERNETES)),
        "systemd" => Some(first == "sudo"),
        "toolchain" => Some(matches!(first, "cargo" | ".ci/run" | "./release.sh")),
        "terraform" => Some(first == "terraform/check.sh"),
        _ => None,
    }
}

/// Method and path of a request to the service, which listens on 8080, or on 8081 in a container.
pub fn request(words: &[String]) -> Option<String> {
    let url = words
        .iter()
        .find_map(|word| word.strip_prefix("http://localhost:808"))?;
    let (_, path) = url.split_once('/')?;
    let mut segments: Vec<_> = path.split('?').next()?.split('/').collect();
    if let ["backups", id, ..] = segments.as_mut_slice() {
        *id = "{id}";
    }
    let method = words
        .iter()
        .position(|word| word == "-X")
        .and_then(|at| words.get(at + 1));
    Some(format!(
        "{} /{}",
        method.map_or("GET", String::as_str),
        segments.join("/")
    ))
}

/// The body that curl sends.
pub fn body(words: &[String]) -> Option<&str> {
    let at = words.iter().position(|word| word == "-d")?;
    words.first().filter(|word| *word == "curl")?;
    words.get(at + 1).map(String::as_str)
}

#[test]
fn a_command_is_taken_apart_as_a_shell_does() {
    let split = |text: &str| words(text);
    assert_eq!(split("a 'b \"c' \"d e\"f  # g"), ["a", "b \"c", "d ef"]);
    assert_eq!(split("a#b ''"), ["a#b", ""]);
    let given = |text: &str| arguments(&words(text));
    let is = |text: &str, expected: &[&str]| assert_eq!(given(text).unwrap(), expected, "{text}");
    is("A=b C_D=e qdrant-backup show ID", &["show", "2026-11-22T12-00-00Z"]);
    is("docker compose exec -T backup qdrant-backup list", &["list"]);
    is(
        "gcloud run jobs execute qdrant-backup --args=check,--deep --wait",
        &["check", "--deep"],
    );
    is("run restore,latest", &["restore", "latest"]);
    is("deploy/kubernetes/run.sh show ID", &["show", "2026-11-22T12-00-00Z"]);
    for none in [
        "gcloud run jobs execute qdrant-backup",
        "run() { gcloud x --args=\"$1\"; }",
        "export A=b",
        "docker compose up",
    ] {
        assert_eq!(given(none), None, "{none}");
    }
    assert_eq!(
        request(&words("curl -X PUT http://localhost:8080/backups/latest/pin?a -d '{}'")).unwrap(),
        "PUT /backups/{id}/pin"
    );
    assert_eq!(request(&words("curl http://localhost:6333/collections")), None);
    assert_eq!(body(&words("curl x -d '{\"a\": 1}'")), Some("{\"a\": 1}"));
    assert_eq!(needs("gcloud", &words("cp x gs://y")), Some(true));
    assert_eq!(needs("kubectl", &words("deploy/kubernetes/run.sh list")), Some(true));
    assert_eq!(needs("docker", &words("cargo build")), Some(false));
    assert_eq!(needs("moon", &words("cargo build")), None);
}
