import { describe, expect, it } from '@jest/globals';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ServalError } from '@serval/api';
import { runCommandLine, type Actions } from './command-line.js';
import { defaultConfigText } from './config.js';

interface Ran {
  code: number;
  out: string;
  err: string;
  asked: unknown[][];
}

async function run(words: string[], failure?: Error): Promise<Ran> {
  const ran: Ran = { code: -1, out: '', err: '', asked: [] };
  const asked = (...what: unknown[]): Promise<string[]> => {
    ran.asked.push(what);
    return failure === undefined ? Promise.resolve(['/made']) : Promise.reject(failure);
  };
  const actions: Actions = {
    run: async ({ node }) => void (await asked('run', node)),
    certs: {
      init: (...words) => asked('init', ...words),
      issue: (...words) => asked('issue', ...words),
      rotate: (...words) => asked('rotate', ...words),
      retire: (...words) => asked('retire', ...words),
    },
    print: (text) => (ran.out += text),
    printError: (text) => (ran.err += text),
  };
  ran.code = await runCommandLine(words, '1.2.3', actions);
  return ran;
}

async function withConfig(text: string, work: (file: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'servald-'));
  writeFileSync(join(folder, 'agent.yaml'), text);
  await work(join(folder, 'agent.yaml')).finally(() => rmSync(folder, { recursive: true }));
}

const failure = new ServalError('ERR_CONFLICT', { subject: 'it', reason: 'is so', remedy: 'Do that' });

describe('servald', () => {
  it('runs an agent with its configuration', () =>
    withConfig(defaultConfigText(), async (file) => {
      expect(await run(['--config', file])).toMatchObject({ code: 0, asked: [['run', 'host-1']], err: '' });
    }));

  it('tells a wrong configuration from a failure', () =>
    withConfig(defaultConfigText().replace('host-1', 'H'), async (file) => {
      const ran = await run(['--config', file]);
      expect(ran).toMatchObject({ code: 2, asked: [] });
      expect(ran.err).toMatch(/node in .*agent\.yaml: .*\. .*\.\n$/);
    }));

  it('says in one line what failed', () =>
    withConfig(defaultConfigText(), async (file) => {
      const ran = await run(['--config', file], failure);
      expect(ran).toMatchObject({ code: 1, err: 'servald: it: is so. Do that.\n' });
    }));

  it.each([
    [[]],
    [['--bogus']],
    [['bogus']],
    [['certs', 'issue', 'dir']],
    [['certs', 'init', 'd', '--days', '0']],
  ])('calls %j wrong usage', async (words) => {
    const ran = await run(words);
    expect([ran.code, ran.asked]).toEqual([2, []]);
    expect(ran.err).not.toBe('');
  });

  it('prints help with its exit codes, its version, and a configuration', async () => {
    const help = await run(['--help']);
    expect([help.code, help.err]).toEqual([0, '']);
    expect(help.out).toMatch(/Exit codes:[^]*data plane/);
    expect(await run(['--version'])).toMatchObject({ code: 0, out: '1.2.3\n' });
    expect(await run(['--print-default-config'])).toMatchObject({ code: 0, out: defaultConfigText() });
  });

  it('makes certificates, and says where', async () => {
    expect(await run(['certs', 'init', 'd'])).toMatchObject({
      code: 0,
      out: '/made\n',
      asked: [['init', 'd', undefined]],
    });
    expect((await run(['certs', 'issue', 'd', 'n', '--days', '9'])).asked).toEqual([['issue', 'd', 'n', 9]]);
    expect((await run(['certs', 'rotate', 'd'])).asked).toEqual([['rotate', 'd']]);
    expect((await run(['certs', 'retire', 'd'])).asked).toEqual([['retire', 'd']]);
    expect(await run(['certs', 'init', 'd'], failure)).toMatchObject({ code: 1, out: '' });
  });
});
