//! One cause is told once, with the names of all that it concerns.

/// Names of more are counted only.
const SHOWN: usize = 10;

/// Those of one cause together, in the order of the first of each.
pub(super) fn by_cause<T, C: PartialEq>(all: &[T], cause: impl Fn(&T) -> C) -> Vec<Vec<&T>> {
    let mut causes: Vec<(C, Vec<&T>)> = Vec::new();
    for one in all {
        let own = cause(one);
        match causes.iter_mut().find(|(cause, _)| *cause == own) {
            Some((_, same)) => same.push(one),
            None => causes.push((own, vec![one])),
        }
    }
    causes.into_iter().map(|(_, same)| same).collect()
}

/// `a, b`, and `…` beyond ten.
pub(super) fn listed(names: impl IntoIterator<Item = String>) -> String {
    let mut names = names.into_iter();
    let shown: Vec<_> = names.by_ref().take(SHOWN).collect();
    let more = if names.next().is_some() { ", …" } else { "" };
    shown.join(", ") + more
}
