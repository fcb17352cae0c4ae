//! As much of HTML as the pages use, read strictly: what is not nested, quoted or escaped is refused.

use std::collections::BTreeMap;

const VOID: [&str; 4] = ["meta", "link", "img", "input"];

/// An element, with the text in it.
#[derive(Clone, Debug)]
pub struct Element {
    pub name: String,
    pub attributes: BTreeMap<String, String>,
    pub text: String,
}

/// A page: its elements in the order of their ends.
#[derive(Clone, Debug)]
pub struct Html {
    pub elements: Vec<Element>,
}

impl Html {
    pub fn read(text: &str) -> Self {
        let mut rest = text
            .strip_prefix("<!DOCTYPE html>")
            .expect("a page begins with its type");
        let (mut open, mut elements): (Vec<Element>, Vec<Element>) = (Vec::new(), Vec::new());
        while let Some(at) = rest.find('<') {
            let (text, tag) = rest.split_at(at);
            let told = unescaped(text);
            open.iter_mut().for_each(|element| element.text.push_str(&told));
            let end = tag_end(tag);
            let inside = &tag[1..end];
            rest = &tag[end + 1..];
            if let Some(name) = inside.strip_prefix('/') {
                let element = open.pop().expect("an end has a beginning");
                assert_eq!(element.name, name, "elements are nested");
                elements.push(element);
                continue;
            }
            let element = element(inside);
            match VOID.contains(&element.name.as_str()) {
                true => elements.push(element),
                false => open.push(element),
            }
        }
        assert!(open.is_empty() && rest.is_empty(), "{open:?} {rest:?}");
        Self { elements }
    }

    /// All elements of a name.
    pub fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.elements.iter().filter(move |element| element.name == name)
    }

    /// The values of an attribute, wherever it is.
    pub fn values(&self, attribute: &str) -> Vec<&str> {
        self.elements
            .iter()
            .filter_map(|element| element.get(attribute))
            .collect()
    }

    /// The only element with this attribute.
    pub fn one(&self, attribute: &str, value: &str) -> &Element {
        let found: Vec<_> = self
            .elements
            .iter()
            .filter(|element| element.get(attribute) == Some(value))
            .collect();
        let [one] = found[..] else {
            panic!("{} elements have {attribute}={value}", found.len())
        };
        one
    }

    /// Everything that the body says.
    pub fn text(&self) -> &str {
        &self.named("body").next().unwrap().text
    }

    pub fn title(&self) -> &str {
        // Pictures have titles, too.
        &self
            .elements
            .iter()
            .find(|element| element.name == "title")
            .unwrap()
            .text
    }
}

impl Element {
    pub fn get(&self, attribute: &str) -> Option<&str> {
        self.attributes.get(attribute).map(String::as_str)
    }
}

/// Where a tag ends: at a `>` that stands in no value.
fn tag_end(tag: &str) -> usize {
    let mut is_quoted = false;
    for (at, c) in tag.char_indices() {
        match c {
            '"' => is_quoted = !is_quoted,
            '>' if !is_quoted => return at,
            _ => {}
        }
    }
    panic!("a tag has no end: {tag}")
}

fn element(inside: &str) -> Element {
    let (name, mut rest) = inside.split_once(' ').unwrap_or((inside, ""));
    assert!(
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric()),
        "{inside}"
    );
    let mut attributes = BTreeMap::new();
    while !rest.is_empty() {
        let at = rest.find(['=', ' ']).unwrap_or(rest.len());
        let (key, value) = rest.split_at(at);
        let value = match value.strip_prefix("=\"") {
            Some(quoted) => {
                let (value, more) = quoted.split_once('"').expect("a value is quoted");
                rest = more;
                value
            }
            None => {
                rest = value;
                ""
            }
        };
        assert!(!value.contains('<'), "{inside}");
        let is_new = attributes.insert(key.to_owned(), unescaped(value)).is_none();
        assert!(is_new, "{key} twice in {inside}");
        rest = rest.trim_start();
    }
    Element {
        name: name.to_owned(),
        attributes,
        text: String::new(),
    }
}

fn unescaped(text: &str) -> String {
    for (at, _) in text.match_indices('&') {
        let known = ["&amp;", "&lt;", "&gt;", "&quot;"];
        assert!(known.iter().any(|name| text[at..].starts_with(name)), "{text}");
    }
    let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"");
    text.replace("&amp;", "&")
}
