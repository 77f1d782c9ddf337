// Everything that a replay says to a browser, as one hash: the twin of deflate_live.py in a real Chromium, which offers
// permessage-deflate unasked: node deflate_browser.mjs ADDRESS PROTOCOL on CHROMIUM

import { createServer } from 'node:http';
import { chromium } from 'playwright-core';

const [address, protocol, , executablePath] = process.argv.slice(2);

// A page of this machine: its origin is one that the server allows.
const pages = createServer((_, answer) => answer.setHeader('content-type', 'text/html').end('<title>feed</title>'));
await new Promise((done) => pages.listen(0, '127.0.0.1', done));

const browser = await chromium.launch({
  executablePath,
  // Root has no sandbox; nothing but the server is asked.
  args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
const page = await browser.newPage();
await page.exposeFunction('ready', () => console.log('ready'));
await page.goto(`http://127.0.0.1:${pages.address().port}/`);

const summary = await page.evaluate(([address, protocol]) => new Promise((resolve, reject) => {
  const channels = ['quotes', 'trades', 'book', 'orders', 'ticker', 'bars', 'status'];
  const hashed = [];
  let messages = 0;

  // Publish stamps apart: 8 bytes behind a message's length, kind, sequences and event time.
  function takeFrame(frame) {
    for (let start = 16; start < frame.length; ) {
      const end = start + new DataView(frame.buffer).getUint32(start, true);
      for (const [from, to] of [[1, 2], [4, 8], [start, start + 32], [start + 40, end]]) hashed.push(frame.slice(from, to));
      messages += 1;
      start = end;
    }
  }

  function takeText(text) {
    hashed.push(new TextEncoder().encode(text.replace(/"sent_ns":"\d+",/, '')));
    messages += 1;
  }

  const socket = new WebSocket(`ws://${address}/ws`, [protocol]);
  socket.binaryType = 'arraybuffer';
  socket.onopen = () => socket.send(JSON.stringify({ op: 'subscribe', symbols: ['*'], channels, snapshot: false }));
  socket.onmessage = ({ data }) => {
    if (typeof data !== 'string') return takeFrame(new Uint8Array(data));
    const message = JSON.parse(data);
    if ('sent_ns' in message) return takeText(data);
    if (message.type === 'subscribed' && !message.more) window.ready();
    if (message.type === 'notice' && message.code === 'replay_ended') socket.close(1000);
  };
  socket.onclose = async ({ code, reason }) => {
    if (code !== 1000) return reject(new Error(`closed with ${code}: ${reason}`));
    const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', await new Blob(hashed).arrayBuffer()));
    const hash = [...digest].map((byte) => byte.toString(16).padStart(2, '0')).join('');
    resolve({ agreed: socket.extensions, messages, hash });
  };
}), [address, protocol]);

await browser.close();
pages.close();
console.log(JSON.stringify(summary));
