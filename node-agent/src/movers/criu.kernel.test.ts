import { afterEach, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { prepareStack } from '../host/moved-stack.js';
import { isFrozen, isPopulated, killCgroup } from './cgroup.js';
import { enterPod } from './criu-process.js';
import { moverReady } from './criu-ready.js';
import { CriuMover, podPidOf, type Workload } from './criu.js';
import { must, type Talker, TestFabric, type TestPod } from './pods.fixture.js';
import { transfer } from './transfer.js';

const redis = "redis-server --save '' --appendonly no --protected-mode no --jemalloc-bg-thread no";
const folder = `/dev/shm/serval-criu-test-${process.pid}`;

// The machine may be busy; alone each of these takes below one second.
jest.setTimeout(60_000);

/** Opens N connections and sends on each of them when asked; says what came back. */
const clients = `
import socket, sys
host, n = sys.argv[1], int(sys.argv[2])
connections = [socket.create_connection((host, 6379), 5) for _ in range(n)]
print("connected")
for line in sys.stdin:
    command = line.strip()
    if command == "half-close":
        half_closed = connections.pop(); half_closed.shutdown(socket.SHUT_WR)
        print("closed")
        continue
    try:
        for i, c in enumerate(connections): c.sendall(b"INCR key%d\\r\\n" % i)
        print(sorted({c.recv(100).decode().strip() for c in connections}))
    except OSError as error:
        print(error)
`;

/** What each TCP socket of a process says of repair mode (TCP_REPAIR), through pidfd_getfd. */
const repairMode = `
import ctypes, os, socket, sys
pid = int(sys.argv[1])
pidfd, states = os.pidfd_open(pid), []
for fd in os.listdir(f"/proc/{pid}/fd"):
    if not os.readlink(f"/proc/{pid}/fd/{fd}").startswith("socket:"): continue
    s = socket.socket(fileno=ctypes.CDLL(None).syscall(438, pidfd, int(fd), 0))
    if s.type == socket.SOCK_STREAM and s.family != socket.AF_UNIX: states.append(s.getsockopt(6, 19))
print(len(states), sum(states))
`;

/** A counter of the pod's own stack, from /proc/PID/net/netstat: a line of names, a line of values. */
function stackCounter(pod: TestPod, name: string): number {
  const lines = readFileSync(`/proc/${pod.pausePid}/net/netstat`, 'utf8').split('\n');
  const row = lines.findIndex((line) => line.split(' ').includes(name));
  return Number(lines[row + 1]?.split(' ')[lines[row]?.split(' ').indexOf(name) ?? 0]);
}

/** Sockets of TCP over IPv4 that do not listen, whether a process has them still or not. */
function connectionsIn(pod: TestPod): number {
  const [, ...rows] = readFileSync(`/proc/${pod.pausePid}/net/tcp`, 'utf8').trim().split('\n');
  return rows.filter((row) => row.trim().split(/\s+/)[3] !== '0A').length;
}

function rounded(phases: Record<string, number>): string {
  return Object.entries(phases)
    .map(([name, ms]) => `${name} ${ms.toFixed(1)}`)
    .join(', ');
}

describe('the criu mover', () => {
  const mover = new CriuMover();
  let fabric: TestFabric;
  let source: TestPod;
  let target: TestPod;
  let client: TestPod;

  beforeAll(async () => {
    await moverReady();
  });

  beforeEach(async () => {
    mkdirSync(folder, { recursive: true });
    fabric = await TestFabric.create();
    [source, client] = [await fabric.pod('source', '10.77.0.10'), await fabric.pod('client', '10.77.0.1')];
    await Promise.all([fabric.attach(source), fabric.attach(client)]);
  });

  afterEach(async () => {
    await fabric.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const startRedis = async (connections: number, host = '10.77.0.10'): Promise<[Workload, Talker]> => {
    const pid = await fabric.start(source, redis);
    const listening = () => / 0A /.test(readFileSync(`/proc/${source.pausePid}/net/tcp`, 'utf8'));
    while (!listening()) await new Promise((resolve) => setTimeout(resolve, 10));
    const talker = fabric.python(client, clients, host, String(connections));
    expect(await talker.hear()).toBe('connected');
    expect(await talker.ask('incr')).toBe("[':1']");
    return [{ ...source, pid }, talker];
  };

  /** A target pod with the source's address, off the bridge until the test lets the network see it. */
  const sameAddressTarget = async () => (target = await fabric.pod('target', '10.77.0.10'));

  const letPacketsFlow = async (pod: TestPod) => {
    await fabric.attach(pod);
    await must('nsenter', `--net=/proc/${client.pausePid}/ns/net`, 'ip', 'neigh', 'flush', 'all');
  };

  it.each([1, 200])('moves redis with %i connections, which all live on', async (connections) => {
    await sameAddressTarget();
    const [workload, talker] = await startRedis(connections);
    const podPid = podPidOf(readFileSync(`/proc/${workload.pid}/status`, 'utf8'));

    const { freezeMs } = await mover.freeze(workload);
    await fabric.detach(source);
    const { dumpMs, frozenMs, pages } = await mover.dump(workload, `${folder}/source`);
    const { transferMs, files } = await transfer(`${folder}/source`, `${folder}/target`);
    const { restoreMs, pid } = await mover.restore(target, `${folder}/target`);
    await letPacketsFlow(target);
    const { resumeMs } = mover.resume(target);
    expect(await talker.ask('incr')).toBe("[':2']");
    const { discardMs } = await mover.discard(workload);

    expect(podPidOf(readFileSync(`/proc/${pid}/status`, 'utf8'))).toBe(podPid);
    expect(isPopulated(source.cgroup)).toBe(false);
    expect(pages).toBeGreaterThan(100);
    expect(files).toBeGreaterThan(connections);
    const phases = { freezeMs, dumpMs, 'of it frozen': frozenMs, transferMs, restoreMs, resumeMs, discardMs };
    process.stderr.write(`${connections} connections: ${rounded(phases)}\n`);
  });

  it('restores also where the next PID to be given is one of the workload', async () => {
    await sameAddressTarget();
    const [workload, talker] = await startRedis(1);
    const podPid = Number(podPidOf(readFileSync(`/proc/${workload.pid}/status`, 'utf8')));
    await fabric.freezeAndHold(mover, workload, source);
    await mover.dump(workload, `${folder}/source`);
    const next = `echo ${podPid - 1} >/proc/sys/kernel/ns_last_pid`;
    await must('nsenter', ...enterPod(target.pausePid), '/bin/sh', '-c', next);
    await mover.restore(target, `${folder}/source`);
    await letPacketsFlow(target);
    mover.resume(target);
    expect(await talker.ask('incr')).toBe("[':2']");
    await mover.discard(workload);
  });

  it('rolls back: after the dump the source is whole, its sockets out of repair mode, and runs on', async () => {
    const [workload, talker] = await startRedis(20);
    await fabric.freezeAndHold(mover, workload, source);
    await mover.dump(workload, `${folder}/source`);
    expect(isFrozen(source.cgroup)).toBe(true);
    // 20 connections, two listeners; none in repair mode.
    expect((await must('python3', '-c', repairMode, String(workload.pid))).trim()).toBe('22 0');
    await letPacketsFlow(source);
    mover.thaw(workload);
    expect(await talker.ask('incr')).toBe("[':2']");
    // and it can be dumped again
    await fabric.freezeAndHold(mover, workload, source);
    await mover.dump(workload, `${folder}/source`);
    mover.thaw(workload);
  });

  it('freezes and thaws any number of times, and a frozen workload does nothing', async () => {
    const [workload, talker] = await startRedis(1);
    await mover.freeze(workload);
    const { freezeMs } = await mover.freeze(workload);
    expect(freezeMs).toBeLessThan(500);
    await expect(talker.ask('incr', 300)).rejects.toThrow();
    mover.thaw(workload);
    mover.thaw(workload);
    expect(await talker.hear()).toBe("[':2']");
  });

  it('restores a workload that stands still, though its kernel sends one window probe per connection', async () => {
    await sameAddressTarget();
    const [workload, talker] = await startRedis(5);
    await fabric.freezeAndHold(mover, workload, source);
    await mover.dump(workload, `${folder}/source`);
    expect(stackCounter(target, 'TCPWinProbe')).toBe(0);
    await mover.restore(target, `${folder}/source`);
    expect(stackCounter(target, 'TCPWinProbe')).toBe(5);
    expect(isFrozen(target.cgroup)).toBe(true);
    await letPacketsFlow(target);
    await expect(talker.ask('incr', 300)).rejects.toThrow();
    mover.resume(target);
    expect(await talker.hear()).toBe("[':2']");
  });

  it('says nothing more to its peers once it is discarded, also when the hold has gone', async () => {
    await sameAddressTarget();
    const [workload, talker] = await startRedis(20);
    await fabric.freezeAndHold(mover, workload, source);
    await mover.dump(workload, `${folder}/source`);
    const inTarget = (...words: string[]) =>
      must('nsenter', `--net=/proc/${target.pausePid}/ns/net`, 'nft', ...words);
    await inTarget('add table hold; add chain hold out { type filter hook output priority 0; policy drop; }');
    await mover.restore(target, `${folder}/source`);
    await mover.discard(target);
    const lingering = connectionsIn(target);
    await inTarget('delete table hold');
    await letPacketsFlow(target);
    // A restored socket says again after a second what nobody acknowledged.
    await delay(2_500);
    await fabric.detach(target);
    await letPacketsFlow(source);
    mover.thaw(workload);
    expect(await talker.ask('incr')).toBe("[':2']");
    expect(lingering).toBe(0);
  });

  it('never restores into a target that is occupied, and discards it as often as asked', async () => {
    await sameAddressTarget();
    const [workload] = await startRedis(1);
    await fabric.freezeAndHold(mover, workload, source);
    await mover.dump(workload, `${folder}/source`);
    await mover.restore(target, `${folder}/source`);
    await expect(mover.restore(target, `${folder}/source`)).rejects.toMatchObject({ code: 'ERR_MOVER' });
    await mover.discard(target);
    await mover.discard(target);
    expect(() => mover.resume(target)).toThrow(/no live process/);
    // The images are good for as many as it takes.
    await mover.restore(target, `${folder}/source`);
    // Killed by somebody else its sockets still hold their tuples in that pod.
    await killCgroup(target.cgroup, 5_000);
    await expect(mover.restore(target, `${folder}/source`)).rejects.toThrow(/fresh pod/);
    await mover.restore(await fabric.pod('target2', '10.77.0.10'), `${folder}/source`);
  });

  it.each([
    { old: '10.77.0.10', fresh: '10.77.0.20', host: '10.77.0.10' },
    { old: 'fd77::10', fresh: 'fd77::20', host: 'fd77::10' },
  ])(
    'carries a half-closed connection into a pod with another address ($old)',
    async ({ old, fresh, host }) => {
      const [family, prefix] = old.includes(':') ? ['-6', 128] : ['-4', 32];
      const inClient = ['nsenter', `--net=/proc/${client.pausePid}/ns/net`, 'ip', family] as const;
      if (family === '-6') {
        await must(...inClient, 'addr', 'add', 'fd77::1/64', 'dev', 'eth0', 'nodad');
        await must(
          'nsenter',
          `--net=/proc/${source.pausePid}/ns/net`,
          'ip',
          'addr',
          'add',
          `${old}/64`,
          'dev',
          'eth0',
          'nodad',
        );
      }
      target = await fabric.pod('target', fresh);
      await fabric.attach(target);
      const [workload, talker] = await startRedis(3, host);
      await mover.freeze(workload);
      expect(await talker.ask('half-close')).toBe('closed');
      await fabric.detach(source);
      await mover.dump(workload, `${folder}/source`);

      await prepareStack(`/proc/${target.pausePid}/ns/net`, [old]);
      // In place of the SAL's translation: the client finds OLD by a route.
      await must(...inClient, 'route', 'add', `${old}/${prefix}`, 'via', fresh);
      await mover.restore(target, `${folder}/source`);
      const states = await must('nsenter', `--net=/proc/${target.pausePid}/ns/net`, 'ss', '-Htn');
      expect(
        states
          .split('\n')
          .map((line) => line.split(' ')[0])
          .filter(Boolean)
          .sort(),
      ).toEqual(['CLOSE-WAIT', 'ESTAB', 'ESTAB']);
      mover.resume(target);
      expect(await talker.ask('incr')).toBe("[':2']");
    },
  );

  it('leaves the source frozen when a dump fails, says why and what to do, and the thaw works', async () => {
    const [workload, talker] = await startRedis(1);
    await expect(mover.dump({ ...workload, pid: process.pid }, `${folder}/source`)).rejects.toMatchObject({
      code: 'ERR_MOVER',
      subject: source.name,
    });
    expect(isFrozen(source.cgroup)).toBe(true);
    mover.thaw(workload);
    expect(await talker.ask('incr')).toBe("[':2']");
  });

  it('says what is missing for a restore: the images, the old address', async () => {
    target = await fabric.pod('target', '10.77.0.20');
    mkdirSync(`${folder}/empty`);
    await expect(mover.restore(target, `${folder}/empty`)).rejects.toThrow(/inventory/);
    const [workload] = await startRedis(1);
    await fabric.freezeAndHold(mover, workload, source);
    await mover.dump(workload, `${folder}/source`);
    const failure = mover.restore(target, `${folder}/source`);
    await expect(failure).rejects.toMatchObject({
      code: 'ERR_MOVER',
      remedy: expect.stringContaining('on lo') as unknown,
    });
    expect(isPopulated(target.cgroup)).toBe(false);
  });

  it('names the remedy where CRIU is not installed', async () => {
    await expect(moverReady('/nonexistent/criu')).rejects.toMatchObject({ code: 'ERR_UNSUPPORTED' });
  });

  it('leaves nothing behind', async () => {
    const [workload] = await startRedis(1);
    await fabric.close();
    expect(existsSync(workload.cgroup)).toBe(false);
    expect(existsSync(`/proc/${workload.pid}`)).toBe(false);
  });
});
