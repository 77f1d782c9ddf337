// Everything that a replay says, as one hash: the same with and without compression. The twin of deflate_live.py, for
// tickcast.v1.bin alone: node deflate_live.mjs ADDRESS PROTOCOL on|off

import { createHash } from 'node:crypto';
import WebSocket from 'ws';

const [address, protocol, compression] = process.argv.slice(2);
const channels = ['quotes', 'trades', 'book', 'orders', 'ticker', 'bars', 'status'];
const sha = createHash('sha256');
let messages = 0;

// Publish stamps apart: 8 bytes behind a message's length, kind, sequences and event time.
function take(frame) {
  for (let start = 16; start < frame.length; ) {
    const end = start + frame.readUInt32LE(start);
    for (const [from, to] of [[1, 2], [4, 8], [start, start + 32], [start + 40, end]]) sha.update(frame.subarray(from, to));
    messages += 1;
    start = end;
  }
}

const socket = new WebSocket(`ws://${address}/ws`, [protocol], { perMessageDeflate: compression === 'on' });
socket.on('open', () => socket.send(JSON.stringify({ op: 'subscribe', symbols: ['*'], channels, snapshot: false })));
socket.on('message', (data, isBinary) => {
  if (isBinary) return take(data);
  const message = JSON.parse(data);
  if (message.type === 'subscribed' && !message.more) console.log('ready');
  if (message.type === 'notice' && message.code === 'replay_ended') socket.close(1000);
});
socket.on('error', (error) => { throw error; });
socket.on('close', () => console.log(JSON.stringify({ agreed: socket.extensions, messages, hash: sha.digest('hex') })));
