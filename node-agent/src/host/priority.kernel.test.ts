import { beforeAll, describe, expect, it } from '@jest/globals';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);

/* Needs root, as whoever takes precedence does. */
beforeAll(() => {
  if (process.getuid?.() !== 0) throw new Error('this test raises a priority: run it as root');
});

describe('goFirst', () => {
  it('is for all threads of the process, those that it was born with too', async () => {
    const script = `
      import { readFileSync, promises } from 'node:fs';
      import { getPriority } from 'node:os';
      import { goFirst, threads } from ${JSON.stringify(new URL('../../dist/host/priority.js', import.meta.url).href)};
      await promises.readFile('/proc/self/stat'); // the workers that do this are there from now on, at the latest
      const name = (id) => readFileSync('/proc/self/task/' + id + '/comm', 'utf8').trim();
      const all = () => threads().map((id) => [name(id), getPriority(id)]);
      const before = all();
      goFirst();
      console.log(JSON.stringify({ before, after: all() }));
    `;
    const { stdout } = await run(process.execPath, ['--input-type=module', '--eval', script], {
      env: { ...process.env, NODE_OPTIONS: '' },
    });
    const { before, after } = JSON.parse(stdout) as Record<'before' | 'after', Array<[string, number]>>;
    expect(before.filter(([name]) => name.startsWith('libuv')).length).toBeGreaterThan(0);
    expect(new Set(before.map(([, priority]) => priority))).toEqual(new Set([0]));
    expect(new Set(after.map(([, priority]) => priority))).toEqual(new Set([-14]));
  });
});
