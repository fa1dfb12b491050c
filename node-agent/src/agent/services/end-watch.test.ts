import { afterEach, beforeEach, expect, it } from '@jest/globals';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { EndWatch } from './end-watch.js';

let folder = '';
let heard = 0;
const watching = new EndWatch(() => heard++);
const events = (cgroup: string): string => join(folder, cgroup, 'cgroup.events');
/** In place: nobody is to find the file empty. */
const write = (cgroup: string, populated = 0): void =>
  writeFileSync(events(cgroup), `populated ${populated}\nfrozen ${populated}\n`, { flag: 'r+' });
const make = (cgroup: string): string => {
  mkdirSync(join(folder, cgroup));
  writeFileSync(events(cgroup), 'populated 1\nfrozen 0\n');
  return join(folder, cgroup);
};

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'serval-cgroups-'));
  heard = 0;
});
afterEach(() => {
  watching.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** Whether a change of it is heard of, which leaves so many processes in it. */
async function hears(cgroup: string, populated = 0): Promise<boolean> {
  const before = heard;
  write(cgroup, populated);
  for (const end = performance.now() + 300; performance.now() < end && heard === before;) await delay(1);
  return heard > before;
}

it('hears of ends in the cgroups that it follows, and no others', async () => {
  const [one, other] = [make('one'), make('other')];
  watching.follow(new Set([one]));
  expect([await hears('one'), await hears('other')]).toEqual([true, false]);
  watching.follow(new Set([other]));
  expect([await hears('one'), await hears('other')]).toEqual([false, true]);
});

it('does not take it for an end that one is frozen', async () => {
  watching.follow(new Set([make('one')]));
  expect([await hears('one', 1), await hears('one')]).toEqual([false, true]);
});

it('takes it that one is not there, and finds it when it is asked again', async () => {
  const later = new Set([join(folder, 'later')]);
  watching.follow(later);
  make('later');
  watching.follow(later);
  expect(await hears('later')).toBe(true);
});
