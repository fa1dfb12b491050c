/** Instead of kube-proxy: rules of the same shape, put in by the programs that it uses, too. */
import { inside, run } from '../../shell.js';
import { iptablesTools, nftTools, withPath, type RuleTools } from '../rule-tools.js';
import { virtualTargets, type Plan } from '../plan.js';
import type { Variant } from '../variant.js';
import type { Place, World } from '../world.js';
import { iptablesChange, iptablesRules } from './iptables.js';
import { nftChange, nftRules } from './nft.js';

interface Shape {
  way: Variant['way'];
  label: string;
  tools(world: World, place: Place): Promise<RuleTools>;
  /** what they are put in with */
  command: readonly string[];
  changeCommand: readonly string[];
  rules(plan: Plan): string;
  change(before: Plan, after: Plan): string;
}

const nft: Shape = {
  way: 'kubeProxyNft',
  label: 'nft',
  tools: nftTools,
  command: ['nft', '-f', '-'],
  changeCommand: ['nft', '-f', '-'],
  rules: nftRules,
  change: (_before, after) => nftChange(after),
};

const iptables: Shape = {
  way: 'kubeProxyIptables',
  label: 'iptables',
  tools: ({ workspace }, { node }) => iptablesTools(workspace, node),
  command: ['iptables-restore', '-w'],
  changeCommand: ['iptables-restore', '-w', '--noflush'],
  rules: iptablesRules,
  change: iptablesChange,
};

export function nftShapeVariant(world: World): Promise<Variant> {
  return shapeVariant(world, nft);
}

export function iptablesShapeVariant(world: World): Promise<Variant> {
  return shapeVariant(world, iptables);
}

async function shapeVariant(world: World, shape: Shape): Promise<Variant> {
  const place = await world.place(shape.label);
  let programmed = false;
  let text = '';
  const tools = await shape.tools(world, place);
  const timed = async (command: readonly string[], input: string): Promise<number> => {
    const began = performance.now();
    await run(inside(place.node, withPath(tools.path, command)), input);
    return began;
  };
  return {
    way: shape.way,
    by: `rules of the same shape, with ${tools.version}`,
    place,
    targets: virtualTargets,
    prepare: (plan) => {
      text = shape.rules(plan);
      return Promise.resolve();
    },
    program: () => {
      programmed = true;
      return timed(shape.command, text);
    },
    change: (before, after) => timed(shape.changeCommand, shape.change(before, after)),
    memory: () => Promise.resolve({}),
    clear: async () => {
      if (!programmed) return;
      await tools.clear(place.node);
      programmed = false;
    },
  };
}
