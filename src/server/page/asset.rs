//! What pages load: one style sheet, one script, one icon. Their addresses have the hash of what they are, so that they are kept for
//! good and never of another version.

use crate::base::hash::sha256_hex;
use crate::server::error::HttpError;
use axum::extract::Path;
use axum::http::{Uri, header};
use axum::response::{IntoResponse, Response};
use std::sync::LazyLock;

pub(super) const PATH: &str = "/assets/{name}";

/// One of them.
pub(super) struct Asset {
    pub(super) path: String,
    media: &'static str,
    pub(super) content: &'static str,
}

impl Asset {
    fn new(ending: &str, media: &'static str, content: &'static str) -> Self {
        let hash = sha256_hex(content.as_bytes());
        Self {
            path: format!("/assets/{}.{ending}", &hash[..16]),
            media,
            content,
        }
    }
}

pub(super) static STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("css", "text/css; charset=utf-8", include_str!("style.css")));
pub(super) static SCRIPT: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("js", "text/javascript; charset=utf-8", include_str!("script.js")));
pub(super) static ICON: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("svg", "image/svg+xml", include_str!("icon.svg")));

pub(super) async fn serve(Path(_): Path<String>, uri: Uri) -> Result<Response, HttpError> {
    let assets = [&STYLE, &SCRIPT, &ICON];
    let Some(asset) = assets.into_iter().find(|asset| asset.path == uri.path()) else {
        return Err(HttpError::no_such_path(uri).await);
    };
    let headers = [
        (header::CONTENT_TYPE, asset.media),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    Ok((headers, asset.content).into_response())
}
