import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hasEnded } from './process-end.js';

let cgroup = '';
beforeEach(() => void (cgroup = mkdtempSync(join(tmpdir(), 'serval-cgroup-'))));
afterEach(() => rmSync(cgroup, { recursive: true, force: true }));

const alive = process.pid;
const gone = (): number => spawnSync(process.execPath, ['-e', '']).pid;
const ended = (pid: number, at = cgroup): boolean => hasEnded({ pausePid: 1, pid, cgroup: at });

describe('a process', () => {
  it('has ended when nothing lives in its cgroup, whoever has its number', () => {
    const events = (populated: number): void =>
      writeFileSync(join(cgroup, 'cgroup.events'), `populated ${populated}\nfrozen 0\n`);
    events(1);
    expect([ended(alive), ended(gone())]).toEqual([false, false]);
    events(0);
    expect(ended(alive)).toBe(true);
    rmSync(cgroup, { recursive: true });
    expect(ended(alive)).toBe(true);
  });

  it('without a cgroup of version 2 has ended when its number is nobody else', () => {
    expect([ended(alive), ended(gone())]).toEqual([false, true]);
    expect([ended(alive, ''), ended(gone(), '')]).toEqual([false, true]);
  });
});
