//! Control over gRPC: the unary calls that a backup tool makes.

use crate::{
    faults::{Fault, On},
    state::{App, Object, Refusal},
};
use axum::{Router, body::Body, extract::Request, extract::State, response::Response, routing::post};
use googleapis_tonic_google_storage_v2::google::storage::v2 as pb;
use prost::Message as _;
use std::{collections::BTreeSet, sync::Arc};
use tonic::{Code, Status};

/// `google.iam.v1.TestIamPermissionsRequest`.
#[derive(Clone, PartialEq, prost::Message)]
struct TestIamPermissionsRequest {
    #[prost(string, tag = "1")]
    resource: String,
    #[prost(string, repeated, tag = "2")]
    permissions: Vec<String>,
}

/// `google.iam.v1.TestIamPermissionsResponse`.
#[derive(Clone, PartialEq, prost::Message)]
struct TestIamPermissionsResponse {
    #[prost(string, repeated, tag = "1")]
    permissions: Vec<String>,
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, prost::Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, prost::Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.ErrorInfo`, without its metadata.
#[derive(Clone, PartialEq, prost::Message)]
struct ErrorInfo {
    #[prost(string, tag = "1")]
    reason: String,
    #[prost(string, tag = "2")]
    domain: String,
}

const STORAGE: &str = "google.storage.v2.Storage";
/// Where the client asks for permissions, by whatever name it calls itself.
const CONTROL: &str = "google.storage.control.v2.StorageControl";

pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .merge(route(STORAGE, "CreateBucket", create_bucket))
        .merge(route(STORAGE, "GetBucket", get_bucket))
        .merge(route(STORAGE, "GetObject", get_object))
        .merge(route(STORAGE, "DeleteObject", delete_object))
        .merge(route(STORAGE, "ListObjects", list_objects))
        .merge(route(CONTROL, "TestIamPermissions", test_iam_permissions))
}

fn create_bucket(app: &App, request: pb::CreateBucketRequest) -> Result<pb::Bucket, Refusal> {
    if let Some(refusal) = app.faults.refusal(On::Bucket, "") {
        return Err(refusal);
    }
    match app.state().create_bucket(&request.bucket_id) {
        true => Ok(bucket(&request.bucket_id)),
        false => Err(Refusal::new(409, "the bucket exists already")),
    }
}

fn get_bucket(app: &App, request: pb::GetBucketRequest) -> Result<pb::Bucket, Refusal> {
    let id = bucket_id(&request.name);
    app.admit(On::Bucket, "storage.buckets.get", id, "")?;
    Ok(bucket(id))
}

fn get_object(app: &App, request: pb::GetObjectRequest) -> Result<pb::Object, Refusal> {
    let id = bucket_id(&request.bucket);
    app.admit(On::Get, "storage.objects.get", id, &request.object)?;
    let state = app.state();
    let (generation, condition) = (request.generation, request.if_generation_match);
    let found = state.get(id, &request.object, generation, condition)?;
    Ok(object(id, found))
}

fn delete_object(app: &App, request: pb::DeleteObjectRequest) -> Result<(), Refusal> {
    let id = bucket_id(&request.bucket);
    app.admit(On::Delete, "storage.objects.delete", id, &request.object)?;
    let mut state = app.state();
    let (generation, condition) = (request.generation, request.if_generation_match);
    state
        .get(id, &request.object, generation, condition)?
        .require_free(id)?;
    state.remove(id, &request.object);
    drop(state);
    match app.faults.take(&request.object, |f| f == Fault::LoseDeletion) {
        Some(lost) => {
            lost.happens();
            Err(Refusal::new(503, "fault: the answer is lost"))
        }
        None => Ok(()),
    }
}

fn list_objects(app: &App, request: pb::ListObjectsRequest) -> Result<pb::ListObjectsResponse, Refusal> {
    let id = bucket_id(&request.parent);
    app.admit(On::List, "storage.objects.list", id, "")?;
    let mut found = app.state().list(id, &request.prefix);
    let prefixes = take_prefixes(&mut found, &request.prefix, &request.delimiter);
    found.retain(|o| o.name > request.page_token);
    let size = match usize::try_from(request.page_size) {
        Ok(n) if n > 0 => n.min(1000),
        _ => 1000,
    };
    let more = found.len() > size;
    found.truncate(size);
    let last = found.last().map(|o| o.name.clone());
    Ok(pb::ListObjectsResponse {
        objects: found.iter().map(|o| object(id, o)).collect(),
        // All on the first page: clients merge them over the pages.
        prefixes: if request.page_token.is_empty() {
            prefixes
        } else {
            Vec::new()
        },
        next_page_token: last.filter(|_| more).unwrap_or_default(),
    })
}

/// Takes out the objects whose names go on after a delimiter, and returns what their names begin with up to there.
fn take_prefixes(found: &mut Vec<Object>, prefix: &str, delimiter: &str) -> Vec<String> {
    let mut prefixes = BTreeSet::new();
    if !delimiter.is_empty() {
        found.retain(|o| match o.name[prefix.len()..].find(delimiter) {
            Some(at) => {
                prefixes.insert(o.name[..prefix.len() + at + delimiter.len()].to_string());
                false
            }
            None => true,
        });
    }
    prefixes.into_iter().collect()
}

fn test_iam_permissions(app: &App, request: TestIamPermissionsRequest) -> Result<TestIamPermissionsResponse, Refusal> {
    // Needs no permission itself.
    let id = bucket_id(&request.resource);
    app.admit(On::Bucket, "", id, "")?;
    let mut permissions = request.permissions;
    permissions.retain(|p| !app.state().denied.contains(p));
    Ok(TestIamPermissionsResponse { permissions })
}

fn bucket_id(name: &str) -> &str {
    name.strip_prefix("projects/_/buckets/").unwrap_or(name)
}

fn bucket(id: &str) -> pb::Bucket {
    pb::Bucket {
        name: format!("projects/_/buckets/{id}"),
        bucket_id: id.to_string(),
        metageneration: 1,
        ..Default::default()
    }
}

/// An object as gRPC shows it.
pub(crate) fn object(bucket: &str, object: &Object) -> pb::Object {
    pb::Object {
        name: object.name.clone(),
        bucket: format!("projects/_/buckets/{bucket}"),
        generation: object.generation,
        metageneration: 1,
        size: i64::try_from(object.size).unwrap_or(i64::MAX),
        content_type: object.content_type.clone(),
        storage_class: "STANDARD".to_string(),
        checksums: Some(pb::ObjectChecksums {
            crc32c: Some(object.crc32c),
            ..Default::default()
        }),
        metadata: object.metadata.clone().into_iter().collect(),
        create_time: Some(object.updated.into()),
        update_time: Some(object.updated.into()),
        temporary_hold: object.held,
        retention_expire_time: object.retained_until.map(Into::into),
        ..Default::default()
    }
}

fn route<Request_, Answer>(
    service: &str,
    call: &str,
    answer: fn(&App, Request_) -> Result<Answer, Refusal>,
) -> Router<Arc<App>>
where
    Request_: prost::Message + Default + 'static,
    Answer: prost::Message + Default + 'static,
{
    let handler = move |State(app): State<Arc<App>>, request: Request| async move {
        let call = tower::service_fn(move |message: tonic::Request<Request_>| {
            let result = answer(&app, message.into_inner());
            std::future::ready(result.map(tonic::Response::new).map_err(status))
        });
        let codec = tonic_prost::ProstCodec::<Answer, Request_>::default();
        let response: Response = tonic::server::Grpc::new(codec)
            .unary(call, request)
            .await
            .map(Body::new);
        response
    };
    Router::new().route(&format!("/{service}/{call}"), post(handler))
}

fn status(refusal: Refusal) -> Status {
    let code = match (refusal.rpc, refusal.status) {
        (Some(code), _) => Code::from_i32(code),
        (None, 400) => Code::InvalidArgument,
        (None, 401) => Code::Unauthenticated,
        (None, 403) => Code::PermissionDenied,
        (None, 404) => Code::NotFound,
        (None, 409) => Code::AlreadyExists,
        (None, 412) => Code::FailedPrecondition,
        (None, 429) => Code::ResourceExhausted,
        (None, 501) => Code::Unimplemented,
        (None, 503) => Code::Unavailable,
        _ => Code::Internal,
    };
    if refusal.reason.is_empty() {
        return Status::new(code, refusal.message);
    }
    let info = ErrorInfo {
        reason: refusal.reason.to_string(),
        domain: "googleapis.com".to_string(),
    };
    let details = RpcStatus {
        code: code.into(),
        message: refusal.message.clone(),
        details: vec![Any {
            type_url: "type.googleapis.com/google.rpc.ErrorInfo".to_string(),
            value: info.encode_to_vec(),
        }],
    };
    Status::with_details(code, refusal.message, details.encode_to_vec().into())
}
