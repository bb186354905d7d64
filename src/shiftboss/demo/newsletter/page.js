'use strict';
// Keeps the numbers up to date. Without it the page works too: it loads itself again while there is work.
const at = (id) => document.getElementById(id);
const EVERY_MS = 400;
let last = null; // [time, sent] of the answer before
let spoken = -1;

function show(now) {
  at('sent').textContent = now.sent;
  at('total').textContent = now.total;
  at('release').textContent = now.release;
  document.documentElement.className = Number(now.release) % 2 === 0 ? 'even' : 'odd';
  Object.assign(at('bar'), { max: now.total || 1, value: now.sent });
  at('workers').replaceChildren(...now.workers.map(row));
  rate(now);
  speak(now);
}

function row(worker) {
  const line = document.createElement('tr');
  for (const text of [worker.pid, worker.sent, worker.alive ? 'works' : 'gone']) {
    line.insertCell().textContent = text;
  }
  return line;
}

function rate(now) {
  const time = performance.now();
  const perSecond = last ? (1000 * (now.sent - last[1])) / (time - last[0]) : 0;
  at('rate').textContent = perSecond > 0 ? `${Math.round(perSecond)} a second` : '';
  last = [time, now.sent];
}

// a screen reader hears each quarter, not each number
function speak(now) {
  const quarter = now.total ? Math.floor((4 * now.sent) / now.total) : 0;
  if (quarter !== spoken && now.total) at('spoken').textContent = `${now.sent} of ${now.total} sent`;
  spoken = quarter;
}

async function poll() {
  try {
    show(await (await fetch('/progress')).json());
  } catch {
    at('rate').textContent = 'the page is being restarted…';
    last = null;
  }
  setTimeout(poll, EVERY_MS);
}

document.querySelector('form').addEventListener('submit', async (event) => {
  event.preventDefault();
  const began = performance.now();
  try {
    const answer = await fetch('/send', { method: 'POST', redirect: 'manual' });
    if (answer.type !== 'opaqueredirect') throw new Error(answer.status);
    at('answer').textContent = `Answered in ${Math.round(performance.now() - began)} ms; the workers do the rest.`;
  } catch {
    at('answer').textContent = 'The page does not answer at the moment: try again.';
  }
});

poll();
