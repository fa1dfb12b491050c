/** The programs on Debian's 6.1 kernel, in QEMU: loaded, attached (clsact) and put through the packet tests. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { build } from 'esbuild';
import { defaultObjectPath } from '@serval/node-agent';
import { runInGuest } from '../guest/index.js';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const guest = {
  addon: '/test/serval.node',
  object: '/test/sal_pod.bpf.o',
  entry: '/test/sal_entry.bpf.o',
  connect: '/test/sal_connect.bpf.o',
  script: '/test/main.mjs',
};

describe("Debian's 6.1 kernel", () => {
  let folder: string;

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'serval-old-kernel-'));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  /** Bundle a program and run it in the guest: all its lines, and whether it was content. */
  async function run(
    entry: string,
    args: string[],
    timeoutMs: number,
  ): Promise<{ exitCode: number; lines: string[] }> {
    const outfile = join(folder, 'main.mjs');
    await build({
      entryPoints: [join(root, entry)],
      bundle: true,
      platform: 'node',
      format: 'esm',
      outfile,
      logLevel: 'error',
    });
    const { exitCode, lines } = await runInGuest({
      files: {
        [guest.script]: outfile,
        [guest.addon]: join(root, 'node-agent/native/build/Release/serval.node'),
        [guest.object]: defaultObjectPath,
        [guest.entry]: join(dirname(defaultObjectPath), 'sal_entry.bpf.o'),
        [guest.connect]: join(dirname(defaultObjectPath), 'sal_connect.bpf.o'),
      },
      command: ['env', `SERVAL_ADDON=${guest.addon}`, 'node', guest.script, ...args],
      timeoutMs,
    });
    return { exitCode, lines };
  }

  const failures = (lines: readonly string[]): string[] =>
    lines.filter((line) => /^(FAILED| )/.test(line)).slice(0, 30);

  it('attaches by clsact, translates, adopts, and refuses what it lacks', async () => {
    const { exitCode, lines } = await run('e2e/dist/suites/old-kernel-guest.js', [guest.object], 180_000);
    expect(failures(lines)).toEqual([]);
    expect([lines.at(-1), exitCode]).toEqual(['all steps passed', 0]);
  }, 240_000);

  it('gives clients of services their replicas, while the table is changed too', async () => {
    const { exitCode, lines } = await run(
      'e2e/dist/suites/old-kernel-services-guest.js',
      [guest.object, guest.connect],
      180_000,
    );
    expect(failures(lines)).toEqual([]);
    expect([lines.at(-1), exitCode]).toEqual(['all steps passed', 0]);
  }, 240_000);

  it('passes the packet tests', async () => {
    const { exitCode, lines } = await run(
      'node-agent/dist/packet-tests/guest-main.js',
      [guest.addon, guest.object],
      400_000,
    );
    expect(failures(lines)).toEqual([]);
    expect(lines.at(-1)).toMatch(/^[1-9]\d{2,} passed, 0 failed/);
    expect(exitCode).toBe(0);
  }, 460_000);
});
