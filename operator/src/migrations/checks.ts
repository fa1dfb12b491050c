/** Pure: what can not be moved, or not there, in words. */
import { workloadOf, type ServalNode } from '@serval/api';
import { moverValues } from '@serval/api';
import { controllerOf, mirrorAnnotation, type Pod } from '../pods/pod.js';
import type { Cause } from './decision.js';
import { annotations, runtimeClass } from './names.js';
import { isAgentReady, type View } from './view.js';

type Check<Of> = (of: Of, view: View) => Cause | undefined;

/** What a user has to change first: there is nothing to wait for. */
export function refusal(view: View): Cause | undefined {
  const { workload, migration } = view;
  if (migration.spec.workload.kind === 'VirtualMachineInstance')
    return {
      reason: 'KindUnsupported',
      message: 'a VirtualMachineInstance can not be moved yet: move it by KubeVirt, or name a Pod',
    };
  if (workload === undefined)
    return {
      reason: 'WorkloadNotFound',
      message: `there is no pod ${workloadOf(migration)}: create a ServalMigration when it runs, with the name that it has`,
    };
  return first(podChecks, workload, view) ?? nodeRefusal(view, workload);
}

function first<Of>(checks: ReadonlyArray<Check<Of>>, of: Of, view: View): Cause | undefined {
  for (const check of checks) {
    const found = check(of, view);
    if (found !== undefined) return found;
  }
  return undefined;
}

const podChecks: ReadonlyArray<Check<Pod>> = [
  ...[isStatic, doesNotRun, isOfTheHost, hasAnotherRuntime, canNotFollow, unknownMover],
];

function isStatic(pod: Pod): Cause | undefined {
  const isMirror = pod.metadata.annotations?.[mirrorAnnotation] !== undefined;
  if (!isMirror && controllerOf(pod)?.kind !== 'Node') return undefined;
  return {
    reason: 'StaticPod',
    message: `pod ${pod.metadata.name} is a static one, which the kubelet makes from a file of its node: move the file`,
  };
}

function doesNotRun({ metadata, spec, status }: Pod): Cause | undefined {
  const { name } = metadata;
  const says = (message: string): Cause => ({ reason: 'WorkloadNotRunning', message });
  if (metadata.deletionTimestamp !== undefined)
    return says(`pod ${name} is being deleted: move the one that takes its place`);
  if (status.phase === 'Running' && spec.nodeName !== undefined) return undefined;
  return says(
    `pod ${name} does not run (it is ${status.phase ?? 'new'}): create a ServalMigration when it does`,
  );
}

function isOfTheHost({ metadata, spec }: Pod): Cause | undefined {
  if (spec.hostNetwork !== true) return undefined;
  return {
    reason: 'HostNetwork',
    message: `pod ${metadata.name} uses the network of its node (hostNetwork), whose addresses stay there: run it in a network of its own`,
  };
}

/** What runs in a sandbox of its own kind can't go on in another. */
function hasAnotherRuntime({ metadata, spec }: Pod): Cause | undefined {
  const { runtimeClassName = runtimeClass } = spec;
  if (runtimeClassName === runtimeClass) return undefined;
  return {
    reason: 'RuntimeClassUnsupported',
    message: `pod ${metadata.name} has the RuntimeClass ${runtimeClassName}: only pods without one, or with ${runtimeClass}, can be moved`,
  };
}

const counted = new Set(['ReplicaSet', 'ReplicationController']);

/** These make pods alike, and take any with their labels; others need names or numbers of their own. */
function canNotFollow(pod: Pod): Cause | undefined {
  const owner = controllerOf(pod);
  if (owner === undefined || counted.has(owner.kind)) return undefined;
  return {
    reason: 'OwnerCannotFollow',
    message: `pod ${pod.metadata.name} belongs to ${owner.kind} ${owner.name}, which would not take a pod of another name for it: only pods without a controller and those of a ReplicaSet (a Deployment) can be moved`,
  };
}

function unknownMover({ metadata }: Pod): Cause | undefined {
  const wanted = metadata.annotations?.[annotations.mover];
  if (wanted === undefined || isMover(wanted)) return undefined;
  return {
    reason: 'MoverNotAllowed',
    message: `pod ${metadata.name} asks for mover "${wanted}" (annotation ${annotations.mover}), which is none of ${moverValues.join(', ')}: name one of these`,
  };
}

function isMover(name: string): name is (typeof moverValues)[number] {
  return (moverValues as readonly string[]).includes(name);
}

/** As the migration says it, else as its pod does. */
export function moverOf({ migration }: View, pod: Pod): string {
  return migration.spec.mover ?? pod.metadata.annotations?.[annotations.mover] ?? 'criu';
}

function nodeRefusal(view: View, pod: Pod): Cause | undefined {
  const { nodes, migration } = view;
  const source = pod.spec.nodeName ?? '';
  const target = migration.spec.targetNode;
  const mover = moverOf(view, pod);
  if (nodes.get(source) === undefined) return withoutAgent('SourceWithoutAgent', source);
  const own = missing(nodes.get(source), sourceNeeds[mover] ?? []);
  if (own !== undefined) return own;
  if (target === undefined) return undefined;
  if (target === source)
    return {
      reason: 'TargetIsSource',
      message: `pod ${pod.metadata.name} is on node ${target} already: name another node, or none`,
    };
  if (nodes.get(target) === undefined) return withoutAgent('TargetWithoutAgent', target);
  return missing(nodes.get(target), targetNeeds[mover] ?? []);
}

function withoutAgent(reason: string, node: string): Cause {
  return {
    reason,
    message: `node ${node} has no ServalNode: no agent has ever run there; see whether the DaemonSet of the agents fits on it, and whether its name is right`,
  };
}

const sourceNeeds: Readonly<Record<string, readonly string[]>> = {
  criu: ['datapath', 'criu'],
  external: ['datapath'],
};
const targetNeeds: Readonly<Record<string, readonly string[]>> = {
  criu: ['datapath', 'criu', 'sandbox'],
  external: ['datapath'],
};

/** What an agent does not speak of, it is not asked about: it refuses by itself. */
function missing(node: ServalNode | undefined, needs: readonly string[]): Cause | undefined {
  const lacks = node?.status?.capabilities?.find(({ name, available }) => !available && needs.includes(name));
  if (node === undefined || lacks === undefined) return undefined;
  const why = lacks.message === undefined ? '' : `: ${lacks.message}`;
  return {
    reason: 'MoverNotAllowed',
    message: `node ${node.metadata.name} can not do ${lacks.name}, which this move needs${why}`,
  };
}

/** Where the target pod may run: a Ready agent that can do it, and not the source's. */
export function candidates(view: View, pod: Pod): string[] {
  const { nodes, migration } = view;
  const needs = targetNeeds[moverOf(view, pod)] ?? [];
  if (migration.spec.targetNode !== undefined) return [migration.spec.targetNode];
  return nodes
    .list()
    .filter((node) => node.metadata.name !== pod.spec.nodeName && isAgentReady(node))
    .filter((node) => missing(node, needs) === undefined)
    .map(({ metadata }) => metadata.name)
    .sort();
}
