//! The stores: one conformance suite for both, then what only one of them can get wrong.
//!
//! With `GCS_TEST_ENDPOINT` (and `GCS_TEST_BUCKET`, default `test-bucket`) the suite runs against that emulator instead of
//! the one in this workspace. It must know preconditions and speak gRPC on the same port.

mod conformance;
mod dir;
mod gcs_answers;
mod gcs_downloads;
mod gcs_refusals;
mod gcs_streams;
mod gcs_uploads;
mod tokens;
mod uploaded;
