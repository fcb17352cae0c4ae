//! What the description says of types of the layers below, which know nothing of it.

use crate::base::error::ErrorInfo;
use crate::repository::names::{BackupId, RunId};
use std::borrow::Cow;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

fn text(description: &str, pattern: &str) -> RefOr<Schema> {
    let text = ObjectBuilder::new().schema_type(Type::String);
    text.description(Some(description)).pattern(Some(pattern)).into()
}

impl PartialSchema for BackupId {
    fn schema() -> RefOr<Schema> {
        text(
            "Start of the backup in UTC, to the second.",
            "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}-[0-9]{2}-[0-9]{2}Z$",
        )
    }
}

impl ToSchema for BackupId {}

impl PartialSchema for RunId {
    fn schema() -> RefOr<Schema> {
        text(
            "Start of the operation in UTC, its kind, and eight hex digits. Sorts by time.",
            "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}-[0-9]{2}-[0-9]{2}Z-[a-z_]+-[0-9a-f]{8}$",
        )
    }
}

impl ToSchema for RunId {
    fn name() -> Cow<'static, str> {
        "OperationId".into()
    }
}

impl<C> PartialSchema for ErrorInfo<C> {
    fn schema() -> RefOr<Schema> {
        let text = |description: &str| {
            let text = ObjectBuilder::new().schema_type(Type::String);
            text.description(Some(description))
        };
        ObjectBuilder::new()
            .property("code", text("Stable; the reference of errors lists all."))
            .property("message", text("What failed, on what, and why."))
            .property("remedy", Option::<String>::schema())
            .required("code")
            .required("message")
            .required("remedy")
            .into()
    }
}

impl<C> ToSchema for ErrorInfo<C> {
    fn name() -> Cow<'static, str> {
        "ErrorDetail".into()
    }
}
