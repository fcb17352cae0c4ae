//! Which language a reader gets.

/// A language of the pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Language {
    #[default]
    English,
    /// As it is written in Taiwan.
    Chinese,
}

impl Language {
    pub(super) const ALL: [Self; 2] = [Self::English, Self::Chinese];

    /// For links.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Chinese => "zh-TW",
        }
    }

    /// For the `lang` attribute.
    pub(super) fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Chinese => "zh-Hant-TW",
        }
    }

    /// As its readers call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::English => "English",
            Self::Chinese => "繁體中文",
        }
    }

    /// That of a tag like `zh-TW`, whatever its region.
    pub(super) fn of(tag: &str) -> Option<Self> {
        let primary = tag.split('-').next().unwrap_or_default();
        match primary {
            _ if primary.eq_ignore_ascii_case("en") => Some(Self::English),
            _ if primary.eq_ignore_ascii_case("zh") => Some(Self::Chinese),
            _ => None,
        }
    }

    /// The best of those that `Accept-Language` names, the first of equals.
    pub(super) fn accepted(header: &str) -> Self {
        let mut best: Option<(f32, Self)> = None;
        for part in header.split(',') {
            let (tag, weight) = part.split_once(';').unwrap_or((part, "q=1"));
            let weight = weight.trim().strip_prefix("q=").and_then(|q| q.trim().parse().ok());
            let (Some(language), Some(weight)) = (Self::of(tag.trim()), weight) else {
                continue;
            };
            if weight > 0.0 && best.is_none_or(|(other, _)| weight > other) {
                best = Some((weight, language));
            }
        }
        best.map(|(_, language)| language).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_is_the_one_that_the_reader_likes_best() {
        for (header, language) in [
            ("", Language::English),
            ("en-US,en;q=0.9", Language::English),
            ("zh-TW,zh;q=0.9,en;q=0.8", Language::Chinese),
            ("fr;q=1, zh-Hant;q=0.3, en;q=0.2", Language::Chinese),
            ("en;q=0.5,zh;q=0.5", Language::English),
            ("zh;q=0,en;q=0.1", Language::English),
            ("zh;q=x,de", Language::English),
            ("*", Language::English),
        ] {
            assert_eq!(Language::accepted(header), language, "{header}");
        }
        for language in Language::ALL {
            assert_eq!(Language::of(language.word()), Some(language));
            assert_eq!(Language::of(language.tag()), Some(language));
        }
    }
}
