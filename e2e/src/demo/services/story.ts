/** The second scene: clients that follow location and load, one replica killed, one moved. */
import { setTimeout as delay } from 'node:timers/promises';
import { formatMs } from '@serval/cli';
import type { Fleet } from '../../fleet/index.js';
import type { Lab } from '../../lab/index.js';
import type { Progress } from '../progress.js';
import { ServiceScene } from './scene.js';
import { tally, type Observed, type ServicesResult } from './tally.js';

/** How long each step is watched, ms. Loads are told every second, and what is felt of them is smoothed over two. */
const watchMs = { even: 3000, crowded: 7000, killed: 3000, moved: 2500 };
/** Who is killed, who is moved, and where to. */
const [victim, traveller, crowdedHost] = ['web-6', 'web-4', 's1-h1'];

export async function runServices(lab: Lab, fleet: Fleet, progress: Progress): Promise<ServicesResult> {
  progress.heading('Services: clients connect to a name');
  const scene = await progress.run('six replicas in three sites, clients in each', () =>
    ServiceScene.build(lab, fleet),
  );
  const steps: Array<{ name: string; at: number }> = [];
  const begin = (name: string): number => {
    const at = Date.now();
    steps.push({ name, at });
    return at;
  };
  begin('load is even');
  await progress.run('as many clients in each site', async () => {
    await scene.startEven();
    await delay(watchMs.even);
  });
  const { site } = lab.host(crowdedHost);
  begin(`twice as many in ${site}`);
  await progress.run(`as many again in ${site}: some of its new flows are served elsewhere`, async () => {
    await scene.crowd();
    await delay(watchMs.crowded);
  });
  const killed = await progress.run(`unplug ${victim} and kill it (-9): nobody says goodbye`, async () => {
    const found = await scene.crash(scene.replica(victim));
    steps.push({ name: `${victim} crashes`, at: found.at });
    await delay(watchMs.killed);
    return { replica: victim, ...found };
  });
  const moved = await progress.run(`move ${traveller} to ${site}`, async (step) => {
    const at = begin(`${traveller} moves to ${site}`);
    const replica = scene.replica(traveller);
    const { status } = await scene.move(replica, crowdedHost);
    const freezeMs = status?.freezeMs ?? NaN;
    await delay(watchMs.moved);
    step.done(`frozen for ${formatMs(freezeMs)}`);
    return { replica: traveller, from: replica.site, to: site, at, freezeMs };
  });
  return await progress.run('look at what clients and wire have seen', async () => {
    await scene.stopClients();
    if (process.env['SERVAL_DEMO_DEBUG'])
      console.error(JSON.stringify({ steps, killed, moved, rows: scene.rows }));
    const observed: Observed = {
      replicas: scene.replicas,
      steps,
      clients: scene.rows,
      killed,
      moved,
      even: 0,
      crowded: { step: 1, site },
      recorded: await scene.recorded(),
    };
    return tally(observed);
  });
}
