//! Answers to requests that are not served.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// Why a request is refused; it becomes a JSON object with the key `error`.
#[derive(Debug)]
pub struct Refusal {
    status: StatusCode,
    message: String,
    /// Further keys of the object.
    detail: Value,
}

impl Refusal {
    fn new(status: StatusCode, message: impl Into<String>) -> Refusal {
        Refusal { status, message: message.into(), detail: Value::Null }
    }

    /// The request is invalid.
    pub fn invalid(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, message)
    }

    /// What it asks for does not exist.
    pub fn missing(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::NOT_FOUND, message)
    }

    /// It has no token, or comes from another page.
    pub fn forbidden(status: StatusCode, message: impl Into<String>) -> Refusal {
        Refusal::new(status, message)
    }

    /// The image was corrected by others since the page read it.
    pub fn conflict(message: impl Into<String>, detail: Value) -> Refusal {
        Refusal { detail, ..Refusal::new(StatusCode::CONFLICT, message) }
    }

    /// A file cannot be read or written.
    pub fn failed(error: impl std::fmt::Display) -> Refusal {
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut body = json!({ "error": self.message });
        if !self.detail.is_null() {
            body["conflict"] = self.detail;
        }
        (self.status, Json(body)).into_response()
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}
