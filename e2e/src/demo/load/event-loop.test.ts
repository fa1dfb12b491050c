import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from '@jest/globals';
import { EventLoopWatch } from './event-loop.js';
import { nowMs } from './protocol.js';

it('tells how long the event loop stood still, and when', async () => {
  const watch = new EventLoopWatch();
  const beganMs = nowMs();
  watch.begin();
  await sleep(30);
  const stallMs = nowMs();
  while (nowMs() < stallMs + 80);
  await sleep(30);
  expect(watch.end().maxMs).toBeGreaterThan(60);
  expect(watch.during(stallMs, nowMs())).toBeGreaterThan(60);
  expect(watch.during(beganMs - 20, beganMs - 10)).toBe(0);
});
