/** Waits for what others do. */
import { setTimeout as delay } from 'node:timers/promises';

const lookMs = 20;

/**
 * What `ask` tells within so many ms, asked again where it tells nothing, or throws.
 * @param words to be added to the error: what others have said meanwhile
 * @throws Error with what `ask` threw last
 */
export async function within<Value>(
  ms: number,
  what: string,
  ask: () => Promise<Value | undefined>,
  words: () => string = () => '',
): Promise<Value> {
  let thrown = '';
  for (const until = performance.now() + ms; performance.now() < until; await delay(lookMs)) {
    const found = await ask().catch((error: unknown) => void (thrown = ` (${String(error)})`));
    if (found !== undefined) return found;
  }
  throw new Error(`not within ${ms} ms: ${what}${thrown}\n${words()}`.trim());
}
