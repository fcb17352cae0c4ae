//! The e-mail address that a token claims, not verified here.

use super::{Bearer, SERVERLESS, bearer};
use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

/// Longest address that mail allows.
const LONGEST: usize = 254;

/// The token that Cloud Run checks: the one in `X-Serverless-Authorization`, else the one in `Authorization`, which it does not
/// look at beside the other.
pub(super) fn platform_token(headers: &HeaderMap) -> Bearer<'_> {
    match bearer(headers, &SERVERLESS) {
        Bearer::Absent => bearer(headers, &header::AUTHORIZATION),
        other => other,
    }
}

/// The address that a token claims.
pub(super) fn of(token: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Claims {
        email: String,
    }
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let Claims { email } = serde_json::from_slice(&payload).ok()?;
    Some(email)
}

/// What the token that Cloud Run checks claims, if that is fit for a log line: for the log, and for no decision.
pub(super) fn claimed(headers: &HeaderMap) -> Option<String> {
    let Bearer::Token(token) = platform_token(headers) else {
        return None;
    };
    let email = of(token)?;
    // Anybody may have written it.
    let plain = |c: char| c.is_ascii_alphanumeric() || "@.-_+".contains(c);
    (email.len() <= LONGEST && email.contains('@') && email.chars().all(plain)).then_some(email)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn bearer(payload: &str) -> String {
        format!(
            "Bearer e30.{}.SIGNATURE_REMOVED_BY_GOOGLE",
            URL_SAFE_NO_PAD.encode(payload)
        )
    }

    fn headers(serverless: Option<&str>, authorization: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in [(SERVERLESS, serverless), (header::AUTHORIZATION, authorization)] {
            headers.extend(value.map(|value| (name, value.parse().unwrap())));
        }
        headers
    }

    #[test]
    fn the_token_that_the_platform_checked_names_the_caller() {
        let (a, b) = (bearer(r#"{"email":"a@x.test"}"#), bearer(r#"{"email":"b@x.test"}"#));
        let claimed = |s, a| claimed(&headers(s, a));
        assert_eq!(claimed(Some(&a), Some(&b)).as_deref(), Some("a@x.test"));
        assert_eq!(claimed(None, Some(&b)).as_deref(), Some("b@x.test"));
        // What the platform checked is not to be read: the other header may say anything.
        assert_eq!(claimed(Some("Bearer x"), Some(&b)), None);
        assert_eq!(claimed(None, None), None);
    }

    #[test]
    fn nothing_but_an_address_gets_into_the_log() {
        for payload in [
            "{}",
            "[]",
            r#"{"email":1}"#,
            r#"{"email":"nobody"}"#,
            r#"{"email":"a@x\nb"}"#,
            r#"{"email":"a@x\" outcome=\"done"}"#,
            &format!(r#"{{"email":"{}@x"}}"#, "a".repeat(LONGEST)),
        ] {
            assert_eq!(claimed(&headers(None, Some(&bearer(payload)))), None, "{payload}");
        }
        for value in ["", "Bearer", "Bearer ", "Basic eDp5", "Bearer a.%.c", "Bearer ...."] {
            assert_eq!(claimed(&headers(None, Some(value))), None, "{value}");
        }
    }
}
