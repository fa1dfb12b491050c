import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { isEmpty, peerDifference, targetDifference } from './difference.js';
import { flow, targetFlow } from './script.fixture.js';

describe('peerDifference', () => {
  it('leads from one list to the other', () => {
    // Both in an order of their own: mostly the same one, as from the kernel, but not always.
    const ports = fc.uniqueArray(fc.integer({ min: 1, max: 60 }), { maxLength: 60 });
    const sorted = ports.map((list) => [...list].sort((one, other) => one - other));
    const lists = fc.oneof(ports, sorted);
    fc.assert(
      fc.property(lists, lists, (before, after) => {
        const { add, remove } = peerDifference(
          before.map((port) => flow(port)),
          after.map((port) => flow(port)),
        );
        const gone = new Set(remove.map(({ peer }) => peer.port));
        const result = [...before.filter((port) => !gone.has(port)), ...add.map(({ peer }) => peer.port)];
        expect(result.sort()).toEqual([...after].sort());
        expect(remove.filter(({ peer }) => after.includes(peer.port))).toEqual([]);
        expect(add.filter(({ peer }) => before.includes(peer.port))).toEqual([]);
      }),
    );
  });

  it('takes a flow with another wire port for another rule', () => {
    const other = { ...flow(1), next: { address: '10.0.2.1', port: 7000 } };
    expect(peerDifference([flow(1)], [other])).toEqual({ add: [other], remove: [flow(1)] });
  });
});

describe('targetDifference', () => {
  it('takes a flow whose other end has moved for another rule', () => {
    const before = targetFlow(1);
    const after = targetFlow(1, '10.0.4.1', '10.0.3.1');
    expect(targetDifference([before], [after])).toEqual({ add: [after], remove: [before] });
    expect(isEmpty(targetDifference([before], [targetFlow(1)]))).toBe(true);
  });
});
