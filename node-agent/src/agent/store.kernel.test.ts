/** The state store on a disk that is really full, and in a process that is really killed. */
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { StateStore } from './store.js';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'serval-state-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('StateStore', () => {
  it('keeps the record on a full disk, and can still write what has begun', async () => {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'serval-test', folder]);
    try {
      const store = await StateStore.open(folder);
      await store.write('begun', 'x'.repeat(1000));
      await store.write('begun', 'y'.repeat(1000));
      fill(join(folder, 'ballast'));
      await expect(store.write('fresh', 'x'.repeat(1000))).rejects.toMatchObject({
        code: 'ERR_NO_SPACE',
        details: { uncertain: false },
      });
      // What has begun may grow: a release is longer than what was written before it.
      await store.write('begun', 'z'.repeat(12_000));
      await store.write('begun', 'u'.repeat(12_000));
      rmSync(join(folder, 'ballast'));
      await store.write('fresh', 'now');
      const found = (await StateStore.open(folder)).load();
      expect(Object.fromEntries(found)).toEqual({ begun: 'u'.repeat(12_000), fresh: 'now' });
    } finally {
      execFileSync('umount', [folder]);
    }
  });

  it('has what was confirmed, or something newer, after a kill -9 at any moment', async () => {
    const writer = new URL('../../dist/agent/store.js', import.meta.url).pathname;
    const script = `
      const { StateStore } = await import(${JSON.stringify(writer)});
      const store = await StateStore.open(${JSON.stringify(folder)});
      let n = store.load().get('k')?.n ?? 0;
      for (;;) { n += 1; await store.write('k', { n, pad: 'x'.repeat(n % 7000) }); process.stdout.write(n + '\\n'); }`;
    let confirmed = 0;
    for (let round = 0; round < 10; round += 1) {
      const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      let output = '';
      child.stdout.on('data', (text: Buffer) => (output += text.toString()));
      const ended = new Promise((resolve) => child.on('close', resolve));
      const before = confirmed;
      while (!output.includes('\n')) await sleep(1);
      await sleep(round * 3);
      child.kill('SIGKILL');
      await ended;
      confirmed = Number(output.trimEnd().split('\n').at(-1));
      expect(confirmed).toBeGreaterThan(before);
      const problems: unknown[] = [];
      const store = await StateStore.open(folder, { onProblem: (problem) => problems.push(problem) });
      const { n, pad } = store.load().get('k') as { n: number; pad: string };
      expect([n === confirmed || n === confirmed + 1, pad.length]).toEqual([true, n % 7000]);
      confirmed = n;
    }
  }, 60_000);
});

function fill(path: string): void {
  const { bavail, bsize } = statfsSync(folder);
  writeFileSync(path, Buffer.alloc(bavail * bsize));
}
