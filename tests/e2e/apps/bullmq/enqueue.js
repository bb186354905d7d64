'use strict';
// Put a job on the queue: enqueue.js NAME SECONDS
const { Queue } = require('bullmq');

(async () => {
  const queue = new Queue('work', { connection: { path: process.env.REDIS_SOCKET } });
  await queue.add('work', { name: process.argv[2], seconds: Number(process.argv[3]) });
  await queue.close();
})();
