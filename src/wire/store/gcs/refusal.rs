//! What the person is told of a call that Cloud Storage did not do: the code, and a remedy for each cause.

use super::{answer::Kind, redacted::RedactedError};
use crate::base::clock::stamp;
use crate::base::error::{BoxError, Code, Error};
use crate::base::shell::word;
use crate::wire::store::token::NO_CREDENTIALS;
use google_cloud_storage::Error as GcsError;
use time::OffsetDateTime;

/// What a call does, and so which right it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Writes an object that is not there.
    Create,
    /// Writes over an object, as the lease does.
    Replace,
    /// Reads an object, or what is known of it.
    Read,
    List,
    Delete,
}

impl Action {
    fn permission(self) -> &'static str {
        match self {
            Self::Create => "storage.objects.create",
            Self::Replace => "storage.objects.create and storage.objects.delete",
            Self::Read => "storage.objects.get",
            Self::List => "storage.objects.list",
            Self::Delete => "storage.objects.delete",
        }
    }

    /// The smallest predefined role that holds it. terraform/iam.tf grants the same, on the objects where it is needed.
    fn role(self) -> &'static str {
        match self {
            Self::Create => "roles/storage.objectCreator",
            Self::Replace | Self::Delete => "roles/storage.objectUser",
            Self::Read | Self::List => "roles/storage.objectViewer",
        }
    }
}

/// A call, for whoever has to explain its failure.
#[derive(Clone, Debug)]
pub(super) struct Call {
    /// What was done, with its object: `write gs://b/o`.
    pub(super) doing: String,
    pub(super) action: Action,
    pub(super) bucket: String,
    /// The object, as `gs://b/o`; none for lists.
    pub(super) object: Option<String>,
}

impl Call {
    /// The error of an answer to this call.
    pub(super) fn failed(&self, error: &GcsError) -> Error {
        self.refused(Kind::of(error), RedactedError::by(error))
    }

    /// The error of an answer to a call that concerns the whole bucket: what is not there then is the bucket.
    pub(super) fn of_bucket(&self, error: &GcsError) -> Error {
        match Kind::of(error) {
            Kind::NotFound => self.refused(Kind::NoBucket, RedactedError::by(error)),
            _ => self.failed(error),
        }
    }

    /// The error of an answer of this kind.
    pub(super) fn refused(&self, kind: Kind, cause: impl Into<BoxError>) -> Error {
        if kind == Kind::NoBucket {
            return missing_bucket(&self.bucket).because(cause);
        }
        Error::new(code(kind), self.doing.clone())
            .because(cause)
            .remedy(self.remedy(kind))
    }

    /// The error of a change to an object that a retention policy keeps until then.
    pub(super) fn retained(&self, until: OffsetDateTime, cause: impl Into<BoxError>) -> Error {
        let (until, grant) = (stamp(until), self.grant());
        self.refused(Kind::Retained, cause).remedy(format!(
            "wait until {until}, when the retention of the object ends; if that has passed, {grant}"
        ))
    }

    fn remedy(&self, kind: Kind) -> String {
        let bucket = &self.bucket;
        match kind {
            Kind::NoToken => NO_CREDENTIALS.to_owned(),
            Kind::Token => format!(
                "check that the account that runs this exists and is not disabled, and the clock of this machine: Cloud \
                 Storage accepts no token of it, not even a fresh one; `gcloud storage ls gs://{bucket}` tries another account"
            ),
            Kind::Scope => {
                "give the machine the access scope cloud-platform (its tokens may only read, whatever is granted \
                            to its account), or run with the key file of an account"
                    .to_owned()
            }
            Kind::Right => self.grant(),
            Kind::Retained => format!(
                "wait until its retention ends: a retention policy keeps objects from being deleted or replaced, and the \
                 lease has to be replaced, so that a bucket for backups can have none; `gcloud storage buckets describe \
                 gs://{bucket} --format='yaml(retention_policy)'` shows it"
            ),
            Kind::Held => match &self.object {
                Some(object) => format!(
                    "find out who put a hold on the object; `gcloud storage objects update {} --no-temporary-hold \
                     --no-event-based-hold` releases it",
                    word(object)
                ),
                None => "find out who put a hold on the object, and release it".to_owned(),
            },
            Kind::Perimeter => {
                "allow this account and network in the service perimeter (VPC Service Controls) of the bucket's \
                                project; its administrator finds the request by the identifier in the message"
                    .to_owned()
            }
            Kind::Policy => format!(
                "ask the organization's administrator about the constraint that the message names, or choose another bucket \
                 than gs://{bucket}"
            ),
            Kind::Api => "turn on the API in the project that the message names: `gcloud services enable \
                          storage.googleapis.com`"
                .to_owned(),
            Kind::Billing => format!(
                "restore the billing of the project that owns bucket {bucket}; `gcloud billing accounts list` shows which \
                 accounts are open"
            ),
            Kind::RequesterPays => format!(
                "turn off Requester Pays, which this tool does not support: `gcloud storage buckets update gs://{bucket} \
                 --no-requester-pays`; or run in a project of the owner of the bucket"
            ),
            Kind::Key => format!(
                "enable the key of the bucket and let Cloud Storage's own account use it; `gcloud storage buckets describe \
                 gs://{bucket} --format='value(default_kms_key)'` shows the key"
            ),
            Kind::Rate => {
                "lower BACKUP_CONCURRENCY, or raise the quota that the message names; trying again later is safe"
                    .to_owned()
            }
            Kind::Full => format!("raise the quota of the project that owns bucket {bucket}"),
            Kind::Contended => "try again; somebody else changes the same object or bucket at the same time".to_owned(),
            Kind::Gone => "try again; the service dropped what it was working on".to_owned(),
            Kind::Unreachable => "check the network and the status of Cloud Storage; trying again is safe".to_owned(),
            Kind::Condition => "run it again; if it fails again, find out who else writes into this store".to_owned(),
            Kind::Range => "verify the backup: the object has fewer bytes than were asked for".to_owned(),
            Kind::NotFound => "run it again; somebody deleted the object meanwhile".to_owned(),
            Kind::NoBucket | Kind::Forbidden | Kind::Unimplemented | Kind::Other => format!(
                "read the reason in the message; `gcloud storage buckets describe gs://{bucket}` shows the settings of the \
                 bucket"
            ),
        }
    }

    fn grant(&self) -> String {
        let (bucket, role) = (&self.bucket, self.action.role());
        // The right to replace one object is none to delete backups: terraform/iam.tf has such conditions, too.
        let replaced = match self.action {
            Action::Replace => self.object.as_deref(),
            _ => None,
        };
        let condition = replaced.and_then(|object| object.strip_prefix(&format!("gs://{bucket}/")));
        let condition = condition.map_or_else(String::new, |name| {
            let resource = format!("projects/_/buckets/{bucket}/objects/{name}");
            let condition = format!("expression=resource.name == \"{resource}\",title=rewritten");
            format!(" --condition={}", word(&condition))
        });
        format!(
            "grant {} on {} to the account that runs this, with the role {role}: by Terraform, or with `gcloud storage \
             buckets add-iam-policy-binding gs://{bucket} --role={role} --member=serviceAccount:ACCOUNT{condition}`",
            self.action.permission(),
            replaced.map_or_else(|| format!("bucket {bucket}"), str::to_owned),
        )
    }
}

fn code(kind: Kind) -> Code {
    match kind {
        Kind::NoToken | Kind::Token => Code::StoreUnauthorized,
        Kind::Scope
        | Kind::Right
        | Kind::Forbidden
        | Kind::Perimeter
        | Kind::Policy
        | Kind::Api
        | Kind::Billing
        | Kind::RequesterPays
        | Kind::Key => Code::StoreForbidden,
        Kind::Retained | Kind::Held => Code::StoreRetained,
        Kind::NoBucket => Code::StoreMissing,
        Kind::Condition => Code::StoreConflict,
        Kind::Range => Code::LengthMismatch,
        Kind::Full => Code::StoreFull,
        Kind::Rate | Kind::Contended | Kind::Gone | Kind::Unreachable => Code::StoreUnreachable,
        Kind::NotFound | Kind::Unimplemented | Kind::Other => Code::StoreFailed,
    }
}

/// The error of a bucket that does not exist.
pub(super) fn missing_bucket(bucket: &str) -> Error {
    Error::new(Code::StoreMissing, format!("bucket {bucket} does not exist")).remedy(format!(
        "create it with `gcloud storage buckets create gs://{bucket}`, or correct the name"
    ))
}
