/**
 * What every Datapath must do. The fake runs it as a unit test, the real one on the real kernel, by TCX and by clsact.
 */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { Verdict } from './fake.js';
import {
  client,
  failureOf,
  moved,
  movedAgain,
  old,
  passed,
  peerRule,
  statusOf,
  tuple,
  type ContractHarness,
} from './contract.fixture.js';
import { podsContract } from './contract-pods.js';
import type { Datapath, FlowTuple, Protocol } from './types.js';

export function datapathContract(name: string, start: () => Promise<ContractHarness>): void {
  describe(`${name} keeps the data plane's contract`, () => {
    let harness: ContractHarness;
    let datapath: Datapath;
    let pod: string;
    let other: string;

    beforeAll(async () => {
      harness = await start();
      datapath = harness.datapath;
      [pod, other] = [harness.pods[0].name, harness.pods[1].name];
    });
    beforeEach(async () => {
      for (const spec of harness.pods) await datapath.addPod(spec);
    });
    afterEach(async () => {
      for (const spec of harness.pods) await datapath.removePod(spec.name);
    });
    afterAll(() => harness.end());

    const egress = (remote: typeof old): Promise<Verdict> =>
      harness.send(pod, 'egress', 'tcp', tuple(remote));
    const ingress = (remote: typeof old): Promise<Verdict> =>
      harness.send(pod, 'ingress', 'tcp', tuple(remote));
    const status = () => statusOf(datapath, pod);

    it('attaches nothing to a pod without rules, and detaches with the last one', async () => {
      expect(await status()).toEqual({
        attached: false,
        held: false,
        quiet: false,
        tracked: false,
        flows: 0,
      });
      await datapath.apply(pod, [peerRule(), peerRule({ flowId: 2n, protocol: 'udp' })]);
      expect(await status()).toEqual({ attached: true, held: false, quiet: false, tracked: false, flows: 2 });
      await datapath.remove(pod, { flowIds: [1n] });
      expect(await status()).toEqual({ attached: true, held: false, quiet: false, tracked: false, flows: 1 });
      expect(await datapath.remove(pod, { migration: 1n })).toBe(1);
      expect(await status()).toEqual({
        attached: false,
        held: false,
        quiet: false,
        tracked: false,
        flows: 0,
      });
    });

    it('translates both ways while active, for exactly that flow', async () => {
      await datapath.apply(pod, [peerRule()]);
      expect(await egress(old)).toEqual(passed(tuple(moved)));
      expect(await ingress(moved)).toEqual(passed(tuple(old)));
      const neighbour = { ...client, port: 40002 };
      expect(await harness.send(pod, 'egress', 'tcp', tuple(old, neighbour))).toEqual(
        passed(tuple(old, neighbour)),
      );
      expect(await harness.send(pod, 'egress', 'udp', tuple(old))).toEqual(passed(tuple(old)));
      expect(await ingress(old)).toEqual(passed(tuple(old)));
    });

    it('translates ports as well as addresses', async () => {
      await datapath.apply(pod, [peerRule({ wire: tuple(movedAgain) })]);
      expect(await egress(old)).toEqual(passed(tuple(movedAgain)));
      expect(await ingress(movedAgain)).toEqual(passed(tuple(old)));
    });

    it('translates IPv6', async () => {
      const local = { address: 'fd00:9:1::2', port: 40001 };
      const six = (address: string): FlowTuple => ({ local, remote: { address, port: 53 } });
      await datapath.apply(pod, [
        peerRule({ protocol: 'udp', identity: six('fd00:1:1::2'), wire: six('fd00:2:1::2') }),
      ]);
      expect(await harness.send(pod, 'egress', 'udp', six('fd00:1:1::2'))).toEqual(
        passed(six('fd00:2:1::2')),
      );
      expect(await harness.send(pod, 'ingress', 'udp', six('fd00:2:1::2'))).toEqual(
        passed(six('fd00:1:1::2')),
      );
    });

    it('passes outbound and translates inbound while pending', async () => {
      await datapath.apply(pod, [peerRule({ state: 'pending' })]);
      expect(await egress(old)).toEqual(passed(tuple(old)));
      expect(await ingress(moved)).toEqual(passed(tuple(old)));
    });

    it('keeps outbound back while held, then lets it go', async () => {
      const rule = peerRule({ state: 'held' });
      await datapath.apply(pod, [rule]);
      const before = (await datapath.drops()).HELD.packets;
      expect(await egress(old)).toEqual({ kind: 'drop', reason: 'HELD' });
      expect((await datapath.drops()).HELD.packets).toBe(before + 1n);
      await datapath.setState(pod, [rule], 'active');
      expect(await egress(old)).toEqual(passed(tuple(moved)));
    });

    it('refuses what comes from where a flow was taken from, and translates it to where it was taken', async () => {
      await datapath.apply(pod, [peerRule({ wire: tuple(old), state: 'refused' }), peerRule()]);
      const before = (await datapath.drops()).GIVEN_UP.packets;
      expect(await ingress(old)).toEqual({ kind: 'drop', reason: 'GIVEN_UP' });
      expect((await datapath.drops()).GIVEN_UP.packets).toBe(before + 1n);
      expect(await egress(old)).toEqual(passed(tuple(moved)));
      expect(await ingress(moved)).toEqual(passed(tuple(old)));
      expect((await datapath.flows(pod)).map(({ state }) => state).sort()).toEqual(['active', 'refused']);
      await datapath.remove(pod, { flowIds: [1n] });
      expect(await ingress(old)).toEqual(passed(tuple(old)));
    });

    it('tells the flows of some ports of the pod, as itself or on the wire', async () => {
      await datapath.apply(pod, [peerRule()]);
      const ports = async (...wanted: number[]): Promise<bigint[]> =>
        (await datapath.flows(pod, { localPorts: new Set(wanted) })).map(({ flowId }) => flowId);
      const own = tuple(old).local;
      expect(await ports(own.port, 1)).toEqual([1n]);
      expect(await ports(old.port, 1)).toEqual([]);
      await datapath.apply(pod, [peerRule({ wire: { ...tuple(moved), local: { ...own, port: 99 } } })]);
      expect(await ports(99)).toEqual([1n]);
      expect(await ports(own.port)).toEqual([1n, 1n]); // what comes the way of before is understood still
    });

    it('tells the flows of one migration', async () => {
      await datapath.apply(pod, [peerRule()]);
      const { migration } = peerRule();
      expect((await datapath.flows(pod, { migration })).map(({ flowId }) => flowId)).toEqual([1n]);
      expect(await datapath.flows(pod, { migration: migration + 1n })).toEqual([]);
    });

    it('keeps a pod apart from its neighbour with the same tuple', async () => {
      await datapath.apply(pod, [peerRule()]);
      await datapath.apply(other, [peerRule({ wire: tuple(movedAgain) })]);
      expect(await egress(old)).toEqual(passed(tuple(moved)));
      expect(await harness.send(other, 'egress', 'tcp', tuple(old))).toEqual(passed(tuple(movedAgain)));
      await datapath.remove(other, { migration: 1n });
      expect(await egress(old)).toEqual(passed(tuple(moved)));
    });

    it('translates and shows rules that look the route up again', async () => {
      await datapath.apply(pod, [peerRule({ reroute: true }), peerRule({ flowId: 2n, protocol: 'udp' })]);
      expect(await egress(old)).toEqual(passed(tuple(moved)));
      expect(await ingress(moved)).toEqual(passed(tuple(old)));
      const shown = (await datapath.flows(pod)).map(({ flowId, reroute }) => [flowId, reroute]);
      expect(shown.sort()).toEqual([
        [1n, true],
        [2n, undefined],
      ]);
    });

    podsContract(() => harness);

    it('follows a chain: a pending hop leaves the way out alone, the release of the earlier hop the later one', async () => {
      const first = peerRule();
      const second = peerRule({ migration: 2n, wire: tuple(movedAgain), state: 'pending' });
      await datapath.apply(pod, [first]);
      await datapath.apply(pod, [second]);
      expect(await egress(old)).toEqual(passed(tuple(moved)));
      expect(await ingress(movedAgain)).toEqual(passed(tuple(old)));
      await datapath.apply(pod, [{ ...second, state: 'held' }]);
      await datapath.setState(pod, [second], 'active');
      expect(await egress(old)).toEqual(passed(tuple(movedAgain)));
      expect((await datapath.flows(pod)).map(({ migration, state }) => [migration, state]).sort()).toEqual([
        [1n, 'inbound'],
        [2n, 'active'],
      ]);
      expect(await datapath.remove(pod, { migration: 1n })).toBe(1);
      expect(await egress(old)).toEqual(passed(tuple(movedAgain)));
      expect(await ingress(moved)).toEqual(passed(tuple(moved)));
    });

    it('rolls a pending hop of a chain back', async () => {
      await datapath.apply(pod, [peerRule()]);
      await datapath.apply(pod, [peerRule({ migration: 2n, wire: tuple(movedAgain), state: 'pending' })]);
      await datapath.remove(pod, { migration: 2n });
      expect(await egress(old)).toEqual(passed(tuple(moved)));
      expect(await ingress(movedAgain)).toEqual(passed(tuple(movedAgain)));
    });

    it('puts a flow that returned on the wire as itself', async () => {
      await datapath.apply(pod, [peerRule()]);
      const home = peerRule({ migration: 2n, wire: tuple(old), state: 'held' });
      await datapath.apply(pod, [home]);
      expect(await egress(old)).toEqual({ kind: 'drop', reason: 'HELD' });
      await datapath.setState(pod, [home], 'active');
      await datapath.remove(pod, { migration: 1n });
      expect(await egress(old)).toEqual(passed(tuple(old)));
      expect(await status()).toEqual({
        attached: false,
        held: false,
        quiet: false,
        tracked: false,
        flows: 0,
      });
    });

    it('attaches for a pending rule that translates nothing yet, so that a hold needs no time', async () => {
      const plain = peerRule({ wire: tuple(old), state: 'pending' });
      await datapath.apply(pod, [plain]);
      expect(await status()).toEqual({ attached: true, held: false, quiet: false, tracked: false, flows: 1 });
      expect(await egress(old)).toEqual(passed(tuple(old)));
      await datapath.setState(pod, [plain], 'held');
      expect(await egress(old)).toEqual({ kind: 'drop', reason: 'HELD' });
    });

    it('counts the packets of a flow each way', async () => {
      await datapath.apply(pod, [peerRule()]);
      await egress(old);
      await egress(old);
      await ingress(moved);
      const [flow] = await datapath.flows(pod);
      expect(flow).toMatchObject({
        packetsOut: 2n,
        packetsIn: 1n,
        identity: tuple(old),
        wire: tuple(moved),
        state: 'active',
      });
      expect(flow?.bytesOut).toBeGreaterThan(0n);
    });

    it('applies all rules or none', async () => {
      const wrong = peerRule({
        flowId: 2n,
        wire: { local: client, remote: { address: 'fd00::1', port: 1 } },
      });
      expect(await failureOf(datapath.apply(pod, [peerRule(), wrong]))).toMatchObject({
        code: 'ERR_BAD_INPUT',
        message: expect.stringContaining('flow 2') as unknown,
      });
      expect(await status()).toEqual({
        attached: false,
        held: false,
        quiet: false,
        tracked: false,
        flows: 0,
      });
    });

    it('refuses more than the table holds, and changes nothing', async () => {
      await datapath.apply(pod, [peerRule()]);
      const many = Array.from({ length: harness.slots }, (_, i) =>
        peerRule({
          flowId: BigInt(i + 2),
          identity: tuple(old, { address: '10.9.1.3', port: i + 1 }),
          wire: tuple(moved, { address: '10.9.1.3', port: i + 1 }),
        }),
      );
      expect(await failureOf(datapath.apply(pod, many))).toMatchObject({ code: 'ERR_TABLE_FULL' });
      expect((await datapath.flows(pod)).length).toBe(1);
      expect(await egress(old)).toEqual(passed(tuple(moved)));
    });

    it.each([
      ['a port out of range', { identity: tuple({ ...old, port: 70000 }) }, 'port 70000'],
      ['an address that is none', { identity: tuple({ ...old, address: '10.1.1' }) }, '10.1.1'],
      ['an address with a scope', { identity: tuple({ ...old, address: 'fe80::1%eth0' }) }, 'fe80::1%eth0'],
      ['a flow id of 0', { flowId: 0n }, 'id'],
      ['another protocol', { protocol: 'sctp' as Protocol }, 'sctp'],
    ])('refuses %s by name', async (_, changes, named) => {
      const failure = await failureOf(datapath.apply(pod, [peerRule(changes)]));
      expect(failure.code).toBe('ERR_BAD_INPUT');
      expect(failure.message).toContain(named);
    });

    it('refuses pods that it does not know, gone namespaces and unknown devices', async () => {
      const [spec] = harness.pods;
      expect(await failureOf(datapath.apply('ns/nobody', [peerRule()]))).toMatchObject({
        code: 'ERR_NOT_FOUND',
      });
      expect(
        await failureOf(datapath.addPod({ ...spec, name: 'ns/gone', netns: '/run/netns/serval-gone' })),
      ).toMatchObject({ code: 'ERR_NETNS_GONE' });
      expect(
        await failureOf(datapath.addPod({ ...spec, name: 'ns/odd', interfaces: ['eth0', 'eth7'] })),
      ).toMatchObject({
        code: 'ERR_NOT_FOUND',
      });
      expect(await failureOf(datapath.addPod({ ...harness.pods[1], name: spec.name }))).toMatchObject({
        code: 'ERR_CONFLICT',
      });
      expect(await failureOf(datapath.addPod({ ...spec, name: 'ns/none', interfaces: [] }))).toMatchObject({
        code: 'ERR_BAD_INPUT',
      });
    });

    it('sets states of applied rules only', async () => {
      await datapath.apply(pod, [peerRule()]);
      const absent = peerRule({ flowId: 9n, identity: tuple({ ...old, port: 1 }) });
      expect(await failureOf(datapath.setState(pod, [peerRule(), absent], 'held'))).toMatchObject({
        code: 'ERR_NOT_FOUND',
      });
      expect(await egress(old)).toEqual(passed(tuple(moved)));
    });

    it('takes a pod away with all its rules', async () => {
      await datapath.apply(pod, [peerRule()]);
      await datapath.removePod(pod);
      await datapath.removePod(pod);
      expect((await datapath.pods()).map((entry) => entry.name)).toEqual([other]);
      await datapath.addPod(harness.pods[0]);
      expect(await status()).toEqual({
        attached: false,
        held: false,
        quiet: false,
        tracked: false,
        flows: 0,
      });
    });
  });
}
