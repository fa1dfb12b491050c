import { existsSync } from 'node:fs';
import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { ServalError } from '@serval/api';
import { runInGuest } from './run.js';

/** The first boot on a machine downloads the kernel and makes the disk. */
const bootLimitMs = 180_000;
const timeoutMs = 90_000;

async function failureOf(promise: Promise<unknown>): Promise<ServalError> {
  const outcome = await promise.catch((error: unknown) => error);
  if (outcome instanceof ServalError) return outcome;
  throw new Error(`a ServalError was expected, not ${String(outcome)}`);
}

/** Processes whose command line holds this text. */
async function processesNaming(text: string): Promise<string[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const lines = await Promise.all(
    pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')),
  );
  return lines.filter((line) => line.includes(text));
}

describe('a guest with an older kernel', () => {
  it(
    'runs Node with the files that were given, and passes output and exit code on',
    async () => {
      const folder = await mkdtemp(join(tmpdir(), 'guest-test-'));
      try {
        const script = `
          import { existsSync, readFileSync } from 'node:fs';
          import { release } from 'node:os';
          console.log(JSON.stringify({
            node: process.version,
            kernel: release(),
            argument: process.argv[2],
            btf: existsSync('/sys/kernel/btf/vmlinux'),
            jit: readFileSync('/proc/sys/net/core/bpf_jit_enable', 'utf8').trim(),
            mounts: readFileSync('/proc/mounts', 'utf8').split('\\n').map((line) => line.split(' ')[1]),
          }));
          console.error('on stderr');
          process.stdout.write('without an end');
          process.exitCode = 37;`;
        await writeFile(join(folder, 'main.mjs'), script);
        const heard: string[] = [];
        const result = await runInGuest({
          files: { '/test': folder },
          command: ['node', '/test/main.mjs', 'it\'s "quoted" $HOME'],
          timeoutMs,
          onLine: (line) => heard.push(line),
        });
        expect(result.exitCode).toBe(37);
        expect(heard).toEqual(result.lines);
        const [facts, ...rest] = result.lines;
        expect(rest).toEqual(['on stderr', 'without an end']);
        expect(JSON.parse(facts ?? '')).toMatchObject({
          node: expect.stringMatching(/^v24\./),
          kernel: expect.stringMatching(/^6\.1\./),
          argument: 'it\'s "quoted" $HOME',
          btf: true,
          jit: '1',
          mounts: expect.arrayContaining(['/sys/fs/bpf', '/sys/fs/cgroup', '/run', '/tmp']),
        });
        expect(result.bootMs).toBeGreaterThan(0);
        expect(result.totalMs).toBeGreaterThanOrEqual(result.bootMs);
      } finally {
        await rm(folder, { recursive: true });
      }
    },
    bootLimitMs,
  );

  it(
    'joins network namespaces by veth and loads modules when they are asked for',
    async () => {
      const steps = [
        'ip netns add a && ip netns add b',
        'ip link add va netns a type veth peer name vb netns b',
        'ip -n a addr add 10.9.0.1/24 dev va && ip -n a link set va up',
        'ip -n b addr add 10.9.0.2/24 dev vb && ip -n b link set vb up',
        'tc -n a qdisc add dev va clsact',
        'ip netns exec a ping -c 2 -W 5 10.9.0.2',
        'nsenter --net=/run/netns/b timeout 5 ip -V',
      ];
      const result = await runInGuest({ files: {}, command: ['sh', '-ec', steps.join('\n')], timeoutMs });
      expect(result.lines.join('\n')).toContain('2 packets received');
      expect(result.lines.at(-1)).toContain('iproute2');
      expect(result.exitCode).toBe(0);
    },
    bootLimitMs,
  );

  it(
    'is ended at its time limit and leaves nothing behind',
    async () => {
      const run = runInGuest({ files: {}, command: ['sleep', '1000'], timeoutMs: 1500 });
      const error = await failureOf(run);
      expect(error.reason).toContain('it was ended after 1500 ms');
      expect(error.details).toMatchObject({ timedOut: true, exitCode: undefined });
      const folder = String(error.details['folder']);
      expect(existsSync(folder)).toBe(false);
      expect(await processesNaming(folder)).toEqual([]);
    },
    bootLimitMs,
  );

  it(
    'tells of a kernel that died, with its last words',
    async () => {
      const run = runInGuest({ files: {}, command: ['sh', '-c', 'echo c > /proc/sysrq-trigger'], timeoutMs });
      const error = await failureOf(run);
      expect(error.code).toBe('ERR_KERNEL');
      expect(error.reason).toContain('Kernel panic');
      expect(String(error.details['kernelLog'])).toContain('sysrq triggered crash');
    },
    bootLimitMs,
  );

  it('refuses files where the guest would not see them, and files that are not there', async () => {
    const place = await failureOf(
      runInGuest({ files: { '/usr/x': '/etc/hosts' }, command: ['true'], timeoutMs }),
    );
    expect(place.code).toBe('ERR_BAD_INPUT');
    const absent = join(tmpdir(), 'surely-not-there');
    expect(existsSync(absent)).toBe(false);
    const missing = await failureOf(runInGuest({ files: { '/x': absent }, command: ['true'], timeoutMs }));
    expect(missing.code).toBe('ERR_NOT_FOUND');
  });
});
