/** The outages of the suite, for as long as they are promised: the API server gone for 60 s, and standing still for 30 s. */
import {
  AgentsProcess,
  lists,
  makeServices,
  outage,
  type OperatorProcess,
  type OutageOptions,
} from '@serval/e2e';
import type { Progress } from '../bench.js';
import { percentiles, type Percentiles } from '../statistics.js';
import type { World } from './world.js';

export interface InterruptionResult {
  how: OutageOptions['how'];
  seconds: number;
  stores: number;
  /** stores that read otherwise meanwhile */
  changed: number;
  operatorNoticed: boolean;
  /** from the return until each store had heard from the API server, ms */
  returned: Percentiles;
  firstReturnedMs: number;
  convergedMs: number;
  /** of the stores' kinds, by whomever, in the first 5 s after the return */
  lists: number;
}

const processes = 2;
const storesEach = 10;
const changing = 20;
const cases: readonly OutageOptions[] = [
  { how: 'gone', seconds: 60, convergeMs: 180_000 },
  { how: 'hangs', seconds: 30, convergeMs: 180_000 },
];

export async function interruptions(
  world: World,
  operator: OperatorProcess,
  progress: Progress,
): Promise<InterruptionResult[]> {
  const { plane, client, kubeconfig } = world;
  await makeServices(client, changing);
  const agents: AgentsProcess[] = [];
  try {
    for (let i = 0; i < processes; i++)
      agents.push(await AgentsProcess.start({ kubeconfig, stores: storesEach }));
    const results: InterruptionResult[] = [];
    for (const options of cases) {
      progress(`the API server ${options.how === 'gone' ? 'is gone' : 'hangs'} for ${options.seconds} s`);
      const result = await outage({ plane, client, operator, agents }, options);
      const { returnedMs, changed, operatorNoticed, convergedMs } = result;
      results.push({
        ...{ how: options.how, seconds: options.seconds, stores: processes * storesEach },
        ...{ changed, operatorNoticed, convergedMs },
        returned: percentiles(returnedMs, 0),
        firstReturnedMs: returnedMs[0] ?? NaN,
        lists: lists(result.requests),
      });
    }
    return results;
  } finally {
    await Promise.all(agents.map((each) => each.end()));
  }
}
