import { describe, expect, it } from '@jest/globals';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ServalError } from '@serval/api';
import { cgroupRoot } from './cgroup.js';
import { criuFailure, defaultCriuPath, explainLog, run } from './criu-process.js';
import { dumpStatistics, freePidAfter, podPidOf } from './criu.js';
import { transfer } from './transfer.js';

describe("CRIU's PIDs in the target", () => {
  it('start at 300 when the workload has only low ones', () => {
    expect(freePidAfter(['core-4.img', 'core-8.img', 'inventory.img', 'pages-1.img'])).toBe(300);
  });

  it('meet none of a workload that has PIDs in the way', () => {
    expect(freePidAfter(['core-301.img', 'core-360.img', 'core-420.img'])).toBe(420);
    expect(freePidAfter(['core-420.img', 'core-4.img'])).toBe(300);
  });
});

describe('reading what the kernel and CRIU say', () => {
  it("finds a process's number inside its pod, however deep the pod is", () => {
    expect(podPidOf('Name:\tredis\nNSpid:\t8463\t4\nState:\tS')).toBe(4);
    expect(podPidOf('NSpid:\t8463\t77\t3\n')).toBe(3);
    expect(podPidOf('')).toBeUndefined();
  });

  it('reads the statistics of a dump', () => {
    const text = 'Frozen time: 13110 us\nMemory dump time: 3457 us\nMemory pages written: 686 (0x2ae)\n';
    expect(dumpStatistics(text)).toEqual({ frozenMs: 13.11, memoryMs: 3.457, pages: 686 });
  });

  it('shows the errors of a log, without the one that is harmless, or its last lines', () => {
    const log =
      "(00.1) Error (x.c:1): rlimit: Can't setup RLIMIT_NOFILE for self\n(00.2) fine\n(00.3) Error (y.c:2): bad\n";
    expect(explainLog(log)).toEqual(['(00.3) Error (y.c:2): bad']);
    expect(explainLog('one\ntwo\nthree\n', 2)).toEqual(['two', 'three']);
  });

  it('names the remedy that belongs to the reason', () => {
    const result = {
      code: 1,
      stdout: '',
      stderr: "Error (files-reg.c): Can't lookup mount=24 for fd=0",
      ms: 1,
    };
    const error = criuFailure('shop/redis-0', 'dump', '/nonexistent/dump.log', result);
    expect(error).toMatchObject({ code: 'ERR_MOVER', subject: 'shop/redis-0', details: { exitCode: 1 } });
    expect(error.remedy).toContain('inside the pod');
    const half = {
      ...result,
      stderr: 'Error (soccr/soccr.c:371): \trecv failed (1724, want 1375): Invalid argument',
    };
    expect(criuFailure('shop/redis-0', 'dump', '/nonexistent/dump.log', half).remedy).toContain('again');
  });

  it('finds the installed CRIU', () => {
    expect(defaultCriuPath({ HOME: '/home/a' })).toBe('/home/a/.cache/serval/criu/criu');
    expect(defaultCriuPath({ XDG_CACHE_HOME: '/c' })).toBe('/c/serval/criu/criu');
    expect(defaultCriuPath({ SERVAL_CRIU: '/opt/criu', XDG_CACHE_HOME: '/c' })).toBe('/opt/criu');
  });

  it('reports a command that can not be started', async () => {
    expect((await run('/nonexistent/criu', ['check'])).code).toBe(127);
    expect(await run('cat', [], 'said')).toMatchObject({ code: 0, stdout: 'said' });
  });

  it('says when cgroup v2 is nowhere', () => {
    expect(() => cgroupRoot(['/proc', '/nonexistent'])).toThrow(ServalError);
  });
});

describe('transfer', () => {
  const inFolder = async (work: (folder: string) => Promise<void>) => {
    const folder = mkdtempSync(join(tmpdir(), 'serval-transfer-'));
    try {
      await work(folder);
    } finally {
      rmSync(folder, { recursive: true });
    }
  };

  it('carries small and large images, byte for byte, and no logs', () =>
    inFolder(async (folder) => {
      const [source, target] = [folder, join(folder, 'target')];
      const pages = Buffer.alloc(1 << 20, 'memory');
      writeFileSync(join(source, 'pages-1.img'), pages);
      writeFileSync(join(source, 'core-4.img'), 'core');
      writeFileSync(join(source, 'dump.log'), 'log');
      const result = await transfer(source, target);
      expect(result).toMatchObject({ files: 2, bytes: pages.length + 4 });
      expect(readFileSync(join(target, 'pages-1.img')).equals(pages)).toBe(true);
      expect(readFileSync(join(target, 'core-4.img'), 'utf8')).toBe('core');
    }));

  it('says which side failed', () =>
    inFolder(async (folder) => {
      const missing = join(folder, 'missing');
      await expect(transfer(missing, folder)).rejects.toMatchObject({ code: 'ERR_MOVER', subject: missing });
    }));
});
