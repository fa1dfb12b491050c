import { describe, expect, it } from '@jest/globals';
import { defaultDeadlines } from './deadlines.js';
import type { Difference, Hold, PeerFlow, PreparePeer, Rsyn } from './messages.js';
import { flow, id, Script, workload } from './script.fixture.js';

const prepare: PreparePeer = {
  kind: 'preparePeer',
  migration: id,
  epoch: 5,
  workload,
  target: 't',
  flows: [flow(1), flow(2)],
};
const nothing: Difference<PeerFlow> = { add: [], remove: [] };
const hold = (sequence: number, flows = nothing): Hold => ({
  kind: 'hold',
  migration: id,
  sequence,
  nonce: 'nonce-t1',
  flows,
});
const unhold = (sequence: number) =>
  ({ kind: 'unhold', migration: id, sequence, nonce: 'nonce-t1' }) as const;
const rsyn: Rsyn = { kind: 'rsyn', migration: id, epoch: 5, nonce: 'nonce-t1', strays: [] };
const abort = { kind: 'abort', migration: id } as const;

function prepared(message = prepare): Script {
  return new Script('p').tell('s', message).done('peer', 'install', { unknown: [] });
}

function held(): Script {
  return prepared().tell('s', hold(1)).done('peer', 'hold', { unknown: [] });
}

describe('a peer', () => {
  it('prepares, holds, flips: each answered when it is done, and written down before', () => {
    const peer = new Script('p').tell('s', prepare);
    expect(peer.story).toEqual(['persist peer', 'timer deadline', 'run install']);
    expect(peer.done('peer', 'install', { unknown: [1] }).replies).toEqual([
      { ok: true, nonce: 'nonce-t1', unknown: [1] },
    ]);
    expect(peer.tell('s', hold(1)).story).toEqual(['timer deadline', 'run hold']);
    expect(peer.done('peer', 'hold', { unknown: [] }).replies).toEqual([{ ok: true, unknown: [] }]);
    expect(peer.tell('t', rsyn).story).toEqual(['run flip']);
    expect(peer.done('peer', 'flip', { replayed: 7 }).story).toEqual([
      'persist peer',
      'timer settle',
      'reply t3 ok',
    ]);
    expect(peer.replies).toEqual([{ ok: true, replayed: 7 }]);
    expect(peer.tell('t', rsyn).story).toEqual(['reply t4 ok']);
    expect(peer.timeout('peer', 'settle').story).toEqual(['run dropEarlier']);
    const state = peer.agent.peers.get(id);
    expect(JSON.parse(JSON.stringify(state))).toEqual(state);
  });

  it('says which flows are not here, by the index of the message', () => {
    const flows = [flow(1, '10.0.4.9'), flow(2), flow(3, '10.0.4.9'), flow(4)];
    const peer = new Script('p').tell('s', { ...prepare, flows });
    expect(peer.ran()).toEqual([['install', { flows: [flow(2), flow(4)] }]]);
    expect(peer.done('peer', 'install', { unknown: [1] }).replies).toEqual([
      { ok: true, nonce: 'nonce-t1', unknown: [0, 2, 3] },
    ]);
  });

  it('answers a request that comes twice once more, without doing it twice', () => {
    const peer = new Script('p').tell('s', prepare);
    expect(peer.tell('s', prepare).story).toEqual([]);
    expect(peer.done('peer', 'install', { unknown: [] }).story).toEqual(['reply t1 ok', 'reply t2 ok']);
    expect(peer.tell('s', prepare).replies).toEqual([{ ok: true, nonce: 'nonce-t1', unknown: [] }]);
    peer.tell('s', hold(1));
    expect(peer.tell('s', hold(1)).story).toEqual([]);
    expect(peer.done('peer', 'hold', { unknown: [] }).story).toEqual(['reply t4 ok', 'reply t5 ok']);
    expect(peer.tell('s', hold(1)).story).toEqual(['reply t6 ok']);
  });

  it('does nothing that is late', () => {
    const peer = prepared().tell('s', hold(3)).done('peer', 'hold', { unknown: [] });
    expect(peer.tell('s', unhold(2)).story).toEqual(['reply t3 conflict']);
    expect(peer.tell('s', hold(2, { add: [flow(9)], remove: [] })).story).toEqual(['reply t4 conflict']);
    peer.tell('s', unhold(4)).done('peer', 'unhold');
    expect(peer.tell('s', hold(3)).story).toEqual(['reply t6 conflict']);
    expect(peer.restart().tell('s', hold(5)).done('peer', 'hold', { unknown: [] }).replies).toHaveLength(1);
    expect(peer.tell('s', prepare).story).toEqual(['reply t8 ok']);
  });

  it('remembers after a restart what is late', () => {
    const peer = prepared()
      .tell('s', hold(3, { add: [], remove: [flow(1)] }))
      .restart();
    expect(peer.tell('s', hold(2, { add: [flow(1)], remove: [] })).story).toEqual(['reply t3 conflict']);
    expect(peer.tell('s', prepare).story).toEqual(['reply t4 ok']);
    expect(peer.tell('s', hold(3)).story).toEqual(['timer deadline', 'run hold']);
    expect(held().tell('s', unhold(2)).restart().tell('s', hold(1)).story).toEqual(['reply t4 conflict']);
  });

  it('refuses what others than source and target ask for', () => {
    expect(new Script('p').tell('q', prepare).story).toEqual(['reply t1 notAuthorised']);
    const peer = held();
    expect(peer.tell('t', hold(2)).story).toEqual(['reply t3 notAuthorised']);
    expect(peer.tell('s', { ...hold(2), nonce: 'other' }).story).toEqual(['reply t4 badNonce']);
    expect(peer.tell('q', unhold(2)).story).toEqual(['reply t5 notAuthorised']);
    expect(peer.tell('s', rsyn).story).toEqual(['reply t6 notAuthorised']);
    expect(peer.tell('t', { ...rsyn, nonce: 'other' }).story).toEqual(['reply t7 badNonce']);
    expect(peer.tell('t', { ...rsyn, epoch: 4 }).story).toEqual(['reply t8 staleEpoch']);
    expect(peer.tell('t', abort).story).toEqual(['reply t9 notAuthorised']);
    expect(peer.tell('s', { kind: 'ended', migration: id, flows: [] }).story).toEqual([
      'reply t10 notAuthorised',
    ]);
    const stolen = { ...flow(3), now: { address: '10.0.4.4', port: 1 } };
    expect(peer.tell('s', hold(2, { add: [stolen], remove: [] })).story).toEqual(['reply t11 notAuthorised']);
    expect(peer.tell('t', { ...rsyn, migration: '00000000000000bb' }).story).toEqual([
      'reply t12 unknownMigration',
    ]);
  });

  it('lets go at its deadline, then asks the source, then the target', () => {
    const peer = held();
    expect(peer.timeout('peer', 'deadline').story).toEqual(['run unhold', 'send outcome s']);
    peer.done('peer', 'unhold');
    expect(peer.answer('peer', 'outcome', 's', { word: 'undecided' }).timers()).toEqual({ outcome: 1_000 });
    expect(peer.timeout('peer', 'outcome').story).toEqual(['send outcome s']);
    expect(peer.unreached('peer', 'outcome', 's').story).toEqual(['send outcome t']);
    expect(peer.answer('peer', 'outcome', 't', { word: 'unknown' }).story).toEqual(['timer outcome']);
    peer.timeout('peer', 'outcome').answer('peer', 'outcome', 's', { word: 'released' });
    const release = { peers: [{ node: 'p', nonce: 'nonce-t1' }], strays: [] };
    expect(peer.answer('peer', 'outcome', 't', { word: 'released', release }).story).toEqual(['run flip']);
    expect(peer.tell('s', abort).story).toEqual(['reply t3 ok']);
    expect(peer.done('peer', 'flip', { replayed: 0 }).story).toEqual(['persist peer', 'timer settle']);
  });

  it('does not believe a target that does not know its nonce', () => {
    const peer = held().timeout('peer', 'deadline').done('peer', 'unhold');
    peer.answer('peer', 'outcome', 's', { word: 'released' });
    const release = { peers: [{ node: 'p', nonce: 'other' }], strays: [] };
    expect(peer.answer('peer', 'outcome', 't', { word: 'released', release }).story).toEqual([
      'timer outcome',
    ]);
  });

  it.each([
    ['the source gave it up', ['aborted'], true],
    ['neither knows of it', ['unknown', 'unknown'], true],
    ['the target gave it up', ['released', 'aborted'], true],
    ['the source knows of nothing, but the target is at it', ['unknown', 'undecided'], false],
  ])('drops its rules, or not: %s', (_, [source, target], drops) => {
    const peer = held().timeout('peer', 'deadline').done('peer', 'unhold');
    peer.answer('peer', 'outcome', 's', { word: source });
    if (target !== undefined) peer.answer('peer', 'outcome', 't', { word: target });
    expect(peer.story).toEqual([drops ? 'run drop' : 'timer outcome']);
  });

  it('forgets a move that nobody has answered for', () => {
    const peer = held().timeout('peer', 'deadline').done('peer', 'unhold');
    const most = defaultDeadlines.tombstoneMs / defaultDeadlines.outcomeMs;
    for (let times = 0; times < most; times++) {
      peer.unreached('peer', 'outcome', 's').unreached('peer', 'outcome', 't');
      expect(peer.story).toEqual(['timer outcome']);
      peer.timeout('peer', 'outcome');
    }
    expect(peer.unreached('peer', 'outcome', 's').unreached('peer', 'outcome', 't').story).toEqual([
      'run drop',
    ]);
  });

  it('asks, and lets go in time, after a restart: it may have held', () => {
    const peer = held().restart();
    expect(peer.story).toEqual(['timer deadline', 'send outcome s']);
    peer.answer('peer', 'outcome', 's', { word: 'undecided' });
    expect(peer.timeout('peer', 'deadline').story).toEqual(['run unhold', 'send outcome s']);
  });

  it('remembers what was given up, and the epoch that it switched', () => {
    const peer = held().tell('s', abort);
    expect(peer.story).toEqual(['run drop', 'reply t3 ok']);
    expect(peer.tell('s', hold(2)).story).toEqual(['reply t4 givenUp']);
    expect(peer.done('peer', 'drop').story).toEqual(['persist peer', 'timer settle']);
    expect(peer.restart().tell('s', prepare).story).toEqual(['reply t5 givenUp']);
    const switched = held().tell('t', rsyn).done('peer', 'flip', { replayed: 0 }).restart();
    expect(switched.tell('s', { ...prepare, migration: '00000000000000bb' }).story).toEqual([
      'reply t4 staleEpoch',
    ]);
    expect(switched.tell('s', { ...prepare, migration: '00000000000000bb', epoch: 6 }).story[0]).toBe(
      'persist peer',
    );
  });

  it("takes nobody else's word that something unheard of was given up", () => {
    const peer = new Script('p').tell('q', abort);
    expect(peer.tell('s', prepare).story).toContain('run install');
    expect(new Script('p').tell('s', abort).tell('s', prepare).story).toEqual(['reply t2 givenUp']);
  });

  it('does not hold behind a flip that is still being done', () => {
    const peer = held().restart().tell('t', rsyn);
    expect(peer.tell('s', hold(2)).story).toEqual([]);
    expect(peer.tell('s', hold(2, { add: [flow(9)], remove: [] })).story).toEqual(['reply t5 conflict']);
    expect(peer.tell('s', unhold(3)).story).toEqual(['reply t6 conflict']);
    expect(peer.done('peer', 'flip', { replayed: 0 }).story).toContain('persist peer');
    expect(peer.story).toContain('run forget');
  });

  it('does its work in turn', () => {
    const peer = prepared().tell('s', hold(1)).tell('t', rsyn);
    expect(peer.story).toEqual([]);
    expect(peer.done('peer', 'hold', { unknown: [] }).story).toEqual(['reply t2 ok', 'run flip']);
    expect(peer.failed('peer', 'flip').story).toEqual(['reply t3 failed', 'timer outcome']);
    expect(peer.tell('t', rsyn).story).toEqual(['run flip']);
  });

  it('holds nothing of an end that has left, until the source has planned again', () => {
    const peer = prepared({ ...prepare, flows: [flow(1), flow(2, '10.0.3.2')] });
    peer.gone.add('10.0.3.2');
    expect(peer.tell('s', hold(1)).story).toEqual(['reply t2 conflict']);
    const later = hold(2, { add: [], remove: [flow(2, '10.0.3.2')] });
    expect(peer.tell('s', later).story).toEqual(['persist peer', 'timer deadline', 'run hold']);
    peer.done('peer', 'hold', { unknown: [] });
    expect(peer.tell('s', hold(3)).story).toContain('run hold');
  });

  it('sends opening segments that the target hands on, of this move only', () => {
    const stray = { flow: flow(9), packet: 'AAAA' };
    const foreign = { flow: { ...flow(9), now: { address: '10.0.1.7', port: 1 } }, packet: 'AAAA' };
    const peer = held().tell('t', { ...rsyn, strays: [stray, foreign] });
    expect(peer.ran()).toEqual([['flip', { strays: [stray] }]]);
    peer.done('peer', 'flip', { replayed: 1 });
    expect(peer.tell('t', { ...rsyn, strays: [stray] }).ran()).toEqual([['flip', { strays: [stray] }]]);
  });

  it('forgets flows that have ended, and in the end the whole move', () => {
    const peer = held().tell('t', rsyn).done('peer', 'flip', { replayed: 0 });
    expect(peer.tell('t', { kind: 'ended', migration: id, flows: [flow(1)] }).ran()).toEqual([
      ['forget', { flows: [flow(1)] }],
    ]);
    expect(peer.done('peer', 'forget').story).toEqual(['reply t4 ok']);
    expect(peer.tell('s', hold(2, { add: [], remove: [flow(2)] })).ran()).toEqual([
      ['forget', { flows: [flow(2)], unlessAlive: true }],
    ]);
    expect(peer.done('peer', 'forget').replies).toEqual([{ ok: true, unknown: [] }]);
    peer.event({ type: 'flowsEnded', migration: id, flows: [], last: true });
    expect(peer.timers()).toEqual({ settle: defaultDeadlines.tombstoneMs });
    expect(peer.event({ type: 'flowsEnded', migration: id, flows: [], last: true }).effects).toEqual([]);
    expect(peer.timeout('peer', 'settle').story).toEqual(['forgetState peer']);
  });
});
