/** Pure: whether what came of a hostile object is what has to come of it. What is not right is said in words. */
import { ServalError, type Condition } from '@serval/api';
import { statusOf } from '@serval/kube-runtime/kubernetes';
import type { Expected } from './hostile-objects.js';

/** What an API server says of what somebody wrote: bad, there already, too large, invalid. */
const refusals: readonly number[] = [400, 409, 413, 422];

interface Cause {
  field?: string;
  message?: string;
}

/** @returns what is wrong with this refusal; undefined where it is one that helps */
export function faultOfRefusal({ verdict, fields, remedy }: Expected, error: unknown): string | undefined {
  const status = statusOf(error);
  if (!(error instanceof ServalError) || status === undefined) return `there was no answer: ${String(error)}`;
  const words = `${status} ${error.reason.slice(0, 600)}`;
  if (!refusals.includes(status)) return `the answer helps nobody: ${words}`;
  if (verdict === 'accepted') return `it is good, and was refused: ${words}`;
  const causes = (error.details['causes'] ?? []) as Cause[];
  const all = [error.reason, ...causes.map(({ field = '', message = '' }) => `${field} ${message}`)].join(
    '\n',
  );
  if (fields.length > 0 && !fields.some((field) => all.toLowerCase().includes(field.toLowerCase())))
    return `it does not name ${fields.join(' or ')}: ${words}`;
  if (remedy !== undefined && !remedy.test(all))
    return `it does not tell what to do (${remedy.source}): ${words}`;
  return undefined;
}

/** @returns what is wrong with how an accepted object was handled */
export function faultOfHandling(
  { told }: Expected,
  object: { metadata: { generation?: number }; status?: { conditions?: Condition[]; finishedAt?: string } },
  type: 'Ready' | 'Succeeded',
): string | undefined {
  const condition = object.status?.conditions?.find((each) => each.type === type);
  if (condition === undefined) return `it has no condition ${type}`;
  const { reason, message, observedGeneration } = condition;
  if (reason === '' || message === '') return 'its condition does not say why';
  // What has ended does not change any more, though its deletion counts as another generation.
  const isOver = object.status?.finishedAt !== undefined;
  if (!isOver && observedGeneration !== object.metadata.generation)
    return `its condition is about generation ${observedGeneration}, and it has ${object.metadata.generation}`;
  if (told !== undefined && !told.test(`${reason} ${message}`))
    return `its condition says ${reason} (${message}), not ${told.source}`;
  return undefined;
}
