/** What agents say to each other, in the mouth of somebody who has no right to say it, or no right any more. */
import type { Message, PeerFlow, TargetFlow } from '@serval/node-agent';
import type { MigrationRecord } from './standing.js';

/** What only the nodes of a migration know. */
export interface PeerSecrets {
  target: string;
  nonce: string;
}

export interface TargetSecrets {
  addresses: string[];
  mover: string;
  image: Record<string, unknown>;
  peers: Array<{ node: string; nonce: string }>;
}

const none = { add: [], remove: [] };
const madeUp = { resumeMs: 7, switchMs: 123_456, replayed: 99 };

/** All that is said once a migration has begun, by its kind; with numbers that are not late. */
export function messagesWithin(
  { migration, nonce, epoch }: { migration: string; nonce: string; epoch: number },
  flows: PeerFlow[],
): Record<string, Message> {
  const add = flows.map(({ protocol, now, next, peer }): TargetFlow => {
    return { protocol, identity: { local: now, remote: peer }, wire: { local: next, remote: peer } };
  });
  const messages: Message[] = [
    { kind: 'targetFlows', migration, sequence: 99, flows: { add, remove: [] } },
    { kind: 'restore', migration, sequence: 99, flows: none },
    { kind: 'release', migration, peers: [], strays: [] },
    { kind: 'strays', migration, strays: [] },
    { kind: 'hold', migration, sequence: 99, nonce, flows: none },
    { kind: 'unhold', migration, sequence: 99, nonce },
    { kind: 'rsyn', migration, epoch, nonce, strays: [] },
    { kind: 'ended', migration, flows },
    { kind: 'switched', migration, missing: [], report: madeUp },
  ];
  return Object.fromEntries(messages.map((message) => [message.kind, message]));
}

export interface Said {
  from: string;
  to: string;
  message: Message;
  /** what it is answered with when it is said again */
  answer: object;
}

/** All that was said in a move that is over, in its order; at the end what might have been said. */
export function conversation(
  atTarget: MigrationRecord & TargetSecrets,
  atPeer: MigrationRecord & PeerSecrets,
  { peer, flows }: { peer: string; flows: PeerFlow[] },
): Said[] {
  const { migration, epoch, workload, source, addresses, mover, image, peers, sequence } = atTarget;
  const { target, nonce, sequence: held } = atPeer;
  const all = (from: string, to: string, ...said: Array<[Message, object]>): Said[] =>
    said.map(([message, answer]) => ({ from, to, message, answer }));
  const ok = { ok: true };
  const conflict = { ok: false, refusal: 'conflict' };
  const hold = { kind: 'hold', migration, sequence: held, nonce } as const;
  // Named by where they are now, which is not the source's any more.
  const asIfThere = flows.map((flow) => ({ ...flow, now: flow.next }));
  const released = peers.map((each) => ({ node: each.node, nonce: each.nonce }));
  return [
    ...all(
      source,
      target,
      [{ kind: 'prepareTarget', migration, epoch, workload, addresses, mover, image }, ok],
      [{ kind: 'targetFlows', migration, sequence: sequence - 1, flows: none }, conflict],
    ),
    ...all(
      source,
      peer,
      [
        { kind: 'preparePeer', migration, epoch, workload, target, flows },
        { ok: true, nonce, unknown: [] },
      ],
      [{ ...hold, flows: none }, ok],
      [{ ...hold, flows: { add: flows, remove: [] } }, conflict],
      [{ ...hold, flows: { add: [], remove: flows } }, ok],
      [{ ...hold, flows: { add: [], remove: asIfThere } }, ok],
      [{ kind: 'unhold', migration, sequence: held + 1, nonce }, conflict],
    ),
    ...all(
      source,
      target,
      [{ kind: 'restore', migration, sequence, flows: none }, ok],
      [{ kind: 'release', migration, peers: released, strays: [] }, ok],
      [{ kind: 'strays', migration, strays: [] }, ok],
    ),
    ...all(target, peer, [
      { kind: 'rsyn', migration, epoch, nonce, strays: [] },
      { ok: true, replayed: 0 },
    ]),
    ...all(target, source, [{ kind: 'switched', migration, missing: [], report: madeUp }, ok]),
    ...all(source, target, [{ kind: 'abort', migration }, ok]),
    ...all(source, peer, [{ kind: 'abort', migration }, ok]),
  ];
}
