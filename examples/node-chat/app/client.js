'use strict';
// node client.js [URL [work-ms]]: connects, checks that a chat message comes back and
// that work is acknowledged, prints one JSON line, exits 0. A failure exits 1.
const { io } = require('socket.io-client');

const url = process.argv[2] || 'http://127.0.0.1:3000';
const ms = Number(process.argv[3] || 0);
const socket = io(url, { transports: ['websocket'], reconnection: false, timeout: 4000 });
const seen = { connected: false, chat: false, work: false, shutdown: false };
const end = (code, why) => { console.log(JSON.stringify({ ...seen, why })); process.exit(code); };

setTimeout(() => end(1, 'timeout'), 10000 + ms).unref();
socket.on('connect_error', (e) => end(1, e.message));
socket.on('shutdown', () => { seen.shutdown = true; });
socket.on('disconnect', (why) => end(seen.work ? 0 : 1, why));
socket.on('connect', () => { seen.connected = true; socket.emit('chat', 'hello'); });
socket.on('chat', ({ text }) => {
  seen.chat = text === 'hello';
  socket.emit('work', { ms }, (reply) => { seen.work = reply.ok; end(0, 'done'); });
});
