/** Part of the contract: what can be wanted of a pod as a whole, beside its rules. */
import { expect, it } from '@jest/globals';
import type { Verdict } from './fake.js';
import {
  moved,
  movedAgain,
  old,
  passed,
  peerRule,
  statusOf,
  tuple,
  type ContractHarness,
} from './contract.fixture.js';
import type { Datapath, FlowTuple } from './types.js';

/** Shorthand for the tests: everything is read anew, since the harness starts later than the tests are named. */
class Bench {
  constructor(private readonly running: () => ContractHarness) {}

  get datapath(): Datapath {
    return this.running().datapath;
  }

  get pod(): string {
    return this.running().pods[0].name;
  }

  get other(): string {
    return this.running().pods[1].name;
  }

  send(...packet: Parameters<ContractHarness['send']>): Promise<Verdict> {
    return this.running().send(...packet);
  }

  egress(remote: typeof old): Promise<Verdict> {
    return this.send(this.pod, 'egress', 'tcp', tuple(remote));
  }

  ingress(remote: typeof old): Promise<Verdict> {
    return this.send(this.pod, 'ingress', 'tcp', tuple(remote));
  }

  status(): ReturnType<typeof statusOf> {
    return statusOf(this.datapath, this.pod);
  }
}

export function podsContract(running: () => ContractHarness): void {
  const bench = new Bench(running);
  holdContract(bench);
  quiesceContract(bench);
  quiesceAndHoldContract(bench);
  sessionsContract(bench);
  sessionsApartContract(bench);
}

function holdContract(bench: Bench): void {
  it('holds a whole pod', async () => {
    const { datapath, pod } = bench;
    await datapath.holdPod(pod, true);
    expect(await bench.status()).toEqual({
      attached: true,
      held: true,
      quiet: false,
      tracked: false,
      flows: 0,
    });
    expect(await bench.egress(old)).toEqual({ kind: 'drop', reason: 'HELD_POD' });
    expect(await bench.ingress(old)).toEqual({ kind: 'drop', reason: 'HELD_POD' });
    await datapath.holdPod(pod, false);
    expect(await bench.egress(old)).toEqual(passed(tuple(old)));
    expect(await bench.status()).toEqual({
      attached: false,
      held: false,
      quiet: false,
      tracked: false,
      flows: 0,
    });
  });
}

function quiesceContract(bench: Bench): void {
  it('holds new connections of a quiesced pod, and nothing else', async () => {
    const { datapath, pod } = bench;
    await datapath.quiescePod(pod, true);
    expect(await bench.status()).toEqual({
      attached: true,
      held: false,
      quiet: true,
      tracked: false,
      flows: 0,
    });
    const knock = (direction: 'egress' | 'ingress', remote: typeof old): Promise<Verdict> =>
      bench.send(pod, direction, 'tcp', tuple(remote), true);
    expect(await knock('egress', old)).toEqual({ kind: 'drop', reason: 'HELD_NEW' });
    expect(await knock('ingress', moved)).toEqual({ kind: 'drop', reason: 'HELD_NEW' });
    const kept = await datapath.takeKept(pod);
    expect(kept.map(({ direction, kind, tuple: { remote } }) => [direction, kind, remote]).sort()).toEqual([
      ['egress', 'segment', old],
      ['ingress', 'segment', moved],
    ]);
    expect(await datapath.takeKept(pod)).toEqual([]);
    expect(await bench.egress(old)).toEqual(passed(tuple(old)));
    expect(await bench.ingress(old)).toEqual(passed(tuple(old)));
    expect(await bench.send(pod, 'egress', 'udp', tuple(old), true)).toEqual(passed(tuple(old)));
    await datapath.apply(pod, [peerRule()]);
    expect(await knock('egress', old)).toEqual(passed(tuple(moved)));
    expect(await knock('ingress', moved)).toEqual(passed(tuple(old)));
    await datapath.remove(pod, {});
    await datapath.quiescePod(pod, false);
    expect(await knock('egress', old)).toEqual(passed(tuple(old)));
    expect(await bench.status()).toEqual({
      attached: false,
      held: false,
      quiet: false,
      tracked: false,
      flows: 0,
    });
  });
}

function quiesceAndHoldContract(bench: Bench): void {
  it('holds a pod that is quiesced, and leaves it quiesced', async () => {
    const { datapath, pod } = bench;
    await datapath.quiescePod(pod, true);
    await datapath.holdPod(pod, true);
    expect(await bench.status()).toEqual({
      attached: true,
      held: true,
      quiet: true,
      tracked: false,
      flows: 0,
    });
    expect(await bench.egress(old)).toEqual({ kind: 'drop', reason: 'HELD_POD' });
    expect(await bench.send(pod, 'egress', 'tcp', tuple(old), true)).toEqual({
      kind: 'drop',
      reason: 'HELD_POD',
    });
    expect((await datapath.takeKept(pod)).map(({ direction }) => direction)).toEqual(['egress']);
    await datapath.holdPod(pod, false);
    expect(await bench.egress(old)).toEqual(passed(tuple(old)));
    expect(await bench.send(pod, 'ingress', 'tcp', tuple(old), true)).toEqual({
      kind: 'drop',
      reason: 'HELD_NEW',
    });
    await datapath.quiescePod(pod, false);
    expect(await bench.status()).toEqual({
      attached: false,
      held: false,
      quiet: false,
      tracked: false,
      flows: 0,
    });
  });
}

function sessionsContract(bench: Bench): void {
  it('notes the UDP sessions of a tracked pod, in identity', async () => {
    const { datapath, pod } = bench;
    const udp = (direction: 'egress' | 'ingress', of: FlowTuple): Promise<Verdict> =>
      bench.send(pod, direction, 'udp', of);
    const noted = async (maxIdleMs = 60_000): Promise<FlowTuple[]> =>
      (await datapath.sessions(pod, maxIdleMs)).map((session) => session.tuple);
    expect(await noted()).toEqual([]);
    const before = Date.now();
    await datapath.trackUdp(pod, true);
    expect(await bench.status()).toEqual({
      attached: true,
      held: false,
      quiet: false,
      tracked: true,
      flows: 0,
    });
    await udp('egress', tuple(old));
    await udp('ingress', tuple(old));
    await bench.egress(moved);
    const [session, ...more] = await datapath.sessions(pod, 60_000);
    expect(more).toEqual([]);
    expect(session).toMatchObject({ protocol: 'udp', tuple: tuple(old) });
    // The kernel's coarse clock is some milliseconds late.
    expect(session?.lastSeen).toBeGreaterThanOrEqual(before - 20);
    expect(session?.lastSeen).toBeLessThanOrEqual(Date.now() + 1);
    await datapath.apply(pod, [peerRule({ protocol: 'udp' })]);
    expect(await udp('ingress', tuple(moved))).toEqual(passed(tuple(old)));
    expect(await udp('egress', tuple(old))).toEqual(passed(tuple(moved)));
    await udp('ingress', tuple(movedAgain));
    expect((await noted()).map(({ remote }) => remote.port).sort()).toEqual(
      [old.port, movedAgain.port].sort(),
    );
    await udp('egress', tuple({ address: '224.0.0.251', port: 5353 }));
    await udp('ingress', tuple(moved, { address: '255.255.255.255', port: 68 }));
    expect(await noted()).toHaveLength(2);
    await new Promise((resolve) => setTimeout(resolve, 60));
    expect(await noted(30)).toEqual([]);
    await datapath.remove(pod, {});
    await datapath.trackUdp(pod, false);
    expect(await noted()).toEqual([]);
    expect(await bench.status()).toEqual({
      attached: false,
      held: false,
      quiet: false,
      tracked: false,
      flows: 0,
    });
    await datapath.trackUdp(pod, true);
    expect(await noted()).toEqual([]);
  });
}

function sessionsApartContract(bench: Bench): void {
  it('keeps the sessions of pods apart, and notes none of untracked ones', async () => {
    const { datapath, pod, other } = bench;
    await datapath.trackUdp(pod, true);
    await datapath.trackUdp(other, true);
    await bench.send(other, 'egress', 'udp', tuple(old));
    expect(await datapath.sessions(pod, 60_000)).toEqual([]);
    expect((await datapath.sessions(other, 60_000)).map((session) => session.tuple)).toEqual([tuple(old)]);
    await datapath.trackUdp(other, false);
    await datapath.holdPod(other, true);
    await bench.send(other, 'egress', 'udp', tuple(old));
    expect(await datapath.sessions(other, 60_000)).toEqual([]);
  });
}
