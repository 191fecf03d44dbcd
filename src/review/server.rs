//! The server: addresses, what they call, and the limits of requests.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError};

use axum::body::Bytes;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, FromRequest, FromRequestParts, Path, Request, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE, SET_COOKIE};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime;

use super::Review;
use super::assets::{PAGE, asset};
use super::correct::{CorrectRequest, MaskRequest};
use super::decide::{BulkRequest, DecideRequest, UndoRequest};
use super::guard::{Access, Guard, restrict};
use super::picture::{MAX_PICTURE, PictureOptions};
use super::refusal::Refusal;
use crate::geometry::PixelBox;

/// Largest body of a request, in bytes: the ids of 100,000 findings, or the outlines of a whole hand.
const MAX_BODY: usize = 4 << 20;

/// Where the server listens.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// The address; a loopback address serves only this computer.
    pub address: IpAddr,
    /// The port; 0 for a free one.
    pub port: u16,
    /// Further host names under which browsers may reach the server, such as that of a tunnel.
    pub host_names: Vec<String>,
}

/// The server has started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    /// The link to open, with the token.
    pub url: String,
    /// The port.
    pub port: u16,
}

struct Shared {
    review: Review,
    guard: Guard,
}

/// Serves the page until the process ends. `started` is called with the link once the server listens.
///
/// # Errors
/// The address cannot be used, or the system reports an error.
pub fn serve(review: Review, options: &ServerOptions, started: impl FnOnce(&Started)) -> std::io::Result<()> {
    // Made before the page asks for it, because many findings take a moment.
    review.queue();
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(SocketAddr::new(options.address, options.port)).await?;
        let port = listener.local_addr()?.port();
        let own = match options.address {
            IpAddr::V6(address) => format!("[{address}]"),
            IpAddr::V4(address) => address.to_string(),
        };
        let mut names = vec![own.clone()];
        if options.address.is_loopback() || options.address.is_unspecified() {
            names.extend(["localhost".to_owned(), "127.0.0.1".to_owned()]);
        }
        names.extend(options.host_names.iter().cloned());
        let shown = if options.address.is_unspecified() { options.host_names.first().cloned() } else { None };
        let guard = Guard::new(&names, port);
        let url = format!("http://{}:{port}/?token={}", shown.unwrap_or(own), guard.token());
        let app = router(Arc::new(Shared { review, guard }));
        started(&Started { url, port });
        axum::serve(listener, app).await
    })
}

fn router(shared: Arc<Shared>) -> Router {
    let shell = Router::new()
        .route("/", get(page))
        .route("/assets/{name}", get(asset_file))
        .route_layer(middleware::from_fn_with_state(shared.clone(), guard_shell));
    let data = Router::new()
        .route("/api/queue", get(queue))
        .route("/api/states", get(states))
        .route("/api/image/{id}", get(image_detail))
        .route("/api/pixels/{id}", get(pixels))
        .route("/api/reference/{bone}", get(reference))
        .route("/api/progress", get(progress))
        .route("/api/summary/{format}", get(summary))
        .route("/api/decide", post(decide))
        .route("/api/keep", post(keep))
        .route("/api/correct", post(correct))
        .route("/api/undo", post(undo))
        .route("/api/mask", post(mask))
        .route("/api/draft/{image}", put(draft))
        .fallback(|| async { Refusal::missing("no such address") })
        .layer(middleware::from_fn_with_state(shared.clone(), guard_data));
    shell
        .merge(data)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::map_response(|mut response: Response| async {
            restrict(response.headers_mut());
            response
        }))
        .with_state(shared)
}

async fn guard_shell(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    guarded(&shared, request, next, Access::Shell).await
}

async fn guard_data(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    guarded(&shared, request, next, Access::Data).await
}

async fn guarded(shared: &Shared, request: Request, next: Next, access: Access) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let token = query.split('&').find_map(|pair| pair.strip_prefix("token="));
    if let Err(refusal) = shared.guard.check(request.headers(), token, access) {
        return refusal.into_response();
    }
    // Refused by its stated length, before it is sent.
    let length = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > MAX_BODY) {
        let message = format!("the body has more than {MAX_BODY} bytes");
        return Refusal::forbidden(StatusCode::PAYLOAD_TOO_LARGE, message).into_response();
    }
    next.run(request).await
}

/// Runs blocking work of a request outside the server's thread.
async fn blocking<T: Send + 'static>(
    shared: Arc<Shared>,
    work: impl FnOnce(&Review) -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let done = tokio::task::spawn_blocking(move || work(&shared.review)).await;
    done.unwrap_or_else(|error| Err(Refusal::failed(format!("an internal error: {error}"))))
}

/// A JSON body, or a refusal in the format of the others.
struct Body<T>(T);

impl<T: serde::de::DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Body<T>, Response> {
        let read: Result<Json<T>, JsonRejection> = Json::from_request(request, state).await;
        match read {
            Ok(Json(value)) => Ok(Body(value)),
            Err(error) => Err((error.status(), Json(json!({ "error": error.body_text() }))).into_response()),
        }
    }
}

/// The values after `?`, or a refusal in the format of the others.
struct Parameters<T>(T);

impl<T: serde::de::DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut axum::http::request::Parts, state: &S) -> Result<Parameters<T>, Response> {
        let read: Result<axum::extract::Query<T>, QueryRejection> =
            axum::extract::Query::from_request_parts(parts, state).await;
        match read {
            Ok(axum::extract::Query(value)) => Ok(Parameters(value)),
            Err(error) => Err((error.status(), Json(json!({ "error": error.body_text() }))).into_response()),
        }
    }
}

type Shareable = State<Arc<Shared>>;
type Answer = Result<Json<Value>, Refusal>;

async fn page(State(shared): Shareable) -> Response {
    let mut response = ([(CONTENT_TYPE, "text/html; charset=utf-8")], PAGE).into_response();
    if let Ok(cookie) = HeaderValue::from_str(&shared.guard.cookie()) {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    response
}

async fn asset_file(Path(name): Path<String>) -> Response {
    match asset(&name) {
        Some(found) => ([(CONTENT_TYPE, found.media_type)], found.content).into_response(),
        None => Refusal::missing("no such file").into_response(),
    }
}

async fn queue(State(shared): Shareable) -> Result<Response, Refusal> {
    let json = blocking(shared, |review| Ok(review.queue())).await?;
    Ok(([(CONTENT_TYPE, "application/json")], json).into_response())
}

#[derive(Deserialize)]
struct Since {
    since: Option<u64>,
    #[serde(default)]
    author: String,
}

async fn states(State(shared): Shareable, Parameters(Since { since, author }): Parameters<Since>) -> Answer {
    blocking(shared, move |review| review.states(since, &author).map(Json)).await
}

#[derive(Deserialize)]
struct Curator {
    #[serde(default)]
    author: String,
}

async fn image_detail(
    State(shared): Shareable,
    Path(id): Path<String>,
    Parameters(Curator { author }): Parameters<Curator>,
) -> Answer {
    blocking(shared, move |review| review.image_detail(&id, &author).map(Json)).await
}

#[derive(Deserialize)]
struct PictureParameters {
    /// Column and row of the first and last pixels, separated by commas.
    #[serde(rename = "box")]
    area: Option<String>,
    max: Option<u32>,
}

async fn pixels(
    State(shared): Shareable,
    Path(id): Path<String>,
    Parameters(wanted): Parameters<PictureParameters>,
) -> Result<Response, Refusal> {
    let max = wanted.max;
    if max.is_some_and(|max| max == 0 || max > MAX_PICTURE) {
        return Err(Refusal::invalid(format!("max: expected 1 to {MAX_PICTURE}")));
    }
    let crop = wanted.area.as_deref().map(parse_box).transpose()?;
    let png = blocking(shared, move |review| review.picture(review.entry(&id)?, PictureOptions { crop, max })).await?;
    Ok(([(CONTENT_TYPE, "image/png")], Bytes::from(png.to_vec())).into_response())
}

fn parse_box(text: &str) -> Result<PixelBox, Refusal> {
    let values: Option<Vec<u32>> = text.split(',').map(|value| value.parse().ok()).collect();
    match values.as_deref() {
        Some([x_min, y_min, x_max, y_max]) if x_min <= x_max && y_min <= y_max => {
            Ok(PixelBox { x_min: *x_min, y_min: *y_min, x_max: *x_max, y_max: *y_max })
        }
        _ => Err(Refusal::invalid("box: expected x_min,y_min,x_max,y_max in whole pixels")),
    }
}

#[derive(Deserialize)]
struct ComparedImage {
    image: String,
}

async fn reference(
    State(shared): Shareable,
    Path(bone): Path<String>,
    Parameters(ComparedImage { image }): Parameters<ComparedImage>,
) -> Answer {
    blocking(shared, move |review| review.reference(&bone, &image).map(Json)).await
}

async fn progress(State(shared): Shareable) -> Answer {
    blocking(shared, |review| Ok(Json(json!(review.progress()?)))).await
}

async fn summary(State(shared): Shareable, Path(format): Path<String>) -> Result<Response, Refusal> {
    let (media_type, name) = match format.as_str() {
        "html" => ("text/html; charset=utf-8", "attachment; filename=\"review.html\""),
        "csv" => ("text/csv; charset=utf-8", "attachment; filename=\"review.csv\""),
        _ => return Err(Refusal::missing("summaries are html or csv")),
    };
    let text =
        blocking(shared, move |review| if format == "csv" { review.summary_csv() } else { review.summary_html() });
    Ok(([(CONTENT_TYPE, media_type), (CONTENT_DISPOSITION, name)], text.await?).into_response())
}

async fn decide(State(shared): Shareable, Body(request): Body<DecideRequest>) -> Answer {
    blocking(shared, move |review| Ok(Json(json!({ "added": review.decide(&request)? })))).await
}

async fn keep(State(shared): Shareable, Body(request): Body<BulkRequest>) -> Answer {
    blocking(shared, move |review| Ok(Json(json!({ "added": review.keep_all(&request)? })))).await
}

async fn correct(State(shared): Shareable, Body(request): Body<CorrectRequest>) -> Answer {
    blocking(shared, move |review| Ok(Json(json!({ "added": review.correct(&request)? })))).await
}

async fn undo(State(shared): Shareable, Body(request): Body<UndoRequest>) -> Answer {
    blocking(shared, move |review| Ok(Json(json!({ "added": [review.undo(&request)?] })))).await
}

async fn mask(State(shared): Shareable, Body(request): Body<MaskRequest>) -> Answer {
    blocking(shared, move |review| review.mask(&request).map(Json)).await
}

#[derive(Deserialize)]
struct DraftRequest {
    author: String,
    /// The edit as the page describes it; `null` removes the draft.
    draft: Option<Value>,
}

async fn draft(
    State(shared): Shareable,
    Path(image): Path<String>,
    Body(DraftRequest { author, draft }): Body<DraftRequest>,
) -> Result<StatusCode, Refusal> {
    blocking(shared, move |review| {
        let entry = review.entry(&image)?;
        let author = author.trim();
        if author.is_empty() {
            return Err(Refusal::invalid("the name of the curator is empty"));
        }
        let mut drafts = review.drafts.lock().unwrap_or_else(PoisonError::into_inner);
        drafts.set(author, &entry.image_id, draft).map_err(Refusal::failed)?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}
