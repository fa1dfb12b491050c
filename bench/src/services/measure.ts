/** All sizes, one after the other: programmed, measured, cleared. */
import type { Progress } from '../bench.js';
import type { Workspace } from '../workspace.js';
import { measureBursts } from './bursts.js';
import { compare, type ByWay, type Comparison } from './comparison.js';
import { measureCut, type CutResult } from './cut.js';
import { directVariant } from './direct.js';
import type { Options } from './options.js';
import { peerVariants } from './peers.js';
import { replicasEach, type Plan } from './plan.js';
import { measureProgram, programFromNothing, type ProgramCost } from './program-cost.js';
import { salVariant } from './sal.js';
import type { Variant, Way } from './variant.js';
import { buildWorld, type World } from './world.js';

export interface SizeResult extends Comparison {
  /** ms until clients got an answer from every service */
  programMs: ByWay;
}

export interface ProgramResult {
  services: number;
  endpoints: number;
  costs: Partial<Record<Way, ProgramCost>>;
}

export interface Results {
  /** whose rules each variant's are */
  by: Partial<Record<Way, string>>;
  sizes: SizeResult[];
  program?: ProgramResult;
  cut?: CutResult;
}

export async function measure(workspace: Workspace, options: Options, progress: Progress): Promise<Results> {
  const isOfSize = options.only.includes('sizes') || options.only.includes('program');
  const results: Results = isOfSize
    ? await measureSizes(workspace, options, progress)
    : { by: {}, sizes: [] };
  if (options.only.includes('cut')) results.cut = await measureCut(workspace, options, progress);
  return results;
}

async function measureSizes(workspace: Workspace, options: Options, progress: Progress): Promise<Results> {
  const world = await buildWorld(workspace);
  const variants = await makeVariants(world, options, progress);
  const results: Results = {
    by: Object.fromEntries(variants.map(({ way, by }) => [way, by])),
    sizes: [],
  };
  const greatest = options.services.at(-1) ?? 0;
  for (const services of options.services) {
    const plan = { services };
    const isLast = services === greatest;
    if (!options.only.includes('sizes') && !isLast) continue;
    const size = new Size(world, variants, plan, progress);
    if (options.only.includes('sizes')) results.sizes.push(await size.compare(options.rounds));
    if (options.only.includes('program') && isLast) results.program = await size.programCosts();
    await size.clear();
  }
  return results;
}

async function makeVariants(world: World, options: Options, progress: Progress): Promise<Variant[]> {
  const { variants: wanted } = options;
  return [
    await directVariant(world),
    ...(await peerVariants(world, wanted, options.peers, progress)),
    // Last: direct is measured once before its programs are in the kernel.
    ...(wanted.includes('sal') ? [await salVariant(world)] : []),
  ];
}

/** So many services, in all variants. */
class Size {
  private readonly programMs = new Map<Way, number>();

  constructor(
    private readonly world: World,
    private readonly variants: readonly Variant[],
    private readonly plan: Plan,
    private readonly progress: Progress,
  ) {}

  async compare(rounds: number): Promise<SizeResult> {
    const { world, variants, plan } = this;
    const [direct] = variants as [Variant];
    const sal = variants.find(({ way }) => way === 'sal');
    for (const variant of variants) if (variant !== sal) await this.program(variant);
    let alone: Awaited<ReturnType<typeof measureBursts>> = {};
    if (sal !== undefined) {
      alone = await measureBursts(world, [direct], plan, rounds, (line) =>
        this.progress(`direct, no SAL in the kernel: ${line}`),
      );
      await this.program(sal);
    }
    const among = await measureBursts(world, variants, plan, rounds, this.progress);
    return {
      ...compare(plan.services, among, alone.direct),
      programMs: Object.fromEntries(this.programMs),
    };
  }

  async programCosts(): Promise<ProgramResult> {
    const { plan } = this;
    const costs: Partial<Record<Way, ProgramCost>> = {};
    for (const variant of this.variants) {
      if (variant.way === 'direct') continue;
      const firstMs = this.programMs.get(variant.way) ?? (await this.program(variant));
      const cost = await measureProgram(this.world, variant, plan, firstMs);
      costs[variant.way] = cost;
      this.progress(
        `${variant.way}: ${plan.services} services in ${cost.fullMs} ms, one change in ${cost.oneChangeMs} ms`,
      );
    }
    return { services: plan.services, endpoints: plan.services * replicasEach, costs };
  }

  async clear(): Promise<void> {
    for (const variant of this.variants) await variant.clear();
  }

  private async program(variant: Variant): Promise<number> {
    await variant.prepare(this.plan);
    const ms = await programFromNothing(this.world, variant, this.plan);
    this.programMs.set(variant.way, ms);
    if (variant.way !== 'direct')
      this.progress(`${variant.way}: ${this.plan.services} services are programmed, ${ms} ms`);
    return ms;
  }
}
