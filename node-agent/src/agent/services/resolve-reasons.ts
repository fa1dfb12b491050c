/** Pure: why a connect() gets what it gets, in words. */
import type { ServiceRule } from '../../datapath/services/types.js';
import type { Protocol } from '../../datapath/types.js';
import type { RuleName, ServicePolicy, WeightedReplica } from '../../services/types.js';
import type { Choice, Client } from './choice.js';
import { hostName } from './clients.js';

const asItIs = 'connect() goes to the address as it is';

export const answerReasons = {
  noClient: (from: string): string =>
    from === hostName
      ? `the host's processes are no clients here (services.hostProcesses): ${asItIs}`
      : `${from} is no client here: ${asItIs}`,
  notInTable: (service: string): string =>
    `service ${service} is not in the kernel's table, see the agent's log: ${asItIs}`,
  nobody: (address: string): string =>
    `no service serves here, and no workload has left ${address}: ${asItIs}`,
  left: (address: string, now: string): string =>
    `the workload of ${address} has moved, and nobody else has the address: it is at ${now} now`,
  ofAnother: (owner: string, service: string): string =>
    `this place belongs to service ${owner}, not to ${service}`,
  nobodyTakes,
  chosen,
};

function nobodyTakes(
  rule: RuleName,
  protocol: Protocol,
  replicas: readonly WeightedReplica[],
  { maxDelayMs }: ServicePolicy,
): string {
  const why = replicas.length === 0 ? 'it has no replicas' : `no replica takes flows (${tally(replicas)})`;
  if (rule !== 'DELAY') return `${why}: connect() fails at once`;
  if (protocol === 'udp') return `${why}, and datagrams do not wait: they are refused`;
  return `${why}, and whenEmpty is Wait: connect() waits for one, ${maxDelayMs} ms at most`;
}

/** `3 not ready, 1 its host says that it is gone` */
function tally(replicas: readonly WeightedReplica[]): string {
  const counts = new Map<string, number>();
  for (const { reason } of replicas) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  return [...counts].map(([reason, count]) => `${count}: ${reason}`).join('; ');
}

function chosen(
  { by, place = 0 }: Choice,
  { choices, protocol }: ServiceRule,
  { affinity }: ServicePolicy,
  { number }: Client,
): string {
  const which = `${place + 1} of ${choices.length}`;
  const sockets = protocol === 'udp' ? '; a socket that is not connected keeps one by its own number' : '';
  switch (by) {
    case 'own':
      return 'it is a replica itself, and ownReplica is Prefer';
    case 'only':
      return 'no other is chosen';
    case 'client':
      return `by client (${affinity === 'Client' ? 'affinity is Client' : 'balance is Hash'}): number ${number} takes choice ${which}, for as long as these replicas are chosen`;
    case 'turn':
      return `in turn: choice ${which} comes next, whoever connects${sockets}`;
    case 'chance':
      return `by chance: each connect() draws anew, and this is one draw${sockets}`;
  }
}
