//! `naive`: fastwebsockets on hyper, a broadcast channel, one write a message.

use std::sync::Arc;

use bytes::Bytes;
use fastwebsockets::upgrade::{UpgradeFut, is_upgrade_request, upgrade};
use fastwebsockets::{Frame, OpCode, Payload, WebSocketError};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::header::{HeaderValue, SEC_WEBSOCKET_PROTOCOL};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;

use crate::hub::Hub;
use crate::shared::{Failure, Flags, SUBPROTOCOL, answer, on_tokio, welcome};

pub fn run(flags: Flags) -> Result<(), Failure> {
    on_tokio(flags, |socket, hub| async move {
        let service = service_fn(move |request| shake_hands(request, hub.clone()));
        // A client that goes away is no fault.
        let _ = http1::Builder::new().serve_connection(TokioIo::new(socket), service).with_upgrades().await;
    })
}

async fn shake_hands(
    mut request: Request<Incoming>,
    hub: Arc<Hub>,
) -> Result<Response<Empty<Bytes>>, WebSocketError> {
    if !is_upgrade_request(&request) {
        let mut response = Response::new(Empty::new());
        *response.status_mut() = StatusCode::NOT_FOUND;
        return Ok(response);
    }
    let (mut response, socket) = upgrade(&mut request)?;
    response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    tokio::spawn(serve(socket, hub));
    Ok(response)
}

async fn serve(socket: UpgradeFut, hub: Arc<Hub>) -> Result<(), WebSocketError> {
    let mut socket = socket.await?;
    socket.write_frame(text(welcome())).await?;
    let mut subscription = loop {
        let frame = socket.read_frame().await?;
        if frame.opcode != OpCode::Text {
            return Ok(());
        }
        let answer = answer(&String::from_utf8_lossy(&frame.payload), hub.symbols());
        socket.write_frame(text(answer.text)).await?;
        if let Some(instruments) = answer.subscribed {
            break hub.subscribe(&instruments);
        }
    };
    while let Some(payload) = subscription.next().await {
        socket.write_frame(Frame::binary(Payload::Borrowed(&payload))).await?;
    }
    Ok(())
}

fn text(text: String) -> Frame<'static> {
    Frame::text(Payload::Owned(text.into_bytes()))
}
