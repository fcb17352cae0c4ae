//! Every answer of Cloud Storage to every call: what is done about one that passes, what about one that stays, and what the
//! person is told. The table is a snapshot, to be read row by row.

use futures_util::StreamExt as _;
use gcs_emulator::{Emulator, Fault, On, RequestLine};
use qdrant_backup::base::error::{Code, Result};
use qdrant_backup::wire::store::{GcsStore, Store, Version};
use std::fmt::Write as _;
use testkit::source::noise;
use testkit::store::{BUCKET, collect, emulator, gcs, put, swap};

/// Answers over JSON: status and reason, as Google's list of both has them.
const JSON: &[(u16, &str)] = &[
    (400, "invalid"),
    (400, "userProjectMissing"),
    (400, "cloudKmsDisabledKey"),
    (401, "authError"),
    (403, "forbidden"),
    (403, "retentionPolicyNotMet"),
    (403, "objectUnderActiveHold"),
    (403, "rateLimitExceeded"),
    (403, "userRateLimitExceeded"),
    (403, "quotaExceeded"),
    (403, "vpcServiceControls"),
    (403, "accessNotConfigured"),
    (403, "accountDisabled"),
    (403, "userProjectAccountProblem"),
    (403, "cloudKmsPermissionDenied"),
    (404, "notFound"),
    (408, "uploadBrokenConnection"),
    (409, "conflict"),
    (410, "gone"),
    (412, "conditionNotMet"),
    (412, "orgPolicyConstraintFailed"),
    (413, "uploadTooLarge"),
    (416, "requestedRangeNotSatisfiable"),
    (429, "rateLimitExceeded"),
    (500, "backendError"),
    (502, "badGateway"),
    (503, "backendError"),
    (504, "gatewayTimeout"),
    (507, ""),
];

/// Answers over gRPC: code and reason, as `google.api.ErrorReason` and the JSON API have them.
const RPC: &[(i32, &str, &str)] = &[
    (1, "CANCELLED", ""),
    (2, "UNKNOWN", ""),
    (3, "INVALID_ARGUMENT", ""),
    (4, "DEADLINE_EXCEEDED", ""),
    (5, "NOT_FOUND", ""),
    (6, "ALREADY_EXISTS", ""),
    (7, "PERMISSION_DENIED", ""),
    (7, "PERMISSION_DENIED", "IAM_PERMISSION_DENIED"),
    (7, "PERMISSION_DENIED", "ACCESS_TOKEN_SCOPE_INSUFFICIENT"),
    (7, "PERMISSION_DENIED", "SERVICE_DISABLED"),
    (7, "PERMISSION_DENIED", "BILLING_DISABLED"),
    (7, "PERMISSION_DENIED", "USER_PROJECT_DENIED"),
    (7, "PERMISSION_DENIED", "SECURITY_POLICY_VIOLATED"),
    (7, "PERMISSION_DENIED", "retentionPolicyNotMet"),
    (7, "PERMISSION_DENIED", "objectUnderActiveHold"),
    (7, "PERMISSION_DENIED", "cloudKmsPermissionDenied"),
    (8, "RESOURCE_EXHAUSTED", ""),
    (8, "RESOURCE_EXHAUSTED", "RATE_LIMIT_EXCEEDED"),
    (8, "RESOURCE_EXHAUSTED", "RESOURCE_QUOTA_EXCEEDED"),
    (9, "FAILED_PRECONDITION", ""),
    (9, "FAILED_PRECONDITION", "orgPolicyConstraintFailed"),
    (10, "ABORTED", ""),
    (11, "OUT_OF_RANGE", ""),
    (12, "UNIMPLEMENTED", ""),
    (13, "INTERNAL", ""),
    (14, "UNAVAILABLE", ""),
    (15, "DATA_LOSS", ""),
    (16, "UNAUTHENTICATED", ""),
    (16, "UNAUTHENTICATED", "ACCESS_TOKEN_EXPIRED"),
];

/// A call, at the request of it that is answered so.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Call {
    Create(On),
    Replace(On),
    Read,
    ReadRest,
    Head,
    List,
    Folder,
    Delete,
    Check,
}

/// With its name in the table.
const OVER_JSON: &[(Call, &str)] = &[
    (Call::Create(On::Start), "create an object: start of the upload"),
    (Call::Create(On::Put), "create an object: its bytes"),
    (
        Call::Create(On::Query),
        "create an object: how much is there, after a broken connection",
    ),
    (
        Call::Replace(On::Start),
        "replace an object (lease): start of the upload",
    ),
    (Call::Replace(On::Put), "replace an object (lease): its bytes"),
    (Call::Read, "read an object: start"),
    (Call::ReadRest, "read an object: the rest, after a broken connection"),
];
const OVER_RPC: &[(Call, &str)] = &[
    (Call::Head, "look an object up"),
    (Call::List, "list objects"),
    (Call::Folder, "list a folder"),
    (Call::Delete, "delete an object"),
    (Call::Check, "check the rights"),
];

/// What came of a call.
struct Outcome {
    /// How often the request in question was made.
    asked: usize,
    came: Result<String>,
}

impl Call {
    fn on(self) -> On {
        match self {
            Self::Create(on) | Self::Replace(on) => on,
            Self::Read | Self::ReadRest => On::Read,
            Self::Head => On::Get,
            Self::List | Self::Folder => On::List,
            Self::Delete => On::Delete,
            Self::Check => On::Bucket,
        }
    }

    async fn meets(self, at: &Table, times: usize, fault: Fault) -> Outcome {
        let key = format!("row-{}", uuid::Uuid::new_v4());
        let name = format!("p/{key}");
        let version = match self {
            Self::Create(_) => Version(String::new()),
            _ => Version(at.emulator.plant(BUCKET, &name, noise(2000, 1)).to_string()),
        };
        match self {
            Self::Create(On::Query) => drop(at.emulator.fault(&name, 1, Fault::ResetPut { after: 0 })),
            Self::ReadRest => drop(at.emulator.fault(&name, 1, Fault::ResetRead { after: 500 })),
            _ => {}
        }
        let begun = match self {
            Self::ReadRest => {
                let mut stream = at.store.get(&key, None, None).await.unwrap().unwrap();
                assert_eq!(stream.next().await.unwrap().unwrap().len(), 500);
                Some(stream)
            }
            _ => None,
        };
        let pattern = match self.on() {
            On::List | On::Bucket => "*",
            _ => &name,
        };
        let before = at.asked(self.on());
        let armed = at.emulator.fault(pattern, times, fault);
        let came = match begun {
            Some(rest) => collect(rest).await.map(|rest| format!("{} bytes", rest.len())),
            None => self.make(&at.store, &key, &version).await,
        };
        armed.disarm();
        let asked = at.asked(self.on()) - before;
        if matches!(self, Self::Create(_)) {
            assert_eq!(
                at.emulator.object(BUCKET, &name).is_some(),
                came.is_ok(),
                "{self:?} {fault:?}"
            );
        }
        // For the next list.
        at.emulator.remove(BUCKET, &name);
        Outcome { asked, came }
    }

    async fn make(self, store: &GcsStore, key: &str, version: &Version) -> Result<String> {
        Ok(match self {
            Self::Create(_) => put(store, key, &noise(1000, 1)).await.map(|_| "stored".to_owned())?,
            Self::Replace(_) => swap(store, key, &noise(1000, 2), version)
                .await
                .map(|_| "stored".to_owned())?,
            Self::Read | Self::ReadRest => match store.get(key, None, None).await? {
                Some(stream) => format!("{} bytes", collect(stream).await?.len()),
                None => "no object".to_owned(),
            },
            Self::Head => match store.head(key).await? {
                Some(_) => "found".to_owned(),
                None => "no object".to_owned(),
            },
            Self::List => {
                let listed: Vec<_> = store.list("").await?.collect().await;
                let listed: Result<Vec<_>> = listed.into_iter().collect();
                format!("{} objects", listed?.len())
            }
            Self::Folder => format!("{} objects", store.folder("").await?.objects.len()),
            Self::Delete => match store.delete(key, version).await? {
                true => "deleted".to_owned(),
                false => "changed or gone".to_owned(),
            },
            Self::Check => store.check().await.map(|()| "granted".to_owned())?,
        })
    }
}

/// The table as it grows.
struct Table {
    emulator: Emulator,
    store: GcsStore,
    text: String,
    remedies: Vec<String>,
}

impl Table {
    /// Requests of that kind so far.
    fn asked(&self, on: On) -> usize {
        let is_query = |r: &RequestLine| r.content_range.as_deref() == Some("bytes */*");
        let requests = self.emulator.requests().into_iter();
        let of_kind = requests.filter(|r| match on {
            On::Start => r.method == "POST" && r.target.starts_with("/upload/"),
            On::Put => r.method == "PUT" && !is_query(r),
            On::Query => r.method == "PUT" && is_query(r),
            On::Read => r.method == "GET",
            On::Get => r.target.ends_with("/GetObject"),
            On::List => r.target.ends_with("/ListObjects"),
            On::Delete => r.target.ends_with("/DeleteObject"),
            _ => r.target.ends_with("/TestIamPermissions"),
        });
        of_kind.count()
    }

    async fn row(&mut self, call: Call, answer: &str, fault: Fault) {
        let once = call.meets(self, 1, fault).await;
        let for_ever = call.meets(self, usize::MAX, fault).await;
        for outcome in [&once, &for_ever] {
            if let Err(error) = &outcome.came {
                let remedy = error.remedy_text().unwrap_or_default();
                assert!(!remedy.is_empty(), "{answer}: {error}");
                // Only who lacks a right is told to get one.
                let lacks_a_right = remedy.contains("grant ");
                assert_eq!(
                    lacks_a_right,
                    error.code() == Code::StoreForbidden && is_of_a_right(answer),
                    "{answer}: {error}"
                );
                if answer.contains("401") || answer.contains("UNAUTHENTICATED") {
                    assert_eq!(error.code(), Code::StoreUnauthorized, "{error}");
                }
            }
        }
        let (once, for_ever) = (self.cell(&once), self.cell(&for_ever));
        let _ = writeln!(self.text, "  {answer:<52}{once:<32}{for_ever}");
    }

    fn cell(&mut self, outcome: &Outcome) -> String {
        let asked = match outcome.asked {
            1 => String::new(),
            n => format!(", asked {n}x"),
        };
        match &outcome.came {
            Ok(text) => format!("{text}{asked}"),
            Err(error) => {
                let again = if error.is_permanent() { "" } else { "~" };
                let remedy = match error.remedy_text() {
                    Some(text) => format!("({})", self.remedy(text)),
                    None => "(none)".to_owned(),
                };
                format!("{}{again}{asked} {remedy}", error.code())
            }
        }
    }

    fn remedy(&mut self, text: &str) -> usize {
        let mut text = text.to_owned();
        while let Some(at) = text.find("row-") {
            text.replace_range(at..at + "row-".len() + 36, "KEY");
        }
        let known = self.remedies.iter().position(|r| *r == text);
        known.unwrap_or_else(|| {
            self.remedies.push(text);
            self.remedies.len() - 1
        }) + 1
    }
}

/// Whether an answer means no more than that a right is missing. Downloads are refused without a reason.
fn is_of_a_right(answer: &str) -> bool {
    [
        "403 forbidden",
        "403 without a reason",
        "PERMISSION_DENIED ",
        "PERMISSION_DENIED IAM_PERMISSION_DENIED",
    ]
    .contains(&answer)
}

#[tokio::test]
async fn every_answer_to_every_call() {
    let emulator = emulator().await;
    let mut table = Table {
        store: gcs(&emulator, "p").await,
        emulator,
        text: "An answer that comes once, and one that comes for ever (4 attempts are allowed). ~: the caller may try again.\n"
            .to_owned(),
        remedies: Vec::new(),
    };
    for (call, name) in OVER_JSON {
        let _ = writeln!(table.text, "\n{name} (JSON)");
        let mut seen = Vec::new();
        for (code, reason) in JSON {
            let answer = match call {
                Call::Read | Call::ReadRest => format!("{code} without a reason"),
                _ => format!("{code} {reason}"),
            };
            if seen.contains(&answer) {
                continue;
            }
            let fault = Fault::Refusal {
                on: call.on(),
                code: *code,
                reason,
            };
            table.row(*call, &answer, fault).await;
            seen.push(answer);
        }
    }
    for (call, name) in OVER_RPC {
        let _ = writeln!(table.text, "\n{name} (gRPC)");
        for (code, word, reason) in RPC {
            let fault = Fault::Rpc {
                on: call.on(),
                code: *code,
                reason,
            };
            table.row(*call, &format!("{word} {reason}"), fault).await;
        }
    }
    table.text.push_str("\nRemedies\n");
    for (at, remedy) in table.remedies.iter().enumerate() {
        let _ = writeln!(table.text, "  ({}) {remedy}", at + 1);
    }
    insta::assert_snapshot!(table.text);
}
