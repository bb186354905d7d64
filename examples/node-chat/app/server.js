'use strict';
// A small chat on Socket.IO. PORT and HOST say where it listens (127.0.0.1:3000 unless told).
//   GET /        the page; /healthz tells how many clients there are
//   "chat" text  goes to everybody
//   "work" {ms}  stands for something slow, such as storing an image: acknowledged when it is done
//
// SIGTERM drains: no new connections, clients are told (they connect again by themselves), what is in hand is
// finished, then it ends with 0. GRACE_MS is the most that it waits; shiftboss kills it after 10 s.
const fs = require('fs');
const http = require('http');
const path = require('path');
const { Server } = require('socket.io');

const host = process.env.HOST || '127.0.0.1';
const port = Number(process.env.PORT || 3000);
const graceMs = Number(process.env.GRACE_MS || 8000);
const page = fs.readFileSync(path.join(__dirname, 'index.html'));
let inHand = 0;
let draining = false;

const server = http.createServer((req, res) => {
  if (req.url === '/') {
    res.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end(page);
  } else if (req.url === '/healthz') {
    res.writeHead(200, { 'content-type': 'application/json' });
    res.end(JSON.stringify({ clients: io.engine.clientsCount, inHand, pid: process.pid }));
  } else if (!req.url.startsWith('/socket.io/')) {
    res.writeHead(404).end();
  }
});
const io = new Server(server, { maxHttpBufferSize: 16 * 1024 });

io.on('connection', (socket) => {
  socket.on('chat', (text) => {
    if (typeof text === 'string' && text) io.emit('chat', { from: socket.id, text: text.slice(0, 2000) });
  });
  socket.on('work', ({ ms = 0 } = {}, done) => {
    inHand += 1;
    setTimeout(() => {
      inHand -= 1;
      if (typeof done === 'function') done({ ok: true, ms });
    }, ms);
  });
});

function drain() {
  if (draining) return;
  draining = true;
  console.log(`SIGTERM: ${io.engine.clientsCount} client(s), ${inHand} in hand`);
  server.close();
  io.emit('shutdown', { graceMs });
  const until = Date.now() + graceMs;
  (function wait() {
    if (inHand > 0 && Date.now() < until) return setTimeout(wait, 20);
    const code = inHand > 0 ? 1 : 0;
    // what was sent last must leave before the connections are closed
    setTimeout(() => io.close(() => { console.log(`stopped (${code})`); process.exit(code); }), 50);
  })();
}
process.on('SIGTERM', drain);
process.on('SIGINT', drain);

server.listen(port, host, () => console.log(`listening on ${host}:${port} pid ${process.pid}`));
