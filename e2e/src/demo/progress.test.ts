import { afterEach, describe, expect, it, jest } from '@jest/globals';
import { Progress, formatElapsed } from './progress.js';

/** A progress on an output that remembers, with a clock that is set by hand. */
function make(isTTY: boolean, env: Record<string, string> = {}, columns = 80) {
  const written: string[] = [];
  const clock = { ms: 0 };
  const progress = new Progress({
    output: { isTTY, columns, write: (text) => written.push(text) },
    env,
    now: () => clock.ms,
  });
  return { progress, clock, written, text: () => written.join('') };
}

afterEach(() => {
  jest.useRealTimers();
});

describe('elsewhere than on a terminal', () => {
  it('writes plain lines: one when a step begins, one when it ends', () => {
    const { progress, clock, text } = make(false);
    const step = progress.step('build the lab');
    step.update('router 3');
    clock.ms = 1234;
    step.done('3 sites');
    expect(text()).toBe('  build the lab ...\n  ✓ build the lab: 3 sites  1.2 s\n');
  });
});

describe('on a terminal', () => {
  it('keeps one live line with spinner, detail and time, and replaces it at the end', () => {
    jest.useFakeTimers();
    const { progress, clock, written } = make(true, { NO_COLOR: '1' });
    const step = progress.step('dump');
    expect(written.at(-1)).toBe('\r\x1b[2K  ⠋ dump  0 ms');
    clock.ms = 200;
    jest.advanceTimersByTime(100);
    expect(written.at(-1)).toBe('\r\x1b[2K  ⠙ dump  200 ms');
    step.update('12 MB');
    expect(written.at(-1)).toContain('dump: 12 MB');
    step.done();
    expect(written.slice(-2)).toEqual(['\r\x1b[2K', '  ✓ dump  200 ms\n']);
    const count = written.length;
    jest.advanceTimersByTime(1000);
    expect(written).toHaveLength(count);
  });

  it('puts notes above the live line', () => {
    const { progress, written } = make(true, { NO_COLOR: '1' });
    progress.step('dump');
    progress.note('a reset');
    expect(written.slice(-3)).toEqual(['\r\x1b[2K', 'a reset\n', expect.stringContaining('dump')]);
    progress.close();
  });

  it('never lets the live line wrap', () => {
    const { progress, written } = make(true, { NO_COLOR: '1' }, 40);
    progress.step('x'.repeat(100));
    expect(written.at(-1)?.replace('\r\x1b[2K', '').length).toBeLessThan(40);
    progress.close();
  });

  it('has colors unless NO_COLOR is set, and no spinner on a dumb one', () => {
    const colored = make(true);
    colored.progress.step('dump').done();
    expect(colored.text()).toContain('\x1b[32m✓');
    const plain = make(true, { NO_COLOR: '1' });
    plain.progress.step('dump').fail();
    expect(plain.text()).not.toContain('\x1b[31m');
    const dumb = make(true, { TERM: 'dumb' });
    dumb.progress.step('dump').done();
    expect(dumb.text()).not.toContain('\x1b');
  });
});

describe('run', () => {
  it('ends the step with the work, once', async () => {
    const { progress, text } = make(false);
    await expect(
      progress.run('count', (step) => {
        step.done('3 of them');
        return Promise.resolve(3);
      }),
    ).resolves.toBe(3);
    await expect(progress.run('fall', () => Promise.reject(new Error('ouch')))).rejects.toThrow('ouch');
    expect(text()).toBe('  count ...\n  ✓ count: 3 of them  0 ms\n  fall ...\n  ✗ fall: ouch  0 ms\n');
  });
});

describe('formatElapsed', () => {
  it('changes to seconds at one second', () => {
    expect([formatElapsed(999.4), formatElapsed(999.6)]).toEqual(['999 ms', '1.0 s']);
  });
});
