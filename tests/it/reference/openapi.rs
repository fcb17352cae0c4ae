//! `openapi/v1.json`.

#[test]
fn the_checked_in_description_is_that_of_the_handlers() {
    super::compare("../../openapi/v1.json", &qdrant_backup::server::openapi());
}
