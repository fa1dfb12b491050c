/** kube-proxy itself where it can be had, else rules of the same shape: it is said which. */
import { ServalError } from '@serval/api';
import { kubernetesBinaries, type Binaries } from '@serval/e2e';
import type { Progress } from '../bench.js';
import { ControlPlane } from './kubernetes/control-plane.js';
import { kubeProxyVariant, type Mode } from './kubernetes/variants.js';
import type { Peers } from './options.js';
import { iptablesShapeVariant, nftShapeVariant } from './shape/variants.js';
import type { Variant, Way } from './variant.js';
import type { World } from './world.js';

const known: ReadonlyArray<{ way: Way; mode: Mode; shape: (world: World) => Promise<Variant> }> = [
  { way: 'kubeProxyNft', mode: 'nftables', shape: nftShapeVariant },
  { way: 'kubeProxyIptables', mode: 'iptables', shape: iptablesShapeVariant },
];

/** @throws ServalError where kube-proxy itself is wanted and can't be had */
export async function peerVariants(
  world: World,
  wanted: readonly Way[],
  peers: Peers,
  progress: Progress,
): Promise<Variant[]> {
  const chosen = known.filter(({ way }) => wanted.includes(way));
  if (chosen.length === 0) return [];
  const binaries = await binariesFor(peers, progress);
  const control = binaries === undefined ? undefined : await ControlPlane.start(world, binaries);
  const variants: Variant[] = [];
  for (const { mode, shape } of chosen)
    variants.push(await (control === undefined ? shape(world) : kubeProxyVariant(world, control, mode)));
  return variants;
}

async function binariesFor(peers: Peers, progress: Progress): Promise<Binaries | undefined> {
  if (peers === 'shape') return undefined;
  try {
    return await kubernetesBinaries(['kube-proxy', 'kube-apiserver'], progress);
  } catch (error) {
    if (peers === 'real') throw withShape(error as ServalError);
    progress(`rules of the same shape stand for kube-proxy. ${(error as Error).message}`);
    return undefined;
  }
}

function withShape(cause: ServalError): ServalError {
  const { code, subject, reason } = cause;
  const remedy = `${cause.remedy}; or compare with rules of the same shape: --peers shape`;
  return new ServalError(code, { subject, reason, remedy, cause });
}
