/** Pure: which replica the kernel chooses, as bpf/lib/service.h does it (choice.kernel.test.ts holds the two together). */
import type { ServiceCount, ServiceRule } from '../../datapath/services/types.js';
import { mix } from '../../services/hash.js';

/** Who connects, as the kernel knows it. */
export interface Client {
  /** of its network namespace */
  cookie: bigint;
  /** what a choice by client goes by */
  number: number;
}

export interface Choice {
  by: 'own' | 'only' | 'client' | 'turn' | 'chance';
  /** number of the replica */
  replica: number;
  /** the flow's number modulo their count: its place among the choices; absent where nothing had to be chosen */
  place?: number;
}

export interface ChoiceInput {
  rule: ServiceRule;
  /** that the kernel has for it */
  id: number;
  client: Client;
  /** before this connect() */
  count: Pick<ServiceCount, 'turn'>;
  /** 0 to below 1: where the kernel draws a number */
  draw: number;
}

/** Undefined where it has none: then the rule says what happens. */
export function choiceOf({ rule, id, client, count, draw }: ChoiceInput): Choice | undefined {
  const { choices, replicas, own } = rule;
  if (rule.rule === 'DROP' || choices.length === 0) return undefined;
  const itself = own.get(client.cookie);
  if (itself !== undefined && itself < replicas.length) return { by: 'own', replica: itself };
  if (choices.length === 1) return { by: 'only', replica: choices[0] as number };
  const turn = {
    BY_CLIENT: () => mix((client.number + id) >>> 0),
    IN_TURN: () => count.turn % 2 ** 32,
    RANDOM: () => Math.floor(draw * 2 ** 32),
  }[rule.balance]();
  const place = turn % choices.length;
  const by = ({ BY_CLIENT: 'client', IN_TURN: 'turn', RANDOM: 'chance' } as const)[rule.balance];
  return { by, replica: choices[place] as number, place };
}

/** By number of the replica: how often it is among the choices. */
export function shares({ choices, replicas }: Pick<ServiceRule, 'choices' | 'replicas'>): Float64Array {
  const found = new Float64Array(replicas.length);
  for (const replica of choices) found[replica] = (found[replica] as number) + 1 / choices.length;
  return found;
}
