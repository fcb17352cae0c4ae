//! What an answer of Cloud Storage means, and whether the call is made again: one rule for both of its protocols.
//!
//! JSON gives a status and, but for downloads, a reason; gRPC gives a code and, not always, a reason. The reasons are those of
//! <https://cloud.google.com/storage/docs/json_api/v1/status-codes> and of `google.api.ErrorReason`.

use google_cloud_gax::error::rpc::{Code as Rpc, StatusDetails};
use google_cloud_storage::Error as GcsError;
use serde_json::Value;
use std::error::Error as StdError;

/// Answers that callers tell apart, and that have their own remedy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// No such object, or the upload session is gone.
    NotFound,
    /// No such bucket.
    NoBucket,
    /// The upload session is over.
    Gone,
    /// The precondition does not hold.
    Condition,
    /// The range begins behind the end.
    Range,
    /// No token could be had.
    NoToken,
    /// The token is not accepted.
    Token,
    /// The token is for reading only, whatever the account may do.
    Scope,
    /// A right is missing. A hold on an object has the same answer.
    Right,
    /// Refused for a reason that is not given.
    Forbidden,
    /// A retention policy keeps the object.
    Retained,
    /// A hold keeps the object.
    Held,
    /// A service perimeter is in the way.
    Perimeter,
    /// An organization policy forbids it.
    Policy,
    /// The API is not turned on.
    Api,
    /// The project is not paid for.
    Billing,
    /// Who reads has to pay.
    RequesterPays,
    /// The key of the bucket cannot be used.
    Key,
    /// Too many requests at once.
    Rate,
    /// A quota is used up.
    Full,
    /// Somebody else changes the same thing at the same time.
    Contended,
    /// The call is not implemented (emulators only).
    Unimplemented,
    /// Worth another try later.
    Unreachable,
    /// Anything else.
    Other,
}

impl Kind {
    pub(super) fn of(error: &GcsError) -> Self {
        if error.is_authentication() {
            return Self::NoToken;
        }
        // The client wraps what happens before an upload request is sent.
        let cause = StdError::source(error).and_then(|e| e.downcast_ref::<GcsError>());
        if let Some(cause) = cause {
            return Self::of(cause);
        }
        let kind = match (error.http_status_code(), error.status().map(|s| s.code)) {
            (Some(status), _) => Self::of_status(status),
            (None, Some(code)) => Self::of_code(code),
            (None, None) if error.is_serialization() || error.is_deserialization() || error.is_binding() => Self::Other,
            (None, None) => Self::Unreachable,
        };
        match (kind, reason(error)) {
            (Self::NotFound, _) if speaks_of_the_bucket(error) => Self::NoBucket,
            // Whatever else is said of it: it is the token.
            (Self::Token, _) | (_, None) => kind,
            (_, Some(reason)) => Self::of_reason(reason).unwrap_or(kind),
        }
    }

    /// The same of an answer of the JSON API that did not come by the client.
    pub(super) fn of_answer(status: u16, body: &[u8]) -> Self {
        let kind = Self::of_status(status);
        let said: Value = serde_json::from_slice(body).unwrap_or_default();
        let reason = said["error"]["errors"][0]["reason"].as_str();
        match kind {
            Self::NotFound if is_of_the_bucket(&String::from_utf8_lossy(body)) => Self::NoBucket,
            Self::Token => kind,
            _ => reason.and_then(Self::of_reason).unwrap_or(kind),
        }
    }

    fn of_status(status: u16) -> Self {
        match status {
            401 => Self::Token,
            403 => Self::Right,
            404 => Self::NotFound,
            409 => Self::Contended,
            410 => Self::Gone,
            412 => Self::Condition,
            416 => Self::Range,
            429 => Self::Rate,
            507 => Self::Full,
            408 | 500.. => Self::Unreachable,
            _ => Self::Other,
        }
    }

    fn of_code(code: Rpc) -> Self {
        match code {
            Rpc::Unauthenticated => Self::Token,
            Rpc::PermissionDenied => Self::Right,
            Rpc::NotFound => Self::NotFound,
            Rpc::Aborted => Self::Contended,
            Rpc::FailedPrecondition => Self::Condition,
            Rpc::OutOfRange => Self::Range,
            Rpc::ResourceExhausted => Self::Rate,
            Rpc::Unimplemented => Self::Unimplemented,
            // Unknown is what a proxy's answer becomes, cancelled what a connection's end can: all calls may be repeated.
            Rpc::Unavailable | Rpc::Internal | Rpc::DeadlineExceeded | Rpc::Unknown | Rpc::Cancelled => {
                Self::Unreachable
            }
            _ => Self::Other,
        }
    }

    /// `None` for a reason that says no more than the status.
    fn of_reason(reason: &str) -> Option<Self> {
        let word = reason.to_ascii_lowercase();
        Some(match word.strip_prefix("usagelimits.").unwrap_or(&word) {
            "retentionpolicynotmet" => Self::Retained,
            "objectunderactivehold" => Self::Held,
            "access_token_scope_insufficient" => Self::Scope,
            "vpcservicecontrols" | "security_policy_violated" => Self::Perimeter,
            "orgpolicyconstraintfailed" | "resource_usage_restriction_violated" | "location_org_policy_violated" => {
                Self::Policy
            }
            "accessnotconfigured" | "service_disabled" => Self::Api,
            "accountdisabled"
            | "userprojectaccountproblem"
            | "billingnotenabled"
            | "billing_disabled"
            | "consumer_suspended" => Self::Billing,
            "userprojectmissing" | "userprojectaccessdenied" | "user_project_denied" => Self::RequesterPays,
            "ratelimitexceeded" | "userratelimitexceeded" | "rate_limit_exceeded" => Self::Rate,
            "quotaexceeded" | "dailylimitexceeded" | "resource_quota_exceeded" => Self::Full,
            word if word.starts_with("cloudkms") => Self::Key,
            _ => return None,
        })
    }

    /// Whether the same call may well succeed a moment later.
    pub(super) fn is_passing(self) -> bool {
        matches!(
            self,
            // Most quotas are by the minute.
            Self::NoToken | Self::Token | Self::Rate | Self::Full | Self::Contended | Self::Unreachable
        )
    }
}

/// What the service gives as the reason.
fn reason(error: &GcsError) -> Option<&str> {
    let details = &error.status()?.details;
    details.iter().find_map(|detail| match detail {
        StatusDetails::ErrorInfo(info) => Some(info.reason.as_str()).filter(|reason| !reason.is_empty()),
        _ => None,
    })
}

/// A bucket that is not there has the status and the reason of an object that is not there; only the text differs.
fn speaks_of_the_bucket(error: &GcsError) -> bool {
    let status = error.status().map(|s| s.message.clone());
    let payload = error.http_payload().map(|p| String::from_utf8_lossy(p).into_owned());
    let texts = [status, payload];
    texts.iter().flatten().any(|text| is_of_the_bucket(text))
}

fn is_of_the_bucket(text: &str) -> bool {
    text.to_lowercase().contains("bucket does not exist")
}
