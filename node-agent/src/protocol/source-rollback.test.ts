import { describe, expect, it } from '@jest/globals';
import { defaultDeadlines } from './deadlines.js';
import type { Switched } from './messages.js';
import { id, Script } from './script.fixture.js';
import { freezing, holding, phase, plan, released, start } from './source-script.fixture.js';

describe('a source that gives up', () => {
  it('thaws at once, then tells everybody, until all have heard', () => {
    const source = freezing([1]).event({ type: 'cancel', migration: id });
    expect(source.story).toEqual(['run thaw']);
    expect(source.done('source', 'thaw').story).toEqual([
      'run unquiesce',
      'persist source',
      'send abort t',
      'send abort p',
      'timer settle',
    ]);
    // The freeze was still under way: it may have undone the thaw.
    expect(source.done('source', 'freeze', plan([1])).story).toEqual(['run thaw']);
    source.done('source', 'thaw').done('source', 'unquiesce');
    expect(source.done('source', 'unquiesce').story).toEqual(['persist source']);
    expect(source.unreached('source', 'abort', 't').story).toEqual(['timer retry']);
    expect(source.timeout('source', 'retry').story).toEqual(['send abort t']);
  });

  it.each<[string, () => Script]>([
    ['preparing', () => new Script('s').event(start)],
    ['holding', () => holding([1])],
    ['freezing', () => freezing([1])],
    ['moving', () => freezing([1]).done('source', 'freeze', plan([1]))],
  ])('does so at the deadline while %s', (name, reach) => {
    const source = reach();
    expect(phase(source)).toBe(name);
    source.timeout('source', 'deadline');
    expect(['rollingBack', 'aborted']).toContain(phase(source));
  });

  it('has a deadline of its own once it is frozen', () => {
    expect(freezing([1]).timers()).toMatchObject({ deadline: defaultDeadlines.frozenMs });
  });

  it('never does so after the release', () => {
    const source = released();
    expect(source.event({ type: 'cancel', migration: id }).story).toEqual([]);
    expect(source.timeout('source', 'deadline').story).toEqual([]);
    expect(source.restart().story).toEqual(['send release t', 'timer strays']);
    expect(source.sent('t')).toMatchObject([{ peers: [{ node: 'p', nonce: 'nonce-p' }] }]);
    source.answer('source', 'release', 't', { ok: false, refusal: 'conflict', reason: 'odd' });
    expect(source.story).toEqual(['timer retry']);
  });

  it('does so when it was restarted, and knows whom to tell', () => {
    const source = freezing([1]).restart();
    expect(source.story).toEqual(['run thaw']);
    expect(source.done('source', 'thaw').story).toContain('send abort p');
    expect(source.restart().story).toEqual(['run thaw', 'send abort t', 'send abort p', 'timer settle']);
    source.done('source', 'thaw').done('source', 'unquiesce');
    expect(source.restart().story).not.toContain('run thaw');
  });

  it('tries a thaw that failed until it works', () => {
    const source = freezing([1]).event({ type: 'cancel', migration: id }).failed('source', 'thaw');
    expect(source.story).toEqual(['timer retry']);
    expect(source.timeout('source', 'retry').story).toEqual(['run thaw']);
  });
});

describe('a source that is asked', () => {
  const outcome = { kind: 'outcome', migration: id } as const;
  const word = (source: Script, from: string): unknown => source.tell(from, outcome).replies[0];

  it('gives its word to the target and to prepared peers, and to nobody else', () => {
    const source = freezing([1]);
    expect(word(source, 't')).toEqual({ ok: true, word: 'undecided' });
    expect(word(source, 'p')).toEqual({ ok: true, word: 'undecided' });
    expect(word(source, 'q')).toEqual({ ok: true, word: 'unknown' });
    expect(word(source.event({ type: 'cancel', migration: id }), 't')).toEqual({ ok: true, word: 'aborted' });
    const release = { peers: [{ node: 'p', nonce: 'nonce-p' }], strays: [] };
    expect(word(released(), 't')).toEqual({ ok: true, word: 'released', release });
    expect(word(released().restart(), 't')).toEqual({ ok: true, word: 'released', release });
    expect(word(released(), 'p')).toEqual({ ok: true, word: 'released' });
    expect(word(released(), 'q')).toEqual({ ok: true, word: 'unknown' });
    expect(word(new Script('s'), 't')).toEqual({ ok: true, word: 'unknown' });
  });

  it('believes nobody but the target that it has switched', () => {
    const report = { resumeMs: 0, switchMs: 0, replayed: 0 };
    const switched: Switched = { kind: 'switched', migration: id, missing: [], report };
    expect(released().tell('p', switched).story).toEqual(['reply t1 notAuthorised']);
    expect(freezing([1]).tell('t', switched).story).toEqual(['reply t1 conflict']);
  });
});
