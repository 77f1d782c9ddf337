// Bun: its publish is that of uWebSockets, a topic for each instrument.

import { SUBPROTOCOL, answer, serve, welcome } from "./shared.mjs";

/** More than ever waits for a client: a message beyond this would be dropped without a word. */
const BACKPRESSURE_BYTES_MAX = 64 * 1024 * 1024;

/** Ticks from one turn of the event loop to the next: more in a turn gain nothing. */
const TICKS = 64;

const sockets = new Set();
const topics = [];
const topic = (instrument) => (topics[instrument] ??= `S${instrument}`);

const server = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  fetch(request, server) {
    const headers = { "Sec-WebSocket-Protocol": SUBPROTOCOL };
    if (server.upgrade(request, { headers })) return undefined;
    return new Response(null, { status: 404 });
  },
  websocket: {
    perMessageDeflate: false,
    backpressureLimit: BACKPRESSURE_BYTES_MAX,
    closeOnBackpressureLimit: false,
    open(socket) {
      sockets.add(socket);
      socket.send(welcome);
    },
    message(socket, request) {
      const { text, subscribed = [] } = answer(request);
      socket.send(text);
      for (const instrument of subscribed) socket.subscribe(topic(instrument));
    },
    close(socket) {
      sockets.delete(socket);
    },
  },
});

const send = (instrument, payload) => server.publish(topic(instrument), payload);

const waiting = () => {
  let most = 0;
  for (const socket of sockets) most = Math.max(most, socket.getBufferedAmount());
  return most;
};

serve(server.port, { send, waiting, ticks: TICKS });
