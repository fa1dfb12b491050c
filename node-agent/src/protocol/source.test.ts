import { describe, expect, it } from '@jest/globals';
import { defaultDeadlines } from './deadlines.js';
import type { Event, Plan } from './effects.js';
import type { Accepted, Hold, Switched } from './messages.js';
import { flow, id, Script, targetFlow } from './script.fixture.js';
import {
  differenceTo,
  freezing,
  higher,
  holding,
  lower,
  phase,
  plan,
  planning,
  quiescing,
  released,
  start,
} from './source-script.fixture.js';

describe('a source', () => {
  it('leads one move from the pod to the release', () => {
    const source = new Script('s').event(start);
    expect(source.story).toEqual(['persist source', 'timer deadline', 'send prepareTarget t']);
    source.answer('source', 'prepareTarget', 't', { addresses: { ipv4: '10.0.2.1' } });
    expect(source.ran()).toEqual([['plan', { addresses: { ipv4: '10.0.2.1' } }]]);
    expect(source.done('source', 'plan', plan([1, 2], [3])).story).toEqual([
      'send targetFlows t',
      'persist source',
      'send preparePeer p',
      'send preparePeer q',
    ]);
    source.answer('source', 'targetFlows', 't');
    source.answer('source', 'preparePeer', 'p', { nonce: 'np', unknown: [] });
    expect(source.answer('source', 'preparePeer', 'q', { nonce: 'nq', unknown: [] }).story).toEqual([
      'run quiesce',
    ]);
    expect(source.done('source', 'quiesce', { left: 0 }).story).toEqual([
      'timer backoff',
      'send hold p',
      'send hold q',
    ]);
    source.answer('source', 'hold', 'q', { unknown: [] });
    expect(source.answer('source', 'hold', 'p', { unknown: [] }).story).toEqual([
      'timer deadline',
      'run freeze',
    ]);
    expect(source.done('source', 'freeze', plan([1, 2], [3])).story).toEqual(['run move']);
    expect(source.done('source', 'move').story).toEqual(['send restore t', 'run takeStrays']);
    source.done('source', 'takeStrays', { strays: [] });
    expect(source.answer('source', 'restore', 't').story).toEqual([
      'persist source',
      'send release t',
      'timer strays',
    ]);
    expect(source.sent('t')).toEqual([
      {
        kind: 'release',
        migration: id,
        peers: [
          { node: 'p', nonce: 'np' },
          { node: 'q', nonce: 'nq' },
        ],
        strays: [],
      },
    ]);
    source.answer('source', 'release', 't');
    const report = { resumeMs: 1, switchMs: 2, replayed: 3 };
    const switched: Switched = { kind: 'switched', migration: id, missing: [], report };
    const told = expect.objectContaining({ type: 'note', note: { what: 'switched', report } });
    // What somebody else makes up is shown to nobody.
    expect(source.tell('p', switched).story).toEqual(['reply t1 notAuthorised']);
    expect(source.effects).not.toContainEqual(told);
    expect(source.tell('t', switched).story).toEqual([
      'persist source',
      'run takeStrays',
      'run retire',
      'reply t2 ok',
    ]);
    expect(source.effects).toContainEqual(told);
    source.done('source', 'takeStrays', { strays: [] });
    expect(source.done('source', 'retire').timers()).toEqual({ settle: defaultDeadlines.tombstoneMs });
    const state = source.agent.sources.get(id);
    expect(JSON.parse(JSON.stringify(state))).toEqual(state);
    expect(source.timeout('source', 'settle').story).toEqual(['forgetState source']);
  });

  it('tells what came and went: the move first, and the release waits only for what came', () => {
    const source = freezing([1, 2], [3]).done('source', 'freeze', plan([2, 4], [3]));
    expect(source.story).toEqual(['run move', 'send hold p']);
    expect(differenceTo(source, 'p')).toEqual({ add: [flow(4)], remove: [flow(1)] });
    source.done('source', 'move');
    expect(source.sent('t')).toMatchObject([
      { kind: 'restore', sequence: 2, flows: { add: [targetFlow(4)], remove: [targetFlow(1)] } },
    ]);
    expect(source.answer('source', 'restore', 't').story).toEqual([]);
    expect(source.answer('source', 'hold', 'p', { unknown: [] }).story).toContain('send release t');
    const ended = freezing([1, 2])
      .done('source', 'freeze', plan([1]))
      .done('source', 'move');
    expect(ended.answer('source', 'restore', 't').story).toContain('send release t');
  });

  it('prepares a late peer, and lets go of one without flows', () => {
    const source = freezing([1]).done('source', 'freeze', plan([], [3]));
    expect(source.story).toEqual(['run move', 'send abort p', 'persist source', 'send preparePeer q']);
    source.done('source', 'move').answer('source', 'restore', 't');
    source.answer('source', 'preparePeer', 'q', { nonce: 'nq', unknown: [] });
    expect(source.story).toEqual(['send hold q']);
    source.answer('source', 'hold', 'q', { unknown: [] });
    expect(source.sent('t')).toMatchObject([{ kind: 'release', peers: [{ node: 'q', nonce: 'nq' }] }]);
  });

  it('does not abort the target where that has no flows left as a peer', () => {
    const withTarget: Plan = { ...plan([1]), peers: { t: [flow(1, '10.0.2.9')] } };
    const source = planning().done('source', 'plan', withTarget).answer('source', 'targetFlows', 't');
    source
      .answer('source', 'preparePeer', 't', { nonce: 'nt', unknown: [] })
      .done('source', 'quiesce', { left: 0 });
    source.answer('source', 'hold', 't', { unknown: [] }).done('source', 'freeze', plan([]));
    expect(differenceTo(source, 't')).toEqual({ add: [], remove: [flow(1, '10.0.2.9')] });
  });

  it('puts it off where another end moves: lets go, waits, plans again', () => {
    const source = holding([1], [3]).answer('source', 'hold', 'q', { unknown: [] });
    source.answer('source', 'hold', 'p', { ok: false, refusal: 'busy', reason: 'moves' });
    expect(source.story).toEqual(['send unhold p', 'send unhold q', 'run unquiesce']);
    expect(source.done('source', 'unquiesce').story).toEqual(['timer backoff']);
    expect(source.timeout('source', 'backoff').story).toEqual(['run plan']);
    // p may or may not know flow 1 as held; whatever it knows that is not in the plan any more goes.
    source.done('source', 'plan', plan([2], [3])).answer('source', 'targetFlows', 't');
    source.done('source', 'quiesce', { left: 0 });
    expect(source.sent('p')).toMatchObject([
      { kind: 'hold', sequence: 3, flows: { add: [flow(2)], remove: [flow(1)] } },
    ]);
    expect(differenceTo(source, 'q')).toEqual({ add: [], remove: [] });
  });

  it('takes back what it may have told with a hold that it did not wait for', () => {
    const source = quiescing([1]).done('source', 'quiesce', { left: 0 });
    source.timeout('source', 'backoff').done('source', 'unquiesce').timeout('source', 'backoff');
    source
      .done('source', 'plan', plan([1, 2]))
      .answer('source', 'targetFlows', 't')
      .done('source', 'quiesce', { left: 0 });
    expect(differenceTo(source, 'p')).toEqual({ add: [flow(2)], remove: [] });
    source.timeout('source', 'backoff').done('source', 'unquiesce').timeout('source', 'backoff');
    source
      .done('source', 'plan', plan([1]))
      .answer('source', 'targetFlows', 't')
      .done('source', 'quiesce', { left: 0 });
    expect(differenceTo(source, 'p')).toEqual({ add: [], remove: [flow(2)] });
  });

  it('looks again for flows that are not where they were, then counts them as lost', () => {
    const source = planning()
      .done('source', 'plan', plan([1, 2]))
      .answer('source', 'targetFlows', 't');
    source.answer('source', 'preparePeer', 'p', { nonce: 'np', unknown: [1] });
    for (let round = 0; round < 5; round++) {
      source.done('source', 'quiesce', { left: 0 });
      expect(differenceTo(source, 'p')).toEqual({ add: [flow(2)], remove: [] });
      source.answer('source', 'hold', 'p', { unknown: [0] });
      expect(phase(source)).toBe('backingOff');
      source
        .done('source', 'unquiesce')
        .timeout('source', 'backoff')
        .done('source', 'plan', plan([1, 2]));
    }
    source.done('source', 'quiesce', { left: 0 }).answer('source', 'hold', 'p', { unknown: [0] });
    expect(phase(source)).toBe('freezing');
    const lost = { what: 'lost', reason: 'unknownPeer', flows: 1 };
    expect(source.effects).toContainEqual(expect.objectContaining({ note: lost }));
  });

  it('plans again where something has moved since the plan, and waits while it moves', () => {
    const source = planning();
    const other = {
      ...flow(7),
      now: { address: '10.0.3.1', port: 80 },
      peer: { address: '10.0.1.1', port: 9 },
    };
    const about = {
      migration: higher,
      epoch: 1,
      workload: { name: 'default/other', uid: 'uid-2' },
      target: 't',
    };
    const hold: Hold = {
      kind: 'hold',
      migration: higher,
      sequence: 1,
      nonce: 'nonce-t1',
      flows: { add: [], remove: [] },
    };
    source.tell('p', { kind: 'preparePeer', ...about, flows: [other] });
    source.event({ type: 'done', role: 'peer', migration: higher, work: 'install', result: { unknown: [] } });
    source.tell('p', hold);
    expect(source.story).toContain('run hold');
    source.done('source', 'plan', plan([]));
    expect(phase(source)).toBe('backingOff');
    expect(source.timeout('source', 'backoff').story).toEqual(['run plan']);
    expect(source.done('source', 'plan', plan([])).story).toEqual(['timer backoff']);
    source.event({ type: 'done', role: 'peer', migration: higher, work: 'hold', result: { unknown: [] } });
    source.tell('t', { kind: 'rsyn', migration: higher, epoch: 1, nonce: 'nonce-t1', strays: [] });
    source.timeout('source', 'backoff');
    source.event({ type: 'done', role: 'peer', migration: higher, work: 'flip', result: { replayed: 0 } });
    expect(source.done('source', 'plan', plan([])).story).toEqual(['timer backoff']);
    source.timeout('source', 'backoff').done('source', 'plan', plan([]));
    expect(source.story).toEqual(['run quiesce']);
  });
});

describe('both ends at once', () => {
  const held = (migration: string, source: Script): Script => {
    const other = {
      ...flow(7),
      now: { address: '10.0.3.1', port: 80 },
      peer: { address: '10.0.1.1', port: 9 },
    };
    const about = { migration, epoch: 1, workload: { name: 'default/other', uid: 'uid-2' }, target: 't' };
    source.tell('p', { kind: 'preparePeer', ...about, flows: [other] });
    source.event({ type: 'done', role: 'peer', migration, work: 'install', result: { unknown: [] } });
    const { nonce } = source.replies[0] as Accepted<'preparePeer'>;
    return source.tell('p', { kind: 'hold', migration, sequence: 1, nonce, flows: { add: [], remove: [] } });
  };

  it('lets the lower id go first while both are holding', () => {
    expect(held(higher, holding([1])).story).toEqual(['reply t2 busy']);
    const yielding = held(lower, holding([1]));
    expect(yielding.story).toEqual(['timer deadline', 'run hold', 'send unhold p', 'run unquiesce']);
    expect(phase(yielding)).toBe('backingOff');
  });

  it('lets nobody in once it is freezing, until it has left', () => {
    for (const migration of [lower, higher]) {
      expect(held(migration, freezing([1])).story).toEqual(['reply t2 busy']);
      expect(held(migration, released()).story).toEqual(['reply t2 busy']);
    }
  });

  it('gives way to the lower id where both are frozen and wait for each other', () => {
    const source = planning().done('source', 'plan', plan([])).done('source', 'quiesce', { left: 0 });
    source.done('source', 'freeze', plan([1]));
    source.answer('source', 'preparePeer', 'p', { nonce: 'np', unknown: [] });
    const busy = { ok: false, refusal: 'busy', reason: 'moves' };
    for (let times = 0; times < 2; times++)
      source.answer('source', 'hold', 'p', busy).timeout('source', 'retry');
    expect(held(higher, source).story).toEqual(['reply t2 busy']);
    expect(phase(source)).toBe('moving');
    expect(held(lower, source).story).toEqual(['reply t4 busy', 'run thaw']);
  });
});

describe('requests', () => {
  it('are asked again, and answers to an earlier attempt count no more', () => {
    const source = holding([1]);
    const first = source.requestOf('hold', 'p');
    expect(source.unreached('source', 'hold', 'p').story).toEqual(['timer retry']);
    const late = {
      type: 'replied',
      role: 'source',
      migration: id,
      request: first,
      reply: { ok: true, unknown: [] },
    };
    expect(source.event(late as Event).story).toEqual([]);
    source.timeout('source', 'retry');
    expect(source.event(late as Event).story).toEqual([]);
    expect(phase(source)).toBe('holding');
    source.answer('source', 'hold', 'p', { unknown: [] });
    expect(phase(source)).toBe('freezing');
  });

  it('wait for who learns late who hosts what', () => {
    const source = planning().done('source', 'plan', plan([1]));
    source.answer('source', 'preparePeer', 'p', {
      ok: false,
      refusal: 'notAuthorised',
      reason: 'unheard of',
    });
    expect(source.story).toEqual(['timer retry']);
    expect(source.timeout('source', 'retry').story).toEqual(['send preparePeer p']);
  });
});

describe('opening segments that met the hold', () => {
  const stray = (port: number) => ({ node: 'p', stray: { flow: flow(port), packet: 'AAAA' } });

  it('go with the release, and later ones after it', () => {
    const source = freezing([1])
      .done('source', 'freeze', plan([1]))
      .done('source', 'move');
    source.done('source', 'takeStrays', { strays: [stray(8)] }).answer('source', 'restore', 't');
    expect(source.sent('t')).toMatchObject([{ kind: 'release', strays: [stray(8).stray] }]);
    expect(source.timeout('source', 'strays').story).toEqual(['run takeStrays']);
    expect(source.done('source', 'takeStrays', { strays: [stray(9)] }).story).toEqual(['timer strays']);
    expect(source.answer('source', 'release', 't').sent('t')).toMatchObject([
      { kind: 'strays', strays: [stray(9).stray] },
    ]);
  });

  it('are looked for once more when all have switched, and until the pod is gone', () => {
    const source = released().answer('source', 'release', 't');
    const report = { resumeMs: 1, switchMs: 2, replayed: 3 };
    source.tell('t', { kind: 'switched', migration: id, missing: [], report });
    source.done('source', 'takeStrays', { strays: [stray(8)] });
    expect(source.sent('t')).toMatchObject([{ kind: 'strays', strays: [stray(8).stray] }]);
    source.answer('source', 'strays', 't');
    expect(source.timeout('source', 'strays').story).toEqual(['run takeStrays']);
    source.done('source', 'retire');
    expect(source.done('source', 'takeStrays', { strays: [stray(9)] }).story).toEqual([]);
  });
});

describe('a start', () => {
  it('is refused where the workload is not here, or is moving', () => {
    expect(new Script('q').event(start).effects).toMatchObject([{ type: 'note', note: { what: 'givenUp' } }]);
    expect(new Script('s').event({ ...start, target: 's' }).story).toEqual([]);
    const source = planning();
    expect(source.event({ ...start, migration: higher }).story).toEqual([]);
    expect(source.event(start).effects).toEqual([]);
    source.event({ type: 'cancel', migration: id }).done('source', 'plan', plan([]));
    expect(source.event({ ...start, migration: higher }).story).toContain('persist source');
  });
});

describe('100,000 flows', () => {
  it('are no burden: neither for a step nor for what is written down', () => {
    const ports = Array.from({ length: 100_000 }, (_, port) => port);
    const begin = performance.now();
    const source = freezing(ports).done('source', 'freeze', plan(ports.slice(1).concat(100_001)));
    expect(differenceTo(source, 'p')).toEqual({ add: [flow(100_001)], remove: [flow(0)] });
    source
      .done('source', 'move')
      .answer('source', 'hold', 'p', { unknown: [] })
      .answer('source', 'restore', 't');
    expect(phase(source)).toBe('released');
    expect(performance.now() - begin).toBeLessThan(5_000);
    expect(JSON.stringify(source.agent.sources.get(id)?.release).length).toBeLessThan(1_000);
  });
});
