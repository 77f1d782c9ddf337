//! What the door answers to plain HTTP.

use std::borrow::Cow;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Request, Response, StatusCode};
use percent_encoding::percent_decode_str;
use tokio::time::timeout;

use super::fault::{Fault, shown};
use super::{House, State, connections, metrics, origin, upgrade};
use crate::limits;
use crate::shard::Query;
use crate::wire::control;

pub(super) const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

pub(super) type Answer = Result<Response<Full<Bytes>>, Fault>;

/// Answers any request but one for `/ws`.
pub(super) async fn answer(house: &House, request: Request<Incoming>) -> Response<Full<Bytes>> {
    route(house, request).await.unwrap_or_else(Fault::response)
}

async fn route(house: &House, request: Request<Incoming>) -> Answer {
    let path = request.uri().path();
    if let Some(symbol) = path.strip_prefix("/api/v1/book/") {
        reading(&request)?;
        return book(house, symbol, request.uri().query().unwrap_or("")).await;
    }
    match path {
        "/" => reading(&request).map(|()| welcome()),
        "/healthz" => reading(&request).map(|()| respond(StatusCode::OK, TEXT, "ok\n")),
        "/readyz" => reading(&request).and_then(|()| readiness(house)),
        "/metrics" => {
            reading(&request).map(|()| respond(StatusCode::OK, metrics::CONTENT_TYPE, house.metrics.text()))
        }
        "/api/v1/instruments" => {
            reading(&request)?;
            ask(house, Query::Instruments).await
        }
        "/api/v1/connections" => {
            reading(&request)?;
            connections::answer(house, request.uri().query().unwrap_or("")).await
        }
        "/api/v1/replay" => replay(house, request).await,
        _ => Err(Fault::new(
            StatusCode::NOT_FOUND,
            "bad_request",
            format!(
                "path {}; allowed: /, /ws, /healthz, /readyz, /metrics, /api/v1/instruments, /api/v1/book/{{symbol}}, \
                 /api/v1/connections, /api/v1/replay",
                shown(path)
            ),
        )),
    }
}

/// An answer with the header lines that all have: a browser is to take it for what it says it is, keep no copy, and run
/// nothing in it.
pub(super) fn respond(
    status: StatusCode,
    media_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, media_type),
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn reading(request: &Request<Incoming>) -> Result<(), Fault> {
    match *request.method() {
        Method::GET | Method::HEAD => Ok(()),
        _ => Err(wrong_method(request.method(), "GET, HEAD")),
    }
}

pub(super) fn wrong_method(method: &Method, allowed: &'static str) -> Fault {
    let message = format!("method {}; allowed: {allowed}", shown(method.as_str()));
    Fault::new(StatusCode::METHOD_NOT_ALLOWED, "bad_request", message).with("allow", allowed)
}

fn welcome() -> Response<Full<Bytes>> {
    let text = concat!(
        "tickcast ",
        env!("CARGO_PKG_VERSION"),
        "\n\n",
        "/ws                     the stream: a WebSocket, subprotocol tickcast.v1.bin, tickcast.v1.json or none\n",
        "/ws?replay={file}       a replay of your own, of a file in the server's --replay-dir\n",
        "/api/v1/instruments     what is traded\n",
        "/api/v1/book/{symbol}   a book as it is now; ?depth=10 for the best ten levels\n",
        "/api/v1/connections     who is connected, the slowest first; ?streams=true with what each stream got\n",
        "/api/v1/replay          the replay: GET its state, POST {\"action\":\"play\"}, pause, seek, speed or step\n",
        "/healthz /readyz        whether the server lives, whether it has a market\n",
        "/metrics                counters, for Prometheus\n",
    );
    respond(StatusCode::OK, TEXT, text)
}

fn readiness(house: &House) -> Answer {
    let now_ns = house.clock.now_ns();
    match house.readiness.get() {
        State::Ready => match house.source.is_stale(now_ns) {
            false => Ok(respond(StatusCode::OK, TEXT, "ready\n")),
            true => Err(Fault::unavailable(format!(
                "stale: the source has been overdue for {} ms; books and quotes are as old",
                house.source.overdue_ns(now_ns) / 1_000_000
            ))),
        },
        State::Starting => Err(Fault::unavailable("the source does not run yet; try again in a second")),
        State::Stopping => Err(Fault::unavailable("the server is stopping; connect again in a second")),
    }
}

async fn book(house: &House, symbol: &str, query: &str) -> Answer {
    let decoded = percent_decode_str(symbol).decode_utf8_lossy();
    let Some(instrument) = house.catalog.find(&decoded) else {
        return Err(Fault::new(
            StatusCode::NOT_FOUND,
            "unknown_symbol",
            format!("symbol {}; allowed: those that /api/v1/instruments lists", shown(&decoded)),
        ));
    };
    let depth = depth(query)?;
    ask(house, Query::Book { instrument, depth }).await
}

/// The parameter `depth`, `None` where it is absent: all levels. Other parameters mean nothing.
fn depth(query: &str) -> Result<Option<u32>, Fault> {
    let Some(text) = parameter(query, "depth") else { return Ok(None) };
    match text.parse() {
        Ok(depth) if (1..=limits::HTTP_BOOK_DEPTH_MAX).contains(&depth) => Ok(Some(depth)),
        _ => Err(Fault::bad_request(format!(
            "depth {}; allowed: whole number, 1 to {}, or no depth for all levels",
            shown(&text),
            limits::HTTP_BOOK_DEPTH_MAX
        ))),
    }
}

/// A parameter of a query, decoded; `None` where it is absent.
pub(super) fn parameter<'a>(query: &'a str, name: &str) -> Option<Cow<'a, str>> {
    let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    Some(percent_decode_str(value).decode_utf8_lossy())
}

/// Every shard holds the whole market: the one with the fewest sessions has the most time.
async fn ask(house: &House, query: Query) -> Answer {
    let Some(shard) = house.quietest_shard() else {
        return Err(Fault::unavailable("no shard is running; try again in a second"));
    };
    Ok(respond(StatusCode::OK, JSON, in_time(shard.query(query)).await?))
}

/// Waits for a shard's answer, as long as a request may take.
pub(super) async fn in_time<T>(answer: impl Future<Output = Option<T>>) -> Result<T, Fault> {
    match timeout(limits::HTTP_ANSWER_TIME, answer).await {
        Ok(Some(answer)) => Ok(answer),
        Ok(None) => Err(Fault::unavailable("the server is stopping; connect again in a second")),
        Err(_) => Err(Fault::unavailable("the shard did not answer in time; try again in a second")),
    }
}

async fn replay(house: &House, request: Request<Incoming>) -> Answer {
    let is_post = match *request.method() {
        Method::GET | Method::HEAD => false,
        Method::POST => true,
        _ => return Err(wrong_method(request.method(), "GET, HEAD, POST")),
    };
    let Some(replay) = &house.replay else {
        return Err(Fault::new(
            StatusCode::NOT_FOUND,
            "unavailable",
            "the source is a simulated market, not a replay; start the server with --replay FILE",
        ));
    };
    if is_post {
        // A page may send a POST anywhere without asking first, so it is held to the rule of the socket.
        if !origin::allows(request.headers(), &house.settings.allow_origin) {
            house.stats.refused(metrics::Refusal::Origin).add(1);
            return Err(upgrade::foreign_origin(request.headers()));
        }
        let body = read_body(request.into_body()).await?;
        let stepping = control::parse_action(&body)
            .and_then(|action| replay.steer(&action))
            .map_err(|message: String| Fault::bad_request(message))?;
        if let Some(stepping) = stepping {
            // One that takes longer is on its way.
            let _ = timeout(limits::HTTP_ANSWER_TIME, stepping.over()).await;
        }
    }
    Ok(respond(StatusCode::OK, JSON, replay.state()))
}

async fn read_body(body: Incoming) -> Result<Bytes, Fault> {
    let bound = limits::HTTP_BODY_BYTES_MAX;
    match timeout(limits::HTTP_ANSWER_TIME, Limited::new(body, bound).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(Fault::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_large",
            format!(
                "the body is longer than {bound} bytes; allowed: one JSON object of at most {bound} bytes"
            ),
        )),
        Ok(Err(error)) => Err(Fault::bad_request(format!("the body cannot be read: {error}"))),
        Err(_) => Err(Fault::new(
            StatusCode::REQUEST_TIMEOUT,
            "bad_request",
            format!("the body did not come within {} s", limits::HTTP_ANSWER_TIME.as_secs()),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_depth_is_a_whole_number_in_bounds() {
        assert_eq!(depth(""), Ok(None));
        assert_eq!(depth("interval=1&depth=10"), Ok(Some(10)));
        assert_eq!(depth("depth=%31%30"), Ok(Some(10)), "as any part of an address it may be encoded");
        for wrong in ["0", "-1", "1.5", "", "ten", "100001", "99999999999"] {
            let fault = depth(&format!("depth={wrong}")).unwrap_err();
            assert_eq!((fault.status, fault.code), (StatusCode::BAD_REQUEST, "bad_request"));
            assert!(fault.message.contains("allowed: whole number, 1 to 100000"), "{}", fault.message);
        }
    }
}
