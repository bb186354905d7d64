'use strict';
// A web server without any package: /?seconds=N answers after N seconds. SIGTERM lets requests in flight end.
const http = require('http');

const server = http.createServer((request, response) => {
  const { searchParams } = new URL(request.url, 'http://localhost');
  const seconds = Number(searchParams.get('seconds') || 0);
  console.log(`working ${seconds.toFixed(1)} s`);
  setTimeout(() => {
    const said = { uid: process.getuid(), argv: process.argv.slice(2), node_env: process.env.NODE_ENV };
    response.writeHead(200, { 'content-type': 'application/json', connection: 'close' });
    response.end(JSON.stringify(said));
  }, seconds * 1000);
});
server.listen(Number(process.env.PORT), '127.0.0.1', () => console.log('listening'));
process.on('SIGTERM', () => server.close(() => process.exit(0)));
