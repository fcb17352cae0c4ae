//! Buckets of an emulator that this workspace did not start.

/// Creates it if this emulator can; one that exists already is as good.
pub async fn create_bucket(endpoint: &str, bucket: &str) {
    use google_cloud_storage::{client::StorageControl, model::Bucket};
    let url = match endpoint.contains("://") {
        true => endpoint.to_string(),
        false => format!("http://{endpoint}"),
    };
    let control = StorageControl::builder()
        .with_endpoint(url)
        .with_credentials(google_cloud_auth::credentials::anonymous::Builder::new().build())
        .build()
        .await
        .unwrap();
    let _ = control
        .create_bucket()
        .set_parent("projects/_")
        .set_bucket_id(bucket)
        .set_bucket(Bucket::new().set_project("projects/test-project"))
        .send()
        .await;
}
