import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, expect, it } from '@jest/globals';
import { childOf, identify, isAlive, killProcess, run, tool } from './processes.js';

describe('tool', () => {
  it('finds a program, and names the Debian package of one that is missing', () => {
    expect(tool('sh')).toMatch(/\/sh$/);
    expect(() => tool('no-such-tool')).toThrow(/apt-get install no-such-tool/);
  });
});

describe('run', () => {
  it('passes input and returns output', async () => {
    expect(await run('sh', ['-c', 'cat; echo two >&2'], { input: 'one' })).toEqual({
      stdout: 'one',
      stderr: 'two\n',
    });
  });

  it('throws with the last words, the exit code and the output', async () => {
    await expect(run('sh', ['-c', 'echo out; echo why >&2; exit 7'])).rejects.toMatchObject({
      code: 'ERR_KERNEL',
      reason: 'it ended with exit code 7: why',
      details: { exitCode: 7, stdout: 'out\n', stderr: 'why\n' },
    });
    await expect(run('/no/such/program', [])).rejects.toMatchObject({
      code: 'ERR_KERNEL',
      reason: expect.stringMatching(/ENOENT/),
    });
    await expect(run('sleep', ['10'], { timeout: 20 })).rejects.toThrow(/ended by SIGTERM/);
  });
});

describe('process identities', () => {
  it('hold for one process only', async () => {
    const child = spawn('sleep', ['100'], { stdio: 'ignore' });
    await once(child, 'spawn');
    const identity = identify(child.pid ?? 0) ?? { pid: 0, start: 0 };
    expect(isAlive(identity)).toBe(true);
    expect(childOf(process.pid)).toBeGreaterThan(0);
    const former = { ...identity, start: identity.start - 1 }; // who had this pid before
    expect(isAlive(former)).toBe(false);
    killProcess(former);
    expect(isAlive(identity)).toBe(true);
    killProcess(identity);
    expect(await once(child, 'exit')).toEqual([null, 'SIGKILL']);
    expect(isAlive(identity)).toBe(false);
  });

  it('do not count a zombie as alive', async () => {
    const parent = spawn('sh', ['-c', 'sleep 0.01 & echo $!; exec sleep 100'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const [text] = (await once(parent.stdout, 'data')) as [Buffer];
    const zombie = Number(text.toString());
    await new Promise((resolve) => setTimeout(resolve, 200)); // its new parent never asks for it
    expect(() => process.kill(zombie, 0)).not.toThrow();
    expect(identify(zombie)).toBeUndefined();
    parent.kill();
  });
});
