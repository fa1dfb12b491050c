import { describe, expect, it } from '@jest/globals';
import { apiVersion, type ServalMigration, type ServalMigrationStatus } from '@serval/api';
import { decide, type Decision } from './migration-rules.js';
import { sourcePart } from './steps.js';

const migration = '0123456789abcdef';

function object(status: ServalMigrationStatus, deletionTimestamp?: string): ServalMigration {
  return {
    apiVersion,
    kind: 'ServalMigration',
    metadata: {
      name: 'm',
      namespace: 'd',
      ...(deletionTimestamp === undefined ? {} : { deletionTimestamp }),
    },
    spec: { workload: { kind: 'Pod', name: 'redis' } },
    status: { sourceNode: 'here', migration, phase: 'Moving', ...status },
  };
}

describe('what the source does about a migration', () => {
  const gone = '2026-11-29T00:00:00Z';
  it.each<
    [string, ServalMigration, { phase?: string; isHere?: boolean }, Decision['do'] | 'succeeded' | 'failed']
  >([
    ['begins what is named', object({}), {}, 'begin'],
    ['leaves what is of another node', object({ sourceNode: 'there' }), {}, 'nothing'],
    ['waits for the target to be named', object({ phase: 'Preparing' }), {}, 'nothing'],
    ['begins again what it had only announced', object({ sourceStep: 'preparing' }), {}, 'begin'],
    ['goes on', object({ sourceStep: 'moving' }), { phase: 'moving' }, 'follow'],
    [
      'goes on while the operator finishes',
      object({ phase: 'Finishing', sourceStep: 'released' }),
      { phase: 'retiring' },
      'follow',
    ],
    [
      'gives up what is aborted',
      object({ phase: 'Aborting', sourceStep: 'moving' }),
      { phase: 'moving' },
      'cancel',
    ],
    ['gives up what is deleted', object({ sourceStep: 'moving' }, gone), { phase: 'moving' }, 'cancel'],
    ['does not begin what is aborted', object({ phase: 'Aborting' }), {}, 'nothing'],
    ['does not begin what is deleted', object({}, gone), {}, 'nothing'],
    [
      'says that it never began, where it had said it would',
      object({ phase: 'Aborting', sourceStep: 'preparing' }),
      {},
      'failed',
    ],
    ['says how it ended, late', object({ sourceStep: 'moving' }), { phase: 'retired' }, 'succeeded'],
    ['says that it was taken back, late', object({ sourceStep: 'moving' }), { phase: 'aborted' }, 'failed'],
    ['leaves what has ended', object({ sourceStep: 'retired' }), { phase: 'retired' }, 'nothing'],
    ['leaves what the operator has ended', object({ finishedAt: gone }), {}, 'nothing'],
    [
      'restarted in the middle, with nothing written down',
      object({ sourceStep: 'planning' }),
      { isHere: true },
      'failed',
    ],
    ['long over, and forgotten', object({ sourceStep: 'retiring' }), { isHere: false }, 'succeeded'],
    [
      'long over, as the target says',
      object({ sourceStep: 'restored', targetStep: 'done' }),
      { isHere: false },
      'succeeded',
    ],
    // Whatever was said, it is here: the target never had it.
    ['forgotten, and here', object({ sourceStep: 'released' }), { isHere: true }, 'failed'],
  ])('%s', (_, declared, { phase, isHere = true }, expected) => {
    const decision = decide(declared, { node: 'here', phase, isHere });
    expect(decision.do === 'end' ? decision.result : decision.do).toBe(expected);
  });
});

describe("the source's part of a status", () => {
  it("has the protocol's steps for the book's words, and nothing that is the operator's", () => {
    const whole: ServalMigrationStatus = {
      phase: 'rolled back',
      migration,
      sourceNode: 'here',
      targetPod: 'p',
      startedAt: 'x',
      finishedAt: 'x',
      conditions: [],
      flows: 3,
      lost: {},
      reason: 'why',
    };
    expect(sourcePart(whole)).toEqual({ sourceStep: 'aborted', flows: 3, lost: {}, reason: 'why' });
    expect(sourcePart({ phase: 'starting' })).toEqual({ sourceStep: 'preparing' });
    expect(sourcePart({ phase: 'done' })).toEqual({ sourceStep: 'retired' });
    expect(sourcePart({ phase: 'freezing' })).toEqual({ sourceStep: 'freezing' });
  });
});
