// Node's `ws`: one `send` a message and client, as its documentation has it under "Server broadcast".

import { createServer } from "node:http";
import { WebSocketServer } from "ws";
import { SUBPROTOCOL, answer, flags, serve, welcome } from "./shared.mjs";

// Whoever wants no WebSocket.
const http = createServer((_request, response) => response.writeHead(404).end());
const server = new WebSocketServer({
  server: http,
  perMessageDeflate: false,
  handleProtocols: () => SUBPROTOCOL,
});
/** Writes from one turn of the event loop to the next, so that others are heard meanwhile: some 40 ms. */
const WRITES = 4096;

/** The clients of each instrument. */
const subscribers = Array.from({ length: flags.symbols }, () => new Set());

server.on("connection", (socket) => {
  socket.send(welcome);
  socket.on("message", (request) => {
    const { text, subscribed = [] } = answer(request.toString());
    socket.send(text);
    for (const instrument of subscribed) subscribers[instrument].add(socket);
  });
  // A client that goes away is no fault.
  socket.on("error", () => {});
  socket.on("close", () => subscribers.forEach((sockets) => sockets.delete(socket)));
});

const send = (instrument, payload) => {
  for (const socket of subscribers[instrument]) socket.send(payload);
};

const waiting = () => {
  let most = 0;
  for (const socket of server.clients) most = Math.max(most, socket.bufferedAmount);
  return most;
};

const ticks = Math.ceil(WRITES / flags.connections);

http.listen({ port: 0, host: "127.0.0.1", backlog: 1024 }, () => serve(http.address().port, { send, waiting, ticks }));
