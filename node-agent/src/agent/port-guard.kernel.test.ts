import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { readReservedPorts, writeReservedPorts } from '../host/reserved-ports.js';
import { PortGuard } from './port-guard.js';

const name = `serval-ports-${process.pid}`;
const netns = `/run/netns/${name}`;
const many = Array.from({ length: 9_000 }, (_, i) => 33_000 + 3 * i);

describe('ports of moved flows', () => {
  const errors: unknown[] = [];
  let now: jest.SpiedFunction<typeof performance.now>;

  beforeEach(() => {
    execFileSync('ip', ['netns', 'add', name]);
    errors.length = 0;
    now = jest.spyOn(performance, 'now');
  });
  afterEach(() => {
    now.mockRestore();
    execFileSync('ip', ['netns', 'del', name]);
  });

  async function becomes(expected: readonly number[]): Promise<void> {
    const wanted = [...expected].sort((a, b) => a - b);
    for (let turn = 0; turn < 200; turn++) {
      const there = [...(await readReservedPorts(netns))].sort((a, b) => a - b);
      if (there.length === wanted.length && turn > 2) {
        expect(there).toEqual(wanted);
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    expect([...(await readReservedPorts(netns))]).toEqual(wanted);
  }

  it('are not chosen any more, beside those that were reserved before, until their flows have ended', async () => {
    await writeReservedPorts(netns, [8080]);
    const guard = new PortGuard((error) => errors.push(error));
    guard.reserve(netns, [40_001, 8080]);
    guard.reserve(netns, many);
    await becomes([8080, 40_001, ...many.filter((port) => port !== 40_001)]);
    guard.keepOnly(netns, new Set());
    await becomes([8080, 40_001, ...many.filter((port) => port !== 40_001)]);
    now.mockReturnValue(performance.timeOrigin + 1e9);
    guard.keepOnly(netns, new Set([40_001]));
    await becomes([8080, 40_001]);
    expect(errors).toEqual([]);
  });

  it('of a pod that has ended are nothing to tell of', async () => {
    const guard = new PortGuard((error) => errors.push(error));
    guard.reserve('/run/netns/serval-gone', [40_001]);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(errors).toEqual([]);
  });
});
