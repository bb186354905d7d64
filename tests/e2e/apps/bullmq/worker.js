'use strict';
// A BullMQ worker whose job takes some seconds and leaves a mark before and after.
const fs = require('fs');
const { Worker } = require('bullmq');

const mark = (name) => fs.writeFileSync(`${process.env.MARKS}/${name}`, '');
const worker = new Worker('work', async ({ data }) => {
  mark(`${data.name}.started`);
  await new Promise((done) => setTimeout(done, data.seconds * 1000));
  mark(`${data.name}.done`);
}, { connection: { path: process.env.REDIS_SOCKET, maxRetriesPerRequest: null } });
worker.on('ready', () => console.log('ready'));

process.on('SIGTERM', async () => {
  await worker.close(); // waits for the job in hand
  process.exit(0);
});
