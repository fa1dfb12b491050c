/**
 * Somebody with a certificate, or with none, tells live agents what it may not. Whatever it says, it is refused under a
 * name and counted, and nothing changes: no pod, no flow, no byte of the streams.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { FlowView, ServalMigration } from '@serval/api';
import { listFlows, type Message, type PeerFlow } from '@serval/node-agent';
import { Halt, haltable } from '../faults/halt.js';
import { ask, Fleet, type AgentProcess } from '../fleet/index.js';
import {
  conversation,
  counted,
  flawedCertificates,
  Intruder,
  messagesWithin,
  recordOf,
  rulesOf,
  standingOf,
  type Answer,
  type Flaw,
  type KeyPair,
  type PeerSecrets,
  type Said,
  type TargetSecrets,
} from '../intruder/index.js';
import { createLab, type Lab, type Pod } from '../lab/index.js';
import { Traffic, type StreamClient } from '../traffic/index.js';

const port = 7000;
const name = 'suite/server';
/** Where the workload is, where it goes, who has clients of it, and who has no part in it but a certificate. */
const [home, away, peer, stranger] = ['s1-h1', 's2-h1', 's3-h1', 's4-h1'] as const;
/** Long enough for everything that is tried while a workload stands still. */
const deadlines = { prepareMs: 60_000, frozenMs: 60_000, peerHoldMs: 70_000 };
const unheardOf = '00000000000000bb';
const someNonce = 'ab'.repeat(16);

function required<Value>(value: Value | undefined): Value {
  if (value === undefined) throw new Error('there is no record of the move');
  return value;
}

describe('agents that are told what they should not do', () => {
  let lab: Lab;
  let fleet: Fleet;
  let server: Pod;
  let own: Pod;
  let uid = '';
  let flawed: Record<Flaw, KeyPair>;
  const clients: StreamClient[] = [];
  const peerPods: Pod[] = [];

  beforeAll(async () => {
    lab = await createLab({ sites: 4 });
    fleet = await Fleet.start(lab, { env: haltable, config: { deadlines } });
    const traffic = new Traffic(lab, fleet.imagesDir);
    server = await lab.createPod({ name: 'server', host: home });
    await fleet.declare(server, name, { process: await traffic.server(server, port) });
    for (const [index, host] of [away, peer, peer].entries()) {
      const pod = await lab.createPod({ name: `client-${index}`, host });
      await fleet.declare(pod, `suite/${pod.name}`);
      if (host === peer) peerPods.push(pod);
      const options = { connections: 2, seed: index + 1, pause: 0.02, largest: 2048 };
      clients.push(await traffic.client(pod, server.address4, port, options));
    }
    own = await lab.createPod({ name: 'own', host: stranger });
    await fleet.declare(own, 'suite/own');
    flawed = await flawedCertificates(join(fleet.certificates, 'flawed'), fleet.certificates, home);
  }, 90_000);

  afterAll(async () => {
    await fleet?.remove();
    lab?.remove();
  }, 30_000);

  /** It must go on, whatever was tried, with every byte in its place. */
  afterEach(async () => {
    await Promise.all(clients.map((client) => client.goesOn(5)));
    expect(clients.flatMap((client) => client.result()?.errors ?? [])).toEqual([]);
  }, 30_000);

  const certificateOf = (host: string): KeyPair => ({
    cert: join(fleet.certificates, `${host}.crt`),
    key: join(fleet.certificates, `${host}.key`),
  });

  /** From that host, with that host's own certificate. */
  const as = (host: string): Intruder => new Intruder(fleet.agent(host).host, certificateOf(host));

  /** Nothing changes at `agents` while this is done; `line` of the first one's metrics says that it happened. */
  const withoutEffect = async (
    line: string | undefined,
    agents: readonly AgentProcess[],
    attempt: () => Promise<Answer>,
  ): Promise<Answer> => {
    const [asked] = agents as [AgentProcess];
    const before = await Promise.all(agents.map(standingOf));
    const count = line === undefined ? 0 : await counted(asked, line);
    const answer = await attempt();
    expect(await Promise.all(agents.map(standingOf))).toEqual(before);
    if (line !== undefined) expect([line, (await counted(asked, line)) - count]).toEqual([line, 1]);
    return answer;
  };

  const refused = async (
    who: Intruder,
    at: string,
    message: Message,
    refusal: string,
    lookAt: readonly string[] = [at],
  ): Promise<void> => {
    const line = `serval_signalling_refusals_total{message="${message.kind}",refusal="${refusal}"}`;
    const agents = [...new Set([at, ...lookAt])].map((host) => fleet.agent(host));
    const answer = await withoutEffect(line, agents, () => who.tell(fleet.agent(at), message));
    expect([message.kind, answer]).toEqual([
      message.kind,
      { status: 200, body: { ok: false, refusal, reason: expect.any(String) } },
    ]);
  };

  const erred = async (
    at: string,
    attempt: (agent: AgentProcess) => Promise<Answer>,
    [status, code]: [number, string],
  ): Promise<void> => {
    const line = `serval_signalling_errors_total{code="${code}"}`;
    const agent = fleet.agent(at);
    const answer = await withoutEffect(line, [agent], () => attempt(agent));
    expect(answer).toMatchObject({ status, body: { ok: false, code } });
  };

  const images = (who: Intruder, agent: AgentProcess, migration: string): Promise<Answer> =>
    who.post(agent, `/v1/images/${migration}`, Buffer.alloc(0));

  /** The clients' flows at the peer, as somebody says who wants them at `next`. */
  const flows = (now: string, next: string): PeerFlow[] =>
    peerPods.map((pod) => ({
      protocol: 'tcp',
      now: { address: now, port },
      next: { address: next, port },
      peer: { address: pod.address4, port: 40_000 },
    }));

  const preparePeer = (more: Partial<Extract<Message, { kind: 'preparePeer' }>>): Message => ({
    kind: 'preparePeer',
    migration: unheardOf,
    epoch: 99,
    workload: { name, uid: uid || 'some-uid' },
    target: stranger,
    flows: flows(server.address4, own.address4),
    ...more,
  });

  const prepareTarget = (more: Partial<Extract<Message, { kind: 'prepareTarget' }>>): Message => ({
    kind: 'prepareTarget',
    migration: unheardOf,
    epoch: 99,
    workload: { name, uid: uid || 'some-uid' },
    addresses: [server.address4],
    mover: 'criu',
    image: {},
    ...more,
  });

  /** It may ask, as far as the peer knows; but of these flows none is its own, and nothing comes of it. */
  const takenAsUnknown = async (
    who: Intruder,
    migration: string,
    { target, flows }: { target: string; flows: PeerFlow[] },
  ): Promise<void> => {
    const agent = fleet.agent(peer);
    const before = await rulesOf(agent);
    const none = { ok: true, unknown: flows.map((_, index) => index) };
    const prepared = await who.tell(agent, preparePeer({ migration, target, flows }));
    expect(prepared).toMatchObject({ status: 200, body: none });
    const nonce = String(prepared.body?.['nonce']);
    const add = { add: flows, remove: [] };
    const hold: Message = { kind: 'hold', migration, sequence: 1, nonce, flows: add };
    expect(await who.tell(agent, hold)).toMatchObject({ status: 200, body: none });
    expect(await rulesOf(agent)).toEqual(before);
    await who.tell(agent, { kind: 'abort', migration });
    expect(await rulesOf(agent)).toEqual(before);
  };

  const within = (migration: string, nonce: string, epoch: number): Record<string, Message> =>
    messagesWithin({ migration, nonce, epoch }, flows(server.address4, own.address4));
  const toTarget = ['targetFlows', 'restore', 'release', 'strays'];
  const toPeer = ['hold', 'unhold', 'rsyn', 'ended'];

  describe('refuse a connection', () => {
    const names: Partial<Record<Flaw, string>> = { twoNames: 'noNode' };
    const all: Flaw[] = [
      'absent',
      'expired',
      'notYetValid',
      'selfMade',
      'unknownAuthority',
      'noNode',
      'twoNames',
      'unusable',
    ];
    it.each(all)('whose certificate is wrong: %s', async (flaw) => {
      const fault = names[flaw] ?? flaw;
      const who = new Intruder(fleet.agent(stranger).host, flawed[flaw]);
      const line = `serval_signalling_refused_certificates_total{fault="${fault}"}`;
      const agent = fleet.agent(peer);
      const answer = await withoutEffect(line, [agent], () => who.tell(agent, preparePeer({})));
      expect(answer).toEqual({ error: expect.any(String), fault });
    });

    it('of TLS 1.2', async () => {
      const who = new Intruder(fleet.agent(stranger).host, certificateOf(stranger), {
        maxVersion: 'TLSv1.2',
      });
      const line = 'serval_signalling_failed_handshakes_total';
      const agent = fleet.agent(peer);
      const answer = await withoutEffect(line, [agent], () => who.tell(agent, preparePeer({})));
      expect(answer).toEqual({ error: expect.stringMatching(/PROTOCOL_VERSION/) });
    });
  });

  describe('refuse a node that wants to move what it does not host', () => {
    it('preparePeer: it hosts neither the workload nor is it the source', () =>
      refused(as(stranger), peer, preparePeer({}), 'notAuthorised'));

    it('preparePeer: the target that it names is not where the flows are to go', () =>
      refused(
        as(stranger),
        peer,
        preparePeer({ target: away, flows: flows(own.address4, own.address4) }),
        'notAuthorised',
      ));

    it('preparePeer: flows of its own are to come in where those of another workload do', async () => {
      const migration = '00000000000000dd';
      const sockets = (await Promise.all(peerPods.map(({ netns }) => listFlows(netns)))).flat();
      const crossing = sockets.map(({ protocol, tuple: { local, remote } }): PeerFlow => {
        return { protocol, now: { address: own.address4, port }, next: remote, peer: local };
      });
      expect(crossing).toHaveLength(4);
      await takenAsUnknown(as(stranger), migration, { target: home, flows: crossing });
    });

    it('prepareTarget: the workload is elsewhere', () =>
      refused(as(stranger), away, prepareTarget({}), 'notAuthorised', [home, away]));

    it('prepareTarget: the workload is here, and the address its own', () =>
      refused(as(stranger), home, prepareTarget({ addresses: [own.address4] }), 'notAuthorised'));

    it.each([...toTarget, ...toPeer, 'switched'])('%s of a migration that nobody knows', (kind) =>
      refused(
        as(stranger),
        kind === 'switched' ? home : peer,
        within(unheardOf, someNonce, 1)[kind] as Message,
        'unknownMigration',
      ),
    );

    it('images of a migration that nobody knows, also where it was given up before', async () => {
      const who = as(stranger);
      await erred(away, (agent) => images(who, agent, unheardOf), [403, 'ERR_NO_PERMISSION']);
      const abort: Message = { kind: 'abort', migration: unheardOf };
      const agent = fleet.agent(away);
      // That nothing is moved any more is no wish to refuse: it does nothing here.
      expect(await withoutEffect(undefined, [agent], () => who.tell(agent, abort))).toEqual({
        status: 200,
        body: { ok: true },
      });
      await erred(away, (asked) => images(who, asked, unheardOf), [409, 'ERR_CONFLICT']);
    });

    it('a message that says who has sent it', () =>
      erred(
        peer,
        (agent) =>
          as(stranger).post(
            agent,
            '/v1/message',
            Buffer.from(JSON.stringify({ kind: 'abort', migration: unheardOf, from: home })),
          ),
        [400, 'ERR_BAD_INPUT'],
      ));
  });

  describe('refuse whoever has no part in a migration, or not this one', () => {
    it('while it goes on, with everything known that only its own nodes know', async () => {
      const source = fleet.agent(home);
      const halt = new Halt(source, { role: 'source', phase: 'restored' });
      const { metadata } = await source.migrate({ workload: name, targetNode: away });
      try {
        expect(await halt.reached(() => false)).toBe(true);
        const record = recordOf<PeerSecrets>(fleet.agent(peer), 'peer', home);
        expect(record).toMatchObject({ source: home, target: away });
        const { migration, nonce = '', epoch = 0, workload } = record ?? { migration: '' };
        uid = workload?.uid ?? '';
        const messages = within(migration, nonce, epoch);
        const abort: Message = { kind: 'abort', migration };
        const told = (kind: string): Message => messages[kind] as Message;

        const who = as(stranger);
        for (const kind of toTarget) await refused(who, away, told(kind), 'notAuthorised');
        for (const kind of toPeer) await refused(who, peer, told(kind), 'notAuthorised');
        await refused(who, peer, preparePeer({ migration, epoch }), 'notAuthorised');
        await refused(who, away, prepareTarget({ migration, epoch }), 'notAuthorised');
        for (const at of [away, peer]) await refused(who, at, abort, 'notAuthorised');
        await erred(away, (agent) => images(who, agent, migration), [403, 'ERR_NO_PERMISSION']);

        // Those who have a part in it, but not this one.
        await refused(as(home), peer, told('rsyn'), 'notAuthorised');
        await refused(as(away), peer, told('hold'), 'notAuthorised');
        await refused(as(away), peer, abort, 'notAuthorised');
        await refused(as(peer), away, told('release'), 'notAuthorised');
        await refused(as(away), peer, { ...told('rsyn'), nonce: someNonce } as Message, 'badNonce');
        await refused(as(home), peer, { ...told('hold'), nonce: someNonce } as Message, 'badNonce');
        await refused(as(away), peer, { ...told('rsyn'), epoch: epoch - 1 } as Message, 'staleEpoch');
        await erred(away, (agent) => images(as(home), agent, migration), [409, 'ERR_CONFLICT']);
      } finally {
        halt.disarm();
      }
      const { status } = await source.ended(metadata.name);
      expect(status?.conditions).toMatchObject([{ type: 'Succeeded', status: 'True' }]);
    }, 60_000);
  });

  describe('take no word twice, and none that is old', () => {
    const again = '00000000000000cc';

    /** Nothing is under way any more, and what was cleaned up after the move is. */
    const settled = async (): Promise<void> => {
      const deadline = performance.now() + 20_000;
      const open = async (): Promise<boolean> => {
        const all = await Promise.all([home, away, peer].map((host) => fleet.agent(host).status()));
        return all.some(({ openMigrations }) => Object.values(openMigrations).some((count) => count > 0));
      };
      while (await open()) {
        if (performance.now() > deadline) throw new Error('the move has left something open for 20 s');
        await delay(50);
      }
    };

    /** The clients' flows at the peer, as the move that is over was about them. */
    const movedFlows = async (): Promise<PeerFlow[]> => {
      const rules = await ask<FlowView[]>(fleet.agent(peer).socket, 'GET', '/v1/flows');
      return rules
        .filter(({ state }) => state === 'active')
        .map(({ protocol, identity, wire }) => ({
          protocol,
          now: identity.remote,
          next: wire.remote,
          peer: wire.local,
        }));
    };

    const atPeer = () => required(recordOf<PeerSecrets>(fleet.agent(peer), 'peer', home));
    const atTarget = () => required(recordOf<TargetSecrets>(fleet.agent(away), 'target', home));
    const genuine = async (): Promise<Said[]> =>
      conversation(atTarget(), atPeer(), { peer, flows: await movedFlows() });

    it('the same messages once more, from those who have sent them: they change nothing', async () => {
      await settled();
      const everybody = [home, away, peer].map((host) => fleet.agent(host));
      for (const { from, to, message, answer: expected } of await genuine()) {
        const answer = await withoutEffect(undefined, everybody, () =>
          as(from).tell(fleet.agent(to), message),
        );
        expect([message.kind, answer]).toMatchObject([message.kind, { status: 200, body: expected }]);
      }
      const { migration } = atTarget();
      await erred(away, (agent) => images(as(home), agent, migration), [409, 'ERR_CONFLICT']);
      const [moved] = await ask<ServalMigration[]>(fleet.agent(home).socket, 'GET', '/v1/migrations');
      expect(moved?.status?.replayed).not.toBe(99);
    }, 60_000);

    it('the same messages once more, from somebody who has listened: they are refused', async () => {
      for (const { to, message } of await genuine())
        await refused(as(stranger), to, message, 'notAuthorised', [away, peer]);
    }, 60_000);

    it('a new migration of an old epoch, by who hosted the workload before', async () => {
      const { epoch, workload } = atTarget();
      const old = { migration: again, epoch, workload };
      const [first] = await movedFlows();
      const next = { address: first?.next.address ?? '', port };
      const all = (await movedFlows()).map((flow) => ({ ...flow, next }));
      await refused(as(home), peer, preparePeer({ ...old, target: away, flows: all }), 'staleEpoch');
      await refused(as(home), away, prepareTarget(old), 'staleEpoch');
    }, 30_000);

    it('a new migration of a new epoch, by who hosted the workload before', async () => {
      await refused(as(home), away, prepareTarget({ migration: again }), 'notAuthorised');
      const next = { address: server.address4, port: port + 1 };
      const back = (await movedFlows()).map((flow) => ({ ...flow, next }));
      expect(back).toHaveLength(4);
      await takenAsUnknown(as(home), again, { target: home, flows: back });
    }, 30_000);
  });
});
