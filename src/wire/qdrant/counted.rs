//! A list of which only so much is kept.

use super::limits::MOST_NAMES;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use std::fmt;
use std::marker::PhantomData;

/// The first elements of a list, and how many there are in all.
pub(super) struct Counted<T> {
    pub(super) first: Vec<T>,
    pub(super) count: usize,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Counted<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(List(PhantomData))
    }
}

struct List<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for List<T> {
    type Value = Counted<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Counted<T>, A::Error> {
        let mut first = Vec::new();
        while first.len() < MOST_NAMES
            && let Some(element) = list.next_element()?
        {
            first.push(element);
        }
        let mut count = first.len();
        while count >= MOST_NAMES && list.next_element::<IgnoredAny>()?.is_some() {
            count += 1;
        }
        Ok(Counted { first, count })
    }
}
