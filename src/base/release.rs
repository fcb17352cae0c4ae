//! Release versions as numbers.

/// `1.18.3` as numbers, of `1.18` with patch 0; `None` for what is no version.
pub(crate) fn release(version: &str) -> Option<(u32, u32, u32)> {
    let mut parts = version.split(['.', '-', '+']).map(|p| p.parse::<u32>().ok());
    Some((parts.next()??, parts.next()??, parts.next().flatten().unwrap_or(0)))
}
