import { afterAll, afterEach, beforeAll, describe, expect, it, jest } from '@jest/globals';
import type { ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, openSync, closeSync, readFileSync, rmSync } from 'node:fs';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { createLab, type Lab, type Pod } from './index.js';
import { requireRoot } from './processes.js';
import { ping, traces } from './testing.js';

/* Works on the real kernel. Without root the first hook fails and says what to do. */
beforeAll(() => requireRoot());
jest.setTimeout(30_000);

const code = (value: string): unknown => expect.objectContaining({ code: value });

describe('pods', () => {
  let lab: Lab;
  const children: ChildProcess[] = [];

  beforeAll(async () => {
    lab = await createLab({ sites: 2 });
  });
  afterAll(() => lab.remove());
  afterEach(async () => {
    for (const child of children.splice(0)) child.kill('SIGKILL');
    for (const pod of lab.pods) await pod.remove();
  });

  const sleeper = (pod: Pod) => {
    const child = pod.spawn('sleep', ['1000'], { stdio: 'ignore', dumpable: true });
    children.push(child);
    return child;
  };

  it('may have the same PIDs, which are only their own', async () => {
    const a = await lab.createPod({ name: 'a', host: 's1-h1' });
    const b = await lab.createPod({ name: 'b', host: 's2-h1' });
    const take = (pod: Pod) => pod.run('sh', ['-c', 'echo 499 > /proc/sys/kernel/ns_last_pid']);
    await Promise.all([take(a), take(b)]);
    const [inA, inB] = await Promise.all([a, b].map((pod) => pod.processOf(sleeper(pod))));
    expect(inA?.podPid).toBe(500);
    expect(inB?.podPid).toBe(500);
    expect(inA?.pid).not.toBe(inB?.pid);
    expect(await a.run('ps', ['-e', '-o', 'pid=,args='])).toMatch(
      /^ +1 \S*sleep infinity\n +500 sleep 1000\n/,
    );
  });

  it('show their own network under /proc, keep the cgroup mounts, and hide the machine', async () => {
    const pod = await lab.createPod({ name: 'a', host: 's1-h1' });
    expect(await pod.run('cat', ['/proc/net/dev'])).toMatch(/eth0/);
    expect(await pod.run('cat', ['/proc/self/mountinfo'])).toMatch(/cgroup/);
    expect((await pod.run('ls', ['/proc'])).split('\n')).not.toContain(String(process.pid));
    expect((await pod.run('cat', ['/sys/class/net/eth0/mtu'])).trim()).not.toBe(''); // of the machine: /sys is shared
    expect(await pod.run('ip', ['link', 'show', pod.interface])).toMatch(/mtu 1500 .*state UP/);
  });

  it('start dumpable processes in sessions of their own and without foreign descriptors', async () => {
    const pod = await lab.createPod({ name: 'a', host: 's1-h1' });
    const folder = mkdtempSync(join(tmpdir(), 'serval-lab-test-'));
    const output = openSync(join(folder, 'out'), 'w');
    const script = 'echo $$ $(ps -o sid= -p $$); ls /proc/$$/fd; sleep 1000';
    const child = pod.spawn('sh', ['-c', script], {
      stdio: ['ignore', output, output, output],
      dumpable: true,
    });
    children.push(child);
    closeSync(output);
    const { podPid } = await pod.processOf(child);
    await delay(200);
    expect(readFileSync(join(folder, 'out'), 'utf8')).toMatch(
      new RegExp(`^${podPid} ${podPid}\n0\n1\n2\n(10\n)?$`),
    );
    rmSync(folder, { recursive: true });
  });

  it('start dumpable processes with stdio from their own mounts, as CRIU wants it', async () => {
    const pod = await lab.createPod({ name: 'a', host: 's1-h1' });
    const folder = mkdtempSync(join(tmpdir(), 'serval-lab-test-'));
    const output = openSync(join(folder, 'out'), 'w');
    const child = pod.spawn('sleep', ['1000'], { stdio: ['ignore', output, 'ignore'], dumpable: true });
    children.push(child);
    closeSync(output);
    const { podPid } = await pod.processOf(child);
    await delay(200);
    const mounts = (await pod.run('cat', [`/proc/${podPid}/mountinfo`]))
      .split('\n')
      .map((line) => line.split(' ')[0]);
    for (const number of [0, 1, 2]) {
      const info = await pod.run('cat', [`/proc/${podPid}/fdinfo/${number}`]);
      expect(mounts).toContain(/^mnt_id:\s*(\d+)$/m.exec(info)?.[1]);
    }
    rmSync(folder, { recursive: true });
  });

  it('reap their orphans', async () => {
    const pod = await lab.createPod({ name: 'a', host: 's1-h1' });
    await pod.run('sh', ['-c', '(sleep 0.05; exit) >/dev/null 2>&1 &']);
    await delay(200);
    expect(await pod.run('ps', ['-e', '-o', 'stat='])).not.toMatch(/Z/);
  });

  it('pass signals to what they run, and report how it ended', async () => {
    const pod = await lab.createPod({ name: 'a', host: 's1-h1' });
    const child = sleeper(pod);
    const { pid } = await pod.processOf(child);
    expect(readFileSync(`/proc/${pid}/cmdline`, 'utf8')).toBe('sleep\0' + '1000\0'); // the program, no wrapper
    child.kill('SIGSTOP');
    await delay(50);
    expect(readFileSync(`/proc/${pid}/status`, 'utf8')).toMatch(/State:\tT/);
    child.kill('SIGCONT');
    const ended = once(child, 'exit');
    expect(child.kill('SIGTERM')).toBe(true);
    expect(await ended).toEqual([null, 'SIGTERM']);
    expect(existsSync(`/proc/${pid}`)).toBe(false);
    const asked = performance.now();
    await expect(pod.processOf(child)).rejects.toThrow(code('ERR_NOT_FOUND'));
    expect(performance.now() - asked).toBeLessThan(1000);
    await expect(pod.run('sh', ['-c', 'echo why >&2; exit 3'])).rejects.toMatchObject({
      message: expect.stringContaining('why'),
      details: { exitCode: 3, stderr: 'why\n' },
    });
    const before = performance.now();
    await expect(pod.run('sleep', ['30'], { timeout: 100 })).rejects.toThrow(/SIGKILL/);
    expect(performance.now() - before).toBeLessThan(5000);
  });

  it('come and go, and end their processes and their network with them', async () => {
    const pod = await lab.createPod({ name: 'a', host: 's1-h1' });
    const { pid } = await pod.processOf(sleeper(pod));
    const keeper = await lab.createPod({ name: 'b', host: 's1-h1' }); // must not keep a's namespace in its mounts
    await pod.remove();
    await pod.remove();
    expect(existsSync(`/proc/${pid}`)).toBe(false);
    expect(existsSync(`/proc/${pod.pausePid}/ns/net`)).toBe(false);
    expect(
      await lab.host('s1-h1').run('ip', ['-o', 'link', 'show', 'type', 'veth', 'master', 'cni0']),
    ).not.toMatch(/\n.*\n/);
    expect(await keeper.run('cat', ['/proc/self/mountinfo'])).not.toContain(pod.namespace);
    expect(() => lab.pod('a')).toThrow(code('ERR_NOT_FOUND'));
    await expect(ping(keeper, pod.address4)).rejects.toThrow(code('ERR_KERNEL'));
  });

  it('can have the address of one that is gone; the history says who had it when', async () => {
    const old = await lab.createPod({ name: 'old', host: 's1-h1', index: 77 });
    const peer = await lab.createPod({ name: 'peer', host: 's2-h1' });
    await ping(peer, old.address4);
    await expect(lab.createPod({ name: 'new', host: 's1-h1', address4: old.address4 })).rejects.toThrow(
      code('ERR_CONFLICT'),
    );
    await expect(lab.createPod({ name: 'old', host: 's2-h1' })).rejects.toThrow(code('ERR_CONFLICT'));
    await old.remove();
    const between = Date.now() + 1;
    await delay(3);
    const heir = await lab.createPod({ name: 'new', host: 's1-h1', address4: '10.1.1.77' });
    expect(heir.address6).toBe('fd00:1:1::77');
    await ping(peer, heir.address4);
    const [first, second, ...more] = lab.assigned('10.1.1.77');
    expect(more).toEqual([]);
    expect([first?.owner, second?.owner]).toEqual(['old', 'new']);
    expect(first?.to).toBeLessThanOrEqual(between);
    expect(second?.from).toBeGreaterThanOrEqual(between);
    expect(second?.to).toBeNull();
  });

  it('get another address than the last one that was freed', async () => {
    const first = await lab.createPod({ name: 'a', host: 's2-h1' });
    await first.remove();
    const second = await lab.createPod({ name: 'a', host: 's2-h1' });
    expect(second.address4).not.toBe(first.address4);
  });

  it('leave nothing when their creation fails', async () => {
    const host = lab.host('s1-h1');
    await host.run('ip', ['link', 'set', 'cni0', 'name', 'cni1']);
    await expect(lab.createPod({ name: 'a', host: 's1-h1' })).rejects.toThrow(/cni0/);
    await host.run('ip', ['link', 'set', 'cni1', 'name', 'cni0']);
    expect(traces(lab.id).filter((trace) => trace.includes('-s1-h1-a'))).toEqual([]);
    await lab.createPod({ name: 'a', host: 's1-h1' });
  });
});
