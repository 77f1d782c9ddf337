//! `tungstenite`: tokio-tungstenite, a broadcast channel, one `send` a message.

use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::hub::Hub;
use crate::shared::{Failure, Flags, SUBPROTOCOL, answer, on_tokio, welcome};

pub fn run(flags: Flags) -> Result<(), Failure> {
    on_tokio(flags, |socket, hub| async move {
        // A client that goes away is no fault; one that wants no WebSocket has its answer.
        let _ = serve(socket, hub).await;
    })
}

/// Names the subprotocol in the answer to a handshake.
#[expect(clippy::result_large_err, reason = "the shape that the library asks for")]
pub fn subprotocol(_: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    response.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static(SUBPROTOCOL));
    Ok(response)
}

async fn serve(socket: TcpStream, hub: Arc<Hub>) -> Result<(), Error> {
    let mut socket = tokio_tungstenite::accept_hdr_async(socket, subprotocol).await?;
    socket.send(Message::text(welcome())).await?;
    let mut subscription = loop {
        let Some(Message::Text(request)) = socket.next().await.transpose()? else { return Ok(()) };
        let answer = answer(&request, hub.symbols());
        socket.send(Message::text(answer.text)).await?;
        if let Some(instruments) = answer.subscribed {
            break hub.subscribe(&instruments);
        }
    };
    while let Some(payload) = subscription.next().await {
        socket.send(Message::Binary(payload)).await?;
    }
    Ok(())
}
