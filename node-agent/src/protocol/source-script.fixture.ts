/** A source, brought to each of its phases. */
import type { Event, Plan } from './effects.js';
import type { Difference, Hold, PeerFlow } from './messages.js';
import { flow, id, Script, targetFlow, workload } from './script.fixture.js';

export const start: Extract<Event, { type: 'start' }> = {
  type: 'start',
  migration: id,
  epoch: 5,
  workload,
  target: 't',
  mover: 'criu',
  image: {},
  addresses: ['10.0.1.1'],
};
export const higher = '00000000000000bb';
export const lower = '0000000000000011';

/** Flows to node p by port, and to node q. */
export function plan(p: number[], q: number[] = []): Plan {
  const peers: Plan['peers'] = {};
  if (p.length > 0) peers['p'] = p.map((port) => flow(port));
  if (q.length > 0) peers['q'] = q.map((port) => flow(port, '10.0.4.1'));
  const target = [...p.map((port) => targetFlow(port)), ...q.map((port) => targetFlow(port, '10.0.4.1'))];
  return { target, peers, foreign: [] };
}

export function planning(): Script {
  return new Script('s')
    .event(start)
    .answer('source', 'prepareTarget', 't', { addresses: { ipv4: '10.0.2.1' } });
}

export function quiescing(...flows: Parameters<typeof plan>): Script {
  const source = planning().done('source', 'plan', plan(...flows));
  for (const node of Object.keys(plan(...flows).peers))
    source.answer('source', 'preparePeer', node, { nonce: `nonce-${node}`, unknown: [] });
  return source.answer('source', 'targetFlows', 't');
}

export function holding(...flows: Parameters<typeof plan>): Script {
  return quiescing(...flows).done('source', 'quiesce', { left: 0 });
}

export function freezing(...flows: Parameters<typeof plan>): Script {
  const source = holding(...flows);
  for (const node of Object.keys(plan(...flows).peers))
    source.answer('source', 'hold', node, { unknown: [] });
  return source;
}

export function released(): Script {
  return freezing([1])
    .done('source', 'freeze', plan([1]))
    .done('source', 'move')
    .done('source', 'takeStrays', { strays: [] })
    .answer('source', 'restore', 't');
}

export const phase = (source: Script): string | undefined => source.agent.sources.get(id)?.phase;
export const differenceTo = (source: Script, node: string): Difference<PeerFlow> | undefined =>
  (source.sent(node).find(({ kind }) => kind === 'hold') as Hold | undefined)?.flows;
