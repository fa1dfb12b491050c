/** To a replica's own address: nothing is programmed. */
import { endpointTargets } from './plan.js';
import type { Variant } from './variant.js';
import type { World } from './world.js';

export async function directVariant(world: World): Promise<Variant> {
  const place = await world.place('direct');
  const now = (): Promise<number> => Promise.resolve(performance.now());
  return {
    way: 'direct',
    by: 'no rules',
    place,
    targets: endpointTargets,
    prepare: () => Promise.resolve(),
    program: now,
    change: now,
    memory: () => Promise.resolve({}),
    clear: () => Promise.resolve(),
  };
}
