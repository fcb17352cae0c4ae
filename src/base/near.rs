//! What somebody may have meant who misspelled a name.

/// The one of `known` that is most like `text`, of several the first: no more than one in three of its characters differs, but one always may.
pub(crate) fn nearest<'a>(text: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = text.to_lowercase();
    let distance = |name: &str| strsim::osa_distance(&lower, &name.to_lowercase());
    let near = known.into_iter().map(|name| (distance(name), name));
    let near = near.min_by_key(|(distance, _)| *distance)?;
    let most = (text.chars().count() / 3).max(1);
    (near.0 <= most).then_some(near.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_understood_and_another_word_is_not_taken_for_one() {
        let known = ["articles", "logs-2026", "a"];
        for (text, meant) in [
            ("artcles", Some("articles")),
            ("Articles", Some("articles")),
            ("logs-2025", Some("logs-2026")),
            ("b", Some("a")),
            ("documents", None),
        ] {
            assert_eq!(nearest(text, known), meant, "{text}");
        }
        assert_eq!(nearest("x", []), None);
    }
}
