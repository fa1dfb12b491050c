import { describe, expect, it } from '@jest/globals';
import { validators } from './schemas.js';
import { migration } from './testing.fixture.js';

describe('a ServalMigration in a directory', () => {
  const problemsOf = (spec: object) => validators.ServalMigration({ ...migration('m'), spec });

  it('may leave the kind of its workload out', () => {
    const problems = [{ name: 'redis-0' }, { name: 'redis-0', kind: 'Pod' }].map((workload) =>
      problemsOf({ workload, targetNode: 'host-2' }),
    );
    expect(problems).toEqual([[], []]);
  });

  it('names its target, since there is no scheduler', () => {
    expect(problemsOf({ workload: { name: 'redis-0' } })).toMatchObject([
      { field: 'spec.targetNode', reason: expect.stringMatching(/no scheduler/) },
    ]);
  });

  it('moves no VirtualMachineInstance, since there is no KubeVirt', () => {
    const workload = { name: 'vm', kind: 'VirtualMachineInstance' };
    expect(problemsOf({ workload, targetNode: 'host-2' })).toMatchObject([
      { field: 'spec.workload.kind', remedy: expect.stringMatching(/external/) },
    ]);
  });
});
