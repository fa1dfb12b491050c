import { describe, expect, it } from '@jest/globals';
import type { PrepareTarget, Release, Restore, Strays, TargetFlows } from './messages.js';
import { flow, id, Script, targetFlow, workload } from './script.fixture.js';

const prepare: PrepareTarget = {
  kind: 'prepareTarget',
  migration: id,
  epoch: 5,
  workload,
  addresses: ['10.0.1.1'],
  mover: 'criu',
  image: { some: 'thing' },
};
const rules = (sequence: number, port: number): TargetFlows => ({
  kind: 'targetFlows',
  migration: id,
  sequence,
  flows: { add: [targetFlow(port)], remove: [] },
});
const restore = (sequence: number, ports: number[] = []): Restore => ({
  kind: 'restore',
  migration: id,
  sequence,
  flows: { add: ports.map((port) => targetFlow(port)), remove: [] },
});
const release: Release = {
  kind: 'release',
  migration: id,
  peers: [
    { node: 'p', nonce: 'np' },
    { node: 'q', nonce: 'nq' },
  ],
  strays: [],
};
const noStrays: Strays = { kind: 'strays', migration: id, strays: [] };
const outcome = { kind: 'outcome', migration: id } as const;
const abort = { kind: 'abort', migration: id } as const;

function prepared(): Script {
  return new Script('t').tell('s', prepare).done('target', 'makePod', { addresses: { ipv4: '10.0.2.1' } });
}

function restored(): Script {
  return prepared().tell('s', restore(2)).done('target', 'restore');
}

function telling(): Script {
  return restored().tell('s', release).done('target', 'open').done('target', 'resume');
}

const phase = (target: Script): string | undefined => target.agent.targets.get(id)?.phase;

describe('a target', () => {
  it('makes a pod, restores, owns, resumes, tells the peers and then the source', () => {
    const target = new Script('t').tell('s', prepare);
    expect(target.story).toEqual(['persist target', 'timer outcome', 'run makePod']);
    target.done('target', 'makePod', { addresses: { ipv4: '10.0.2.1' } });
    expect(target.replies).toEqual([{ ok: true, addresses: { ipv4: '10.0.2.1' } }]);
    expect(target.tell('s', rules(1, 1)).story).toEqual(['run applyRules']);
    expect(target.done('target', 'applyRules').story).toEqual(['reply t2 ok']);
    expect(target.tell('s', restore(2, [2])).story).toEqual(['run applyRules', 'run restore']);
    expect(target.done('target', 'restore').story).toEqual([]);
    expect(target.done('target', 'applyRules').story).toEqual(['persist target', 'reply t3 ok']);
    expect(target.tell('s', release).story).toEqual(['run open', 'persist target', 'reply t4 ok']);
    target.now += 2;
    expect(target.done('target', 'open').story).toEqual(['send rsyn p', 'send rsyn q', 'run resume']);
    expect(target.sent('p')).toEqual([{ kind: 'rsyn', migration: id, epoch: 5, nonce: 'np', strays: [] }]);
    target.now += 4;
    expect(target.answer('target', 'rsyn', 'q', { replayed: 2 }).story).toEqual([]);
    target.now += 3;
    expect(target.answer('target', 'rsyn', 'p', { replayed: 1 }).story).toEqual([]);
    target.now += 1;
    target.done('target', 'resume');
    expect(target.story).toEqual([
      'timer deadline',
      'timer strays',
      'run replayOwn',
      'persist target',
      'send switched s',
      'timer settle',
    ]);
    expect(target.sent('s')).toEqual([
      {
        kind: 'switched',
        migration: id,
        missing: [],
        report: { resumeMs: 10, switchMs: 7, replayed: 3 },
      },
    ]);
    expect(target.answer('target', 'switched', 's').story).toEqual(['persist target']);
    expect(phase(target)).toBe('done');
    const state = target.agent.targets.get(id);
    expect(JSON.parse(JSON.stringify(state))).toEqual(state);
  });

  it('answers a request that comes twice once more, without doing it twice', () => {
    const target = new Script('t').tell('s', prepare);
    expect(target.tell('s', prepare).story).toEqual([]);
    target.done('target', 'makePod', { addresses: { ipv4: '10.0.2.1' } });
    expect(target.story).toEqual(['reply t1 ok', 'reply t2 ok']);
    expect(target.tell('s', prepare).story).toEqual(['reply t3 ok']);
    target.tell('s', restore(2));
    expect(target.tell('s', restore(2)).story).toEqual([]);
    expect(target.done('target', 'restore').story).toEqual(['persist target', 'reply t4 ok', 'reply t5 ok']);
    expect(target.tell('s', restore(2)).story).toEqual(['reply t6 ok']);
    expect(target.restart().tell('s', restore(2)).story).toEqual(['reply t7 ok']);
    target.tell('s', release);
    expect(target.tell('s', release).story).toEqual(['reply t9 ok']);
    expect(target.restart().tell('s', restore(2)).story).toEqual(['reply t10 ok']);
  });

  it('refuses a workload that runs here, under its name or its uid', () => {
    for (const mark of [workload.name, workload.uid]) {
      const target = new Script('t');
      target.here.add(mark);
      expect(target.tell('s', prepare).story).toEqual(['reply t1 notAuthorised']);
      target.here.clear();
      expect(target.tell('s', prepare).story).toContain('run makePod');
    }
  });

  it('does nothing that is late, or of somebody else, or about addresses of others', () => {
    const target = prepared().tell('s', rules(2, 1)).done('target', 'applyRules');
    expect(target.tell('s', rules(1, 9)).story).toEqual(['reply t3 conflict']);
    for (const message of [rules(3, 1), restore(3), release, noStrays])
      expect(target.tell('p', message).story[0]).toMatch(/notAuthorised$/);
    expect(target.tell('p', prepare).story).toEqual(['reply t8 notAuthorised']);
    const foreign = {
      ...rules(3, 1),
      flows: { add: [{ ...targetFlow(1), wire: flowOf('10.0.2.9') }], remove: [] },
    };
    expect(target.tell('s', foreign).story).toEqual(['reply t9 conflict']);
    expect(target.tell('s', release).story).toEqual(['reply t10 conflict']);
    expect(new Script('t').tell('p', prepare).story).toEqual(['reply t1 notAuthorised']);
    expect(new Script('t').tell('s', release).story).toEqual(['reply t1 unknownMigration']);
  });

  function flowOf(local: string): {
    local: { address: string; port: number };
    remote: { address: string; port: number };
  } {
    return { local: { address: local, port: 1 }, remote: { address: '10.0.3.1', port: 1 } };
  }

  it('remembers after a restart what is late, and does the last again: it may not have been done', () => {
    const target = prepared().tell('s', rules(2, 1));
    expect(target.story).toEqual(['persist target', 'run applyRules']);
    expect(target.restart().tell('s', rules(1, 9)).story).toEqual(['reply t3 conflict']);
    expect(target.tell('s', rules(2, 1)).story).toEqual(['run applyRules']);
  });

  it('asks the source for its word, and goes by it', () => {
    const target = restored();
    expect(target.timeout('target', 'outcome').story).toEqual(['send outcome s']);
    expect(target.answer('target', 'outcome', 's', { word: 'undecided' }).story).toEqual(['timer outcome']);
    target.timeout('target', 'outcome');
    target.answer('target', 'outcome', 's', {
      word: 'released',
      release: { peers: release.peers, strays: [] },
    });
    expect(target.story).toEqual(['run open', 'persist target']);
    for (const word of ['aborted', 'unknown']) {
      const given = restored().timeout('target', 'outcome').answer('target', 'outcome', 's', { word });
      expect(given.story).toEqual(['run discard']);
      expect(given.done('target', 'discard').story).toEqual(['persist target', 'timer settle']);
    }
  });

  it('discards at once, and again when what ran has ended; never what it owns', () => {
    const target = prepared().tell('s', restore(2));
    expect(target.tell('s', abort).story).toEqual([
      'reply t2 givenUp',
      'run discard',
      'timer settle',
      'reply t3 ok',
    ]);
    expect(target.done('target', 'discard').story).toEqual([]);
    expect(target.done('target', 'restore').story).toEqual(['run discard']);
    expect(target.done('target', 'discard').story).toEqual(['persist target', 'timer settle']);
    expect(target.restart().tell('s', restore(3)).story).toEqual(['reply t4 givenUp']);
    const owner = restored().tell('s', release).tell('s', abort);
    expect(owner.story).not.toContain('run discard');
    expect(phase(owner)).toBe('owner');
  });

  it('says that it failed, and takes everything away', () => {
    const target = prepared().tell('s', restore(2)).failed('target', 'restore');
    expect(target.story).toEqual(['reply t2 failed', 'run discard']);
    expect(new Script('t').tell('s', prepare).failed('target', 'makePod').story).toEqual([
      'reply t1 failed',
      'run discard',
    ]);
    expect(prepared().tell('s', rules(1, 1)).failed('target', 'applyRules').story).toEqual([
      'reply t2 failed',
    ]);
  });

  it('goes on after a restart from where it was written down', () => {
    expect(prepared().restart().story).toEqual(['send outcome s']);
    expect(prepared().restart().tell('s', prepare).story).toEqual(['run makePod']);
    expect(restored().restart().story).toEqual(['send outcome s']);
    expect(restored().tell('s', release).restart().story).toEqual(['run open']);
    expect(restored().tell('s', release).done('target', 'open').restart().story).toEqual(['run open']);
    const told = telling().answer('target', 'rsyn', 'p', { replayed: 0 }).timeout('target', 'deadline');
    expect(told.restart().story).toEqual(['run replayOwn', 'send rsyn q', 'send switched s', 'timer settle']);
  });

  it('does not wait with its own replay for a peer that is silent, but with the source until the grace is over', () => {
    const target = telling().unreached('target', 'rsyn', 'q');
    expect(target.story).toEqual(['timer retry']);
    expect(target.answer('target', 'rsyn', 'p', { replayed: 0 }).story).toEqual(['run replayOwn']);
    expect(target.timeout('target', 'deadline').sent('s')).toMatchObject([
      { kind: 'switched', missing: ['q'] },
    ]);
    target.answer('target', 'switched', 's');
    expect(phase(target)).toBe('switching');
    expect(target.timeout('target', 'retry').story).toEqual(['send rsyn q']);
    target.answer('target', 'rsyn', 'q', { ok: false, refusal: 'failed', reason: 'no memory' });
    expect(target.story).toEqual(['timer retry']);
    target.timeout('target', 'retry').answer('target', 'rsyn', 'q', { replayed: 0 });
    expect(phase(target)).toBe('done');
  });

  it('tells the source only once it runs, however early the peers have answered', () => {
    const target = restored().tell('s', release).done('target', 'open');
    target.answer('target', 'rsyn', 'p', { replayed: 0 }).answer('target', 'rsyn', 'q', { replayed: 0 });
    expect(target.failed('target', 'resume').story).toEqual(['timer retry']);
    expect(target.timeout('target', 'retry').story).toEqual(['run resume']);
    expect(target.done('target', 'resume').sent('s')).toMatchObject([{ kind: 'switched', missing: [] }]);
  });

  it('gives a peer up that never answers', () => {
    const target = telling().answer('target', 'rsyn', 'p', { replayed: 0 }).timeout('target', 'deadline');
    target.answer('target', 'switched', 's').timeout('target', 'settle');
    expect(phase(target)).toBe('done');
    expect(target.effects).toContainEqual(
      expect.objectContaining({ note: { what: 'lost', reason: 'unreachablePeer', flows: 0 } }),
    );
  });

  it("tells a peer that asks: only once its pod is open, and only what is the peer's", () => {
    const word = (target: Script, from = 'p'): unknown => target.tell(from, outcome).replies[0];
    expect(word(restored())).toEqual({ ok: true, word: 'undecided' });
    expect(word(restored().tell('s', release))).toEqual({ ok: true, word: 'undecided' });
    const mine = { peers: [{ node: 'p', nonce: 'np' }], strays: [] };
    expect(word(telling())).toEqual({ ok: true, word: 'released', release: mine });
    expect(word(telling(), 'x')).toEqual({ ok: true, word: 'unknown' });
    expect(word(restored().tell('s', abort))).toEqual({ ok: true, word: 'aborted' });
    expect(word(new Script('t'))).toEqual({ ok: true, word: 'unknown' });
  });

  it('hands opening segments on to the nodes that they came from', () => {
    const stray = (port: number) => ({ flow: flow(port), packet: 'AAAA' });
    const target = restored()
      .tell('s', { ...release, strays: [stray(8)] })
      .done('target', 'open');
    expect(target.sent('p')).toMatchObject([{ kind: 'rsyn', strays: [] }]);
    expect(target.sent('q')).toMatchObject([{ kind: 'rsyn', strays: [] }]);
    const strays: Strays = { kind: 'strays', migration: id, strays: [stray(9)] };
    expect(target.tell('s', strays).story).toEqual(['reply t4 ok']);
    expect(target.answer('target', 'rsyn', 'p', { replayed: 0 }).sent('p')).toEqual([]);
    expect(target.done('target', 'resume').sent('p')).toEqual([]);
    expect(target.timeout('target', 'strays').sent('p')).toMatchObject([{ strays: [stray(8), stray(9)] }]);
    target.answer('target', 'rsyn', 'p', { replayed: 0 });
    expect(target.tell('s', strays).sent('p')).toMatchObject([{ strays: [stray(9)] }]);
  });

  it('hands them on after a restart too, whatever it had told before', () => {
    const done = telling()
      .answer('target', 'rsyn', 'p', { replayed: 0 })
      .answer('target', 'rsyn', 'q', { replayed: 0 })
      .answer('target', 'switched', 's');
    expect(phase(done.restart())).toBe('done');
    const strays: Strays = { kind: 'strays', migration: id, strays: [{ flow: flow(9), packet: 'AAAA' }] };
    expect(done.tell('s', strays).sent('p')).toMatchObject([{ kind: 'rsyn', strays: strays.strays }]);
  });

  it('tells the peers of flows that have ended, each node its own, none forgotten', () => {
    const target = telling()
      .answer('target', 'rsyn', 'p', { replayed: 0 })
      .answer('target', 'rsyn', 'q', { replayed: 0 });
    target.answer('target', 'switched', 's');
    target.event({ type: 'flowsEnded', migration: id, flows: [flow(1), flow(2, '10.0.4.1')] });
    expect(target.sent('p')).toEqual([{ kind: 'ended', migration: id, flows: [flow(1)] }]);
    expect(target.sent('q')).toEqual([{ kind: 'ended', migration: id, flows: [flow(2, '10.0.4.1')] }]);
    target
      .answer('target', 'ended', 'q')
      .event({ type: 'flowsEnded', migration: id, flows: [flow(3)], last: true });
    expect(target.story).toEqual([]);
    expect(target.answer('target', 'ended', 'p').sent('p')).toEqual([
      { kind: 'ended', migration: id, flows: [flow(3)] },
    ]);
    expect(target.answer('target', 'ended', 'p').story).toEqual(['forgetState target']);
  });

  it('does not take a workload that it is still getting rid of, or that has moved on since', () => {
    const again = { ...prepare, migration: '00000000000000bb' };
    expect(prepared().tell('s', { ...again, epoch: 6 }).story).toEqual(['reply t2 busy']);
    const done = telling()
      .answer('target', 'rsyn', 'p', { replayed: 0 })
      .answer('target', 'rsyn', 'q', { replayed: 0 });
    done.answer('target', 'switched', 's');
    expect(done.tell('s', again).story).toEqual(['reply t4 staleEpoch']);
    expect(done.tell('s', { ...again, epoch: 6 }).story).toContain('run makePod');
  });
});
