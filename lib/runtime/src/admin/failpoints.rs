//! Control of the fail points over the admin server, in builds that have them.

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;

use super::{JSON, TEXT, respond};
use crate::failpoint;

pub(super) const PREFIX: &str = "/debug/failpoints/";
const MAX_BODY_BYTES: usize = 64;

pub(super) async fn answer(request: Request<Incoming>) -> Response<Full<Bytes>> {
    let name = request.uri().path().trim_start_matches(PREFIX).to_owned();
    match *request.method() {
        Method::GET => tell(&name),
        Method::PUT => {
            let body = Limited::new(request.into_body(), MAX_BODY_BYTES).collect().await;
            let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
            match body.trim_ascii() {
                b"pause" => failpoint::pause(&name),
                b"continue" => failpoint::resume(&name),
                _ => return respond(StatusCode::BAD_REQUEST, TEXT, "the body is pause or continue\n"),
            }
            tell(&name)
        }
        _ => respond(StatusCode::METHOD_NOT_ALLOWED, TEXT, "GET or PUT\n"),
    }
}

fn tell(name: &str) -> Response<Full<Bytes>> {
    let failpoint::Status { paused, waiting } = failpoint::status(name);
    let status = serde_json::json!({ "name": name, "paused": paused, "waiting": waiting });
    respond(StatusCode::OK, JSON, format!("{status}\n"))
}
