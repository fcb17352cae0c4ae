//! What the official clients do that the backup tool does not, so that its tests do not show it.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use gcs_emulator::Emulator;
use google_cloud_auth::credentials::anonymous::Builder as Anonymous;
use google_cloud_gax::{error::rpc::Code, paginator::ItemPaginator as _};
use google_cloud_storage::{
    client::{Storage, StorageControl},
    model::Bucket,
    model_ext::ReadRange,
    streaming_source::{SizeHint, StreamingSource},
};

const BUCKET: &str = "projects/_/buckets/b";

async fn clients() -> (Emulator, Storage, StorageControl) {
    let emulator = Emulator::start().await.unwrap();
    let data = Storage::builder()
        .with_endpoint(emulator.url())
        .with_credentials(Anonymous::new().build())
        .build()
        .await
        .unwrap();
    let control = StorageControl::builder()
        .with_endpoint(emulator.url())
        .with_credentials(Anonymous::new().build())
        .build()
        .await
        .unwrap();
    emulator.create_bucket("b");
    (emulator, data, control)
}

fn body() -> Bytes {
    (0..1_000_000_u32).map(|i| (i % 251) as u8).collect()
}

#[tokio::test]
async fn a_multipart_upload_is_stored_with_its_metadata() {
    let (emulator, data, _) = clients().await;
    let written = data
        .write_object(BUCKET, "a/small", body())
        .set_if_generation_match(0)
        .set_content_type("text/plain")
        .set_metadata([("color", "red")])
        .with_resumable_upload_threshold(usize::MAX);
    let object = written.send_unbuffered().await.unwrap();
    let stored = emulator.object("b", "a/small").unwrap();
    assert_eq!(stored.data.unwrap(), body());
    assert_eq!(
        (stored.content_type.as_str(), stored.metadata["color"].as_str()),
        ("text/plain", "red")
    );
    assert_eq!(object.generation, stored.generation);
    assert_eq!(object.metadata["color"], "red");
    assert!(object.update_time.is_some());
    assert!(emulator.requests()[0].target.contains("uploadType=multipart"));
}

#[tokio::test]
async fn an_upload_in_chunks_is_put_together() {
    let (emulator, data, _) = clients().await;
    let written = data
        .write_object(BUCKET, "a", body())
        .with_resumable_upload_threshold(0_usize)
        .with_resumable_upload_buffer_size(256 * 1024_usize);
    written.send_buffered().await.unwrap();
    assert_eq!(emulator.object("b", "a").unwrap().data.unwrap(), body());
    assert_eq!(emulator.requests().len(), 5);
}

/// Does not say how long it is.
struct Endless(Option<Bytes>);

impl StreamingSource for Endless {
    type Error = std::io::Error;
    async fn next(&mut self) -> Option<Result<Bytes, std::io::Error>> {
        self.0.take().map(Ok)
    }
    async fn size_hint(&self) -> Result<SizeHint, std::io::Error> {
        Ok(SizeHint::new())
    }
}

#[tokio::test]
async fn an_upload_of_unknown_length_is_stored() {
    let (emulator, data, _) = clients().await;
    let written = data
        .write_object(BUCKET, "a", Endless(Some(body())))
        .with_resumable_upload_threshold(0_usize);
    written.send_buffered().await.unwrap();
    assert_eq!(emulator.object("b", "a").unwrap().data.unwrap(), body());
}

#[tokio::test]
async fn a_checksum_that_is_promised_must_be_right() {
    let (emulator, data, _) = clients().await;
    for threshold in [0, usize::MAX] {
        let written = data
            .write_object(BUCKET, "a", body())
            .with_known_crc32c(1_u32)
            .with_resumable_upload_threshold(threshold);
        let error = written.send_buffered().await.unwrap_err();
        assert_eq!(error.http_status_code(), Some(400));
    }
    assert!(emulator.objects("b").is_empty());
}

#[tokio::test]
async fn preconditions_hold_in_both_kinds_of_upload() {
    let (emulator, data, _) = clients().await;
    let first = emulator.plant("b", "a", "first");
    for threshold in [0, usize::MAX] {
        for generation in [0, first + 1] {
            let written = data
                .write_object(BUCKET, "a", body())
                .set_if_generation_match(generation)
                .with_resumable_upload_threshold(threshold);
            let error = written.send_buffered().await.unwrap_err();
            assert_eq!(error.http_status_code(), Some(412));
        }
    }
    assert_eq!(emulator.object("b", "a").unwrap().generation, first);
    let written = data.write_object(BUCKET, "a", body()).set_if_generation_match(first);
    let second = written.send_buffered().await.unwrap();
    assert!(second.generation > first);
}

#[tokio::test]
async fn ranges_and_generations_are_read() {
    let (emulator, data, _) = clients().await;
    let generation = emulator.plant("b", "a b/ü%2F", body());
    for (range, expected) in [
        (ReadRange::all(), 0..1_000_000),
        (ReadRange::segment(10, 5), 10..15),
        (ReadRange::offset(999_990), 999_990..1_000_000),
        (ReadRange::tail(7), 999_993..1_000_000),
    ] {
        let request = data.read_object(BUCKET, "a b/ü%2F").set_read_range(range);
        let mut reading = request.set_generation(generation).send().await.unwrap();
        let mut got = Vec::new();
        while let Some(bytes) = reading.next().await {
            got.extend_from_slice(&bytes.unwrap());
        }
        assert_eq!(got, body()[expected]);
    }
    let other = data.read_object(BUCKET, "a b/ü%2F").set_generation(generation + 1);
    let error = other.send().await.map(drop).unwrap_err();
    assert_eq!(error.http_status_code(), Some(404));
}

#[tokio::test]
async fn lists_have_pages_and_prefixes() {
    let (emulator, _, control) = clients().await;
    for i in 0..7 {
        emulator.plant("b", &format!("a/{i}"), "x");
    }
    emulator.plant("b", "b/1", "x");
    let list = control
        .list_objects()
        .set_parent(BUCKET)
        .set_prefix("a/")
        .set_page_size(3);
    let mut items = list.by_item();
    let mut names = Vec::new();
    while let Some(object) = items.next().await {
        names.push(object.unwrap().name);
    }
    assert_eq!(names, (0..7).map(|i| format!("a/{i}")).collect::<Vec<_>>());
    assert_eq!(emulator.requests().len(), 3);
}

#[tokio::test]
async fn buckets_are_created_once_and_found() {
    let (emulator, _, control) = clients().await;
    let create = || {
        let bucket = Bucket::new().set_project("projects/p");
        let create = control.create_bucket().set_parent("projects/_");
        create.set_bucket_id("new.bucket").set_bucket(bucket).send()
    };
    let name = "projects/_/buckets/new.bucket";
    let missing = control.get_bucket().set_name(name).send().await.unwrap_err();
    assert_eq!(missing.status().unwrap().code, Code::NotFound);
    assert_eq!(create().await.unwrap().name, name);
    let again = create().await.unwrap_err();
    assert_eq!(again.status().unwrap().code, Code::AlreadyExists);
    control.get_bucket().set_name(name).send().await.unwrap();

    emulator.deny("storage.objects.create");
    let asked = ["storage.objects.create", "storage.objects.get"];
    let test = control.test_iam_permissions().set_resource(name);
    let granted = test.set_permissions(asked).send().await.unwrap();
    assert_eq!(granted.permissions, ["storage.objects.get"]);
}

#[tokio::test]
async fn a_deletion_under_a_wrong_generation_is_refused() {
    let (emulator, _, control) = clients().await;
    let generation = emulator.plant("b", "a", "x");
    let delete = |generation| {
        let delete = control.delete_object().set_bucket(BUCKET).set_object("a");
        delete.set_if_generation_match(generation).send()
    };
    let error = delete(generation + 1).await.unwrap_err();
    assert_eq!(error.status().unwrap().code, Code::FailedPrecondition);
    let get = control.get_object().set_bucket(BUCKET).set_object("a");
    assert_eq!(get.send().await.unwrap().size, 1);
    delete(generation).await.unwrap();
    let error = delete(generation).await.unwrap_err();
    assert_eq!(error.status().unwrap().code, Code::NotFound);
}
