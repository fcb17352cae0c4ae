//! Points read as a sample, with their vectors.

use super::{Qdrant, SnapshotOf, segments};
use crate::base::error::Result;
use reqwest::Method;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt;
use std::time::{Duration, Instant};

/// Points asked for first.
const PAGE: usize = 10;
/// Where the first page is smaller than that, all others are asked for at once.
const SMALL_PAGE: usize = 128 << 10;
/// A collection may limit its reads per minute, and others need them.
const LONGEST_SAMPLE: Duration = Duration::from_secs(20);

/// What a vector is, without its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Shape {
    /// So many numbers; of several vectors in the place of one each has so many.
    Dense(usize),
    /// Several vectors in the place of one, of different sizes.
    Uneven,
    Sparse,
}

impl Qdrant {
    /// Reads the first `limit` points by id, with payload and vectors, in pages: points may be large, and strict mode may limit
    /// a page. Ends early, and says so, where that would take more than an answer may have.
    pub async fn sample(&self, of: impl Into<SnapshotOf<'_>>, limit: usize) -> Result<Sample> {
        #[derive(Deserialize)]
        struct Page {
            points: Vec<Point>,
            next_page_offset: Option<Value>,
        }
        #[derive(Deserialize)]
        struct Point {
            vector: Option<Vectors>,
        }
        let of = of.into();
        let doing = format!("reading points of {of}");
        let path = of.scroll_path();
        let began = Instant::now();
        let (mut sample, mut offset, mut page) = (Sample::default(), None, PAGE);
        let mut may_grow = true;
        while sample.points < limit {
            let count = page.min(limit - sample.points);
            let body = json!({ "limit": count, "with_payload": true, "with_vector": true, "offset": offset });
            let answer = self.read(Method::POST, &segments(&path), Some(&body), &doing).await?;
            match answer.is_too_large() {
                // 400: strict mode may refuse so many at once.
                _ if page > 1 && (answer.is_too_large() || answer.status == 400) => {
                    page = if page > PAGE { PAGE } else { 1 };
                    may_grow = false;
                }
                true => {
                    sample.is_cut = true;
                    break;
                }
                false => {
                    let bytes = answer.len();
                    sample.bytes += bytes;
                    let found = answer.result::<Page>(&doing).await?;
                    sample.points += found.points.len();
                    for Vectors(vectors) in found.points.into_iter().filter_map(|point| point.vector) {
                        sample.with_vectors += 1;
                        sample.vectors.extend(vectors);
                    }
                    offset = found.next_page_offset;
                    if offset.is_none() {
                        break;
                    }
                    if sample.bytes >= self.http.options().largest_answer || began.elapsed() >= LONGEST_SAMPLE {
                        sample.is_cut = true;
                        break;
                    }
                    if may_grow && bytes < SMALL_PAGE {
                        page = limit;
                    }
                }
            }
        }
        Ok(sample)
    }
}

/// Points that were read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    pub points: usize,
    pub(crate) with_vectors: usize,
    /// The vectors, by name; the unnamed one has the empty name.
    pub(crate) vectors: BTreeSet<(String, Shape)>,
    /// Of all answers.
    bytes: usize,
    /// Whether further points were not read because they are large, or reading them takes long.
    pub(crate) is_cut: bool,
}

/// `vector` of a point: one without a name, or several by their names.
struct Vectors(Vec<(String, Shape)>);

impl<'de> Deserialize<'de> for Vectors {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OfPoint)
    }
}

struct OfPoint;

impl<'de> Visitor<'de> for OfPoint {
    type Value = Vectors;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a vector, or vectors by their names")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Vectors, A::Error> {
        Ok(Vectors(vec![(String::new(), shape(list)?)]))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut named: A) -> Result<Vectors, A::Error> {
        let mut vectors = Vec::new();
        while let Some((name, Named(shape))) = named.next_entry::<String, Named>()? {
            vectors.push((name, shape));
        }
        Ok(Vectors(vectors))
    }
}

/// A vector that has a name.
struct Named(Shape);

impl<'de> Deserialize<'de> for Named {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OfName)
    }
}

struct OfName;

impl<'de> Visitor<'de> for OfName {
    type Value = Named;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a vector")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Named, A::Error> {
        shape(list).map(Named)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Named, A::Error> {
        while fields.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Named(Shape::Sparse))
    }
}

/// An element of a vector: a number, or one of several vectors, of so many.
enum Element {
    Number,
    Row(usize),
}

impl<'de> Deserialize<'de> for Element {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OfElement)
    }
}

struct OfElement;

impl<'de> Visitor<'de> for OfElement {
    type Value = Element;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number or a vector")
    }

    fn visit_f64<E>(self, _: f64) -> Result<Element, E> {
        Ok(Element::Number)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Element, E> {
        Ok(Element::Number)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Element, E> {
        Ok(Element::Number)
    }

    // What is no number, as JSON writes it.
    fn visit_unit<E>(self) -> Result<Element, E> {
        Ok(Element::Number)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Element, A::Error> {
        let mut count = 0;
        while list.next_element::<IgnoredAny>()?.is_some() {
            count += 1;
        }
        Ok(Element::Row(count))
    }
}

fn shape<'de, A: SeqAccess<'de>>(mut list: A) -> Result<Shape, A::Error> {
    let (mut numbers, mut rows) = (0, BTreeSet::new());
    while let Some(element) = list.next_element()? {
        match element {
            Element::Number => numbers += 1,
            Element::Row(size) => drop(rows.insert(size)),
        }
    }
    Ok(match (rows.pop_first(), rows.is_empty()) {
        (None, _) => Shape::Dense(numbers),
        (Some(size), true) if numbers == 0 => Shape::Dense(size),
        _ => Shape::Uneven,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shapes(vector: &str) -> Option<Vec<(String, Shape)>> {
        serde_json::from_str::<Vectors>(vector).ok().map(|Vectors(all)| all)
    }

    #[test]
    fn a_vector_is_told_by_its_size_alone() {
        let one = |shape| Some(vec![(String::new(), shape)]);
        for (vector, shape) in [
            ("[0.5, -1, 2, null]", Shape::Dense(4)),
            ("[]", Shape::Dense(0)),
            ("[[1, 2], [3, 4], [5, 6]]", Shape::Dense(2)),
            ("[[1, 2], [3]]", Shape::Uneven),
            ("[[1, 2], 3]", Shape::Uneven),
        ] {
            assert_eq!(shapes(vector), one(shape), "{vector}");
        }
        let named = r#"{"": [1], "text": [1, 2, 3], "words": {"indices": [7], "values": [0.5]}, "many": [[1, 2]]}"#;
        let of = |name: &str, shape| (name.to_owned(), shape);
        assert_eq!(
            shapes(named),
            Some(vec![
                of("", Shape::Dense(1)),
                of("text", Shape::Dense(3)),
                of("words", Shape::Sparse),
                of("many", Shape::Dense(2)),
            ])
        );
        for odd in ["1", "\"a\"", "[\"a\"]", "{\"a\": 1}", "[{}]", "true"] {
            assert_eq!(shapes(odd), None, "{odd}");
        }
    }
}
