//! The description of everything below `/v1`, made from the types and attributes of the handlers. It is checked in as
//! `openapi/v1.json`; a test holds it against what the code says.

use super::super::{backups, collections, pin, status};
use super::{begin, delete, operations};
use crate::base::error::Code;
use crate::server::api::Problem;
use crate::server::error::HTTP_CODES;
use axum::http::header;
use axum::response::IntoResponse;
use serde_json::Value;
use std::collections::BTreeMap;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, Modify, OpenApi, ToSchema};

/// What is served: the document as it was checked in.
const DOCUMENT: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/openapi/v1.json"));

#[derive(OpenApi)]
#[openapi(
    info(
        title = "qdrant-backup",
        description = "Backs up a Qdrant, restores it, and proves that backups can be restored. What works for long is an \
                       operation: its request is answered 202 with `Location`, and the operation tells how far it is and what \
                       it came to."
    ),
    paths(
        operations::list,
        operations::show,
        operations::act,
        begin::backup,
        begin::restore,
        begin::drill,
        begin::verification,
        begin::prune,
        backups::list,
        backups::show,
        delete::delete,
        pin::pin,
        pin::unpin,
        collections::list,
        status::status,
        serve
    ),
    components(schemas(Problem)),
    modifiers(&Bearer),
    security((), ("bearer" = []))
)]
struct Description;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let mut bearer = Http::new(HttpAuthScheme::Bearer);
        bearer.description = Some("Unless the service trusts everybody on its machine.".to_owned());
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    }
}

/// This description.
#[utoipa::path(
    get,
    path = "/v1/openapi.json",
    operation_id = "openapi",
    tag = "Status",
    responses(ReadProblems, (status = 200, description = "OpenAPI 3.1.", body = Value))
)]
pub(super) async fn serve() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT)
}

/// The errors of a request that only looks.
pub(in super::super) struct ReadProblems;

/// The errors of a request that may change something.
pub(in super::super) struct Problems;

impl IntoResponses for ReadProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(|status| !matches!(status, 405 | 408 | 409 | 412 | 413 | 422))
    }
}

impl IntoResponses for Problems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(|status| !matches!(status, 405 | 412))
    }
}

/// Those of all codes that have one of these statuses.
fn problems(has: impl Fn(u16) -> bool) -> BTreeMap<String, RefOr<Response>> {
    let mut codes: BTreeMap<u16, Vec<String>> = BTreeMap::new();
    let of_operations = Code::ALL.iter().map(|code| (code.http_status(), code.to_string()));
    let of_requests = HTTP_CODES.iter().map(|code| (code.status, code.code.to_owned()));
    for (status, code) in of_requests.chain(of_operations).filter(|(status, _)| has(*status)) {
        codes.entry(status).or_default().push(format!("`{code}`"));
    }
    let problem = |codes: Vec<String>| {
        let schema = Ref::from_schema_name(Problem::name());
        ResponseBuilder::new()
            .description(codes.join(", "))
            .content(
                "application/problem+json",
                ContentBuilder::new().schema(Some(schema)).build(),
            )
            .build()
            .into()
    };
    codes
        .into_iter()
        .map(|(status, codes)| (status.to_string(), problem(codes)))
        .collect()
}

/// The document, as it is to be checked in.
pub fn openapi() -> String {
    // Of maps and texts, which can always be written.
    let mut document = serde_json::to_value(Description::openapi()).unwrap_or_default();
    tidy(&mut document);
    serde_json::to_string_pretty(&document).unwrap_or_default() + "\n"
}

/// A body that may be left out is no null. Texts name no items of the code.
fn tidy(value: &mut Value) {
    match value {
        Value::Array(list) => list.iter_mut().for_each(tidy),
        Value::Object(fields) => {
            if let Some(content) = fields
                .get_mut("requestBody")
                .and_then(|body| body.pointer_mut("/content/application~1json"))
                && let Some(schema) = content.pointer("/schema/oneOf/0").cloned()
            {
                content["schema"] = schema;
            }
            if let Some(Value::String(text)) = fields.get_mut("description") {
                while let Some((before, rest)) = text.split_once(", see [`") {
                    let after = rest.split_once("`]").map_or("", |(_, after)| after);
                    *text = format!("{before}{after}");
                }
            }
            fields.values_mut().for_each(tidy);
            // Whether a map keeps its order depends on what else is built.
            let sorted: BTreeMap<String, Value> = std::mem::take(fields).into_iter().collect();
            fields.extend(sorted);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_route_is_described_and_nothing_else_is() {
        let mut routes = BTreeSet::new();
        // However its lines are broken.
        let source = include_str!("../v1.rs").split_whitespace().collect::<String>();
        for route in source.split(".route(\"").skip(1) {
            let (path, rest) = route.split_once("\",").unwrap();
            for method in ["get", "post", "put", "delete"] {
                let is_taken = rest.starts_with(&format!("{method}(")) || rest.contains(&format!(").{method}("));
                let path = match (method, path) {
                    ("post", "/v1/operations/{id}") => "/v1/operations/{id}:cancel",
                    (_, path) => path,
                };
                if is_taken {
                    routes.insert(format!("{method} {path}"));
                }
            }
        }
        let document: Value = serde_json::from_str(&openapi()).unwrap();
        let mut described = BTreeSet::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            described.extend(
                methods
                    .as_object()
                    .unwrap()
                    .keys()
                    .map(|method| format!("{method} {path}")),
            );
        }
        assert_eq!(routes, described);
        assert!(routes.len() > 10, "{routes:?}");
    }

    #[test]
    fn every_reference_in_it_leads_somewhere() {
        let document: Value = serde_json::from_str(&openapi()).unwrap();
        assert_eq!(document["openapi"], "3.1.0");
        let text = document.to_string();
        for reference in text.split("\"$ref\":\"#").skip(1) {
            let at = reference.split('"').next().unwrap();
            assert!(document.pointer(at).is_some(), "{at}");
        }
        assert!(!text.contains("[`"), "a link to an item of the code");
    }
}
