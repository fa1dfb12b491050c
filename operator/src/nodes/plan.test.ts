import { describe, expect, it } from '@jest/globals';
import { apiVersion, type ServalNode } from '@serval/api';
import { doubtMs, goneMs, planNode } from './plan.js';

const now = new Date('2026-11-29T00:00:00Z');

function node(ready?: 'True' | 'False' | 'Unknown'): ServalNode {
  const other = {
    type: 'Other',
    status: 'True' as const,
    reason: 'x',
    message: 'x',
    lastTransitionTime: 'x',
  };
  const conditions = ready === undefined ? [other] : [{ ...other, type: 'Ready', status: ready }, other];
  return {
    ...{ apiVersion, kind: 'ServalNode', metadata: { name: 'n1', generation: 2 } },
    spec: { address: 'x:1', hostAddresses: [], podCIDRs: [] },
    status: { lastSeen: '2026-11-28T23:59:00Z', conditions },
  };
}

describe('the ServalNode of a silent agent', () => {
  it.each<[string, ServalNode, number, string]>([
    ['is left alone while it speaks', node('True'), doubtMs - 1, 'nothing'],
    ['is doubted after 40 s', node('True'), doubtMs, 'doubt'],
    ['is doubted where it was not Ready', node('False'), doubtMs, 'doubt'],
    ['is doubted where it has never said whether it is Ready', node(), doubtMs, 'doubt'],
    ['is doubted once', node('Unknown'), doubtMs, 'nothing'],
    ['is kept for 5 min', node('Unknown'), goneMs - 1, 'nothing'],
    ['is looked for after 5 min', node('Unknown'), goneMs, 'look-for-node'],
  ])('%s', (_, object, silentMs, what) => {
    expect(planNode(object, silentMs, now).do).toBe(what);
  });

  it('keeps what others say in conditions, and says since when', () => {
    const plan = planNode(node('True'), doubtMs, now);
    expect(plan).toMatchObject({
      ready: { status: 'Unknown', reason: 'AgentSilent', lastTransitionTime: now.toISOString() },
      conditions: [{ type: 'Ready' }, { type: 'Other' }],
    });
  });
});
