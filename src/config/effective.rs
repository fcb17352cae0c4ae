//! What holds, and where it comes from.

use super::settings::{Source, found, settings};
use crate::base::text::without_secrets;
use serde::Serialize;

/// All settings that have a value or a default.
#[derive(Debug, Serialize)]
pub(crate) struct EffectiveConfig {
    /// The configuration file, if one is named.
    pub(crate) file: Option<String>,
    pub(crate) settings: Vec<EffectiveSetting>,
}

#[derive(Debug, Serialize)]
pub(crate) struct EffectiveSetting {
    pub(crate) variable: &'static str,
    /// Null: a secret, or a default that is no value, such as "no limit".
    pub(crate) value: Option<String>,
    pub(crate) source: &'static str,
    /// The flag, or file and line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) place: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) secret: bool,
    /// What holds, of a default that is no value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) meaning: Option<String>,
}

pub(crate) fn effective(env: super::Env<'_>) -> EffectiveConfig {
    let settings = settings().filter_map(|setting| {
        let secret = setting.is_secret();
        let (value, meaning, (source, place)) = match found(env, setting.variable) {
            Some((value, source)) => (
                (!secret).then(|| without_secrets(&value)),
                None,
                match source {
                    Source::Flag(flag) => ("flag", Some(flag.to_owned())),
                    Source::Variable => ("variable", None),
                    Source::File(place) => ("file", Some(place)),
                },
            ),
            // Of older forms and of what a platform sets, only what is set.
            None if setting.default.is_empty() || !(secret || setting.is_in_file()) => return None,
            None => {
                // A value stands between backticks, and nothing beside it.
                let value = setting
                    .default
                    .strip_prefix('`')
                    .and_then(|rest| rest.strip_suffix('`'));
                let value = value.filter(|value| !value.contains('`'));
                let meaning = value.is_none().then(|| setting.default.replace('`', ""));
                (value.map(str::to_owned), meaning, ("default", None))
            }
        };
        Some(EffectiveSetting {
            variable: setting.variable,
            value,
            source,
            place,
            secret,
            meaning,
        })
    });
    EffectiveConfig {
        file: env.file().map(|file| file.path().display().to_string()),
        settings: settings.collect(),
    }
}
