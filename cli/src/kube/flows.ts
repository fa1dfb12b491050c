/** Flows that have a rule, as the agents of the nodes know them. */
import type { FlowView } from '@serval/api';
import { formatEndpoint, renderTable } from '../text.js';
import { exitCode, print, WrongUsage, type Output } from '../surroundings.js';
import { one, paths, reasonOf } from './cluster.js';
import type { Session } from './session.js';
import type { Pod } from './types.js';

export interface FlowsOptions {
  pod?: string;
  node?: string;
  output?: Output;
}

export type NodeFlow = FlowView & { node: string };

/** So many agents are asked at a time. */
const atOnce = 8;

export async function showFlows(session: Session, options: FlowsOptions): Promise<number> {
  const { agents, around } = session;
  const { pod, node, output } = options;
  if (pod !== undefined && node !== undefined)
    throw new WrongUsage('Name a pod or a node: a pod is on the node that it is on.');
  const home = pod === undefined ? undefined : await homeOf(session, pod);
  const nodes = home !== undefined ? [home.node] : node !== undefined ? [node] : await agents.nodes();
  const words = home === undefined ? ['flows'] : ['flows', '--pod', home.name];
  // What was named must answer; of all, those that do are shown.
  const isNamed = home !== undefined || node !== undefined;
  const { flows, failures } = await ask(session, nodes, words, isNamed);
  print(around.screen, output, flows, (all, { wide }) =>
    all.length > 0 ? flowLines(all, wide) : [nothing(nodes, failures.length)],
  );
  for (const failure of failures) around.printError(`serval: ${failure}\n`);
  return failures.length > 0 || nodes.length === 0 ? exitCode.failed : exitCode.done;
}

async function ask(
  { agents }: Session,
  nodes: readonly string[],
  words: readonly string[],
  mustAnswer: boolean,
): Promise<{ flows: NodeFlow[]; failures: string[] }> {
  const flows: NodeFlow[] = [];
  const failures: string[] = [];
  const rest = [...nodes];
  const work = async (): Promise<void> => {
    for (let node = rest.shift(); node !== undefined; node = rest.shift()) {
      const name = node;
      try {
        const told = await agents.ask<FlowView[]>(name, words);
        flows.push(...told.map((flow) => ({ node: name, ...flow })));
      } catch (error) {
        if (mustAnswer) throw error;
        failures.push(`node ${name}: ${reasonOf(error)}`);
      }
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  return { flows: flows.sort((a, b) => a.node.localeCompare(b.node)), failures: failures.sort() };
}

async function homeOf({ cluster }: Session, word: string): Promise<{ name: string; node: string }> {
  const [first = '', second] = word.split('/');
  const [namespace, pod] = second === undefined ? [cluster.namespace, first] : [first, second];
  const { spec } = await cluster.request<Pod>({ path: one(paths.pods(namespace), pod) });
  if (spec?.nodeName === undefined)
    throw new WrongUsage(`Pod ${namespace}/${pod} is on no node yet: see why by kubectl describe.`);
  return { name: `${namespace}/${pod}`, node: spec.nodeName };
}

function nothing(nodes: readonly string[], failed: number): string {
  if (nodes.length === 0)
    return 'No agents run in this cluster: see kubectl serval check. Flows are known to agents alone.';
  const asked = nodes.length === 1 ? `the agent of ${nodes[0] ?? ''}` : `${nodes.length - failed} agents`;
  return `No flows have a rule (asked: ${asked}): nothing that was moved, and nobody who talks to it.`;
}

/** Pure. */
export function flowLines(flows: readonly NodeFlow[], wide: boolean): string[] {
  const pair = ({ local, remote }: FlowView['identity']): string =>
    `${formatEndpoint(local)} - ${formatEndpoint(remote)}`;
  const heads = ['NODE', 'FLOWID', 'POD', 'PROTOCOL', 'IDENTITY', 'WIRE', 'STATE', 'OUT', 'IN'];
  const rows = flows.map((flow) => [
    ...[flow.node, flow.flowId, flow.pod, flow.protocol, pair(flow.identity), pair(flow.wire), flow.state],
    ...[String(flow.packetsOut), String(flow.packetsIn)],
    ...(wide ? [String(flow.bytesOut), String(flow.bytesIn), flow.migration] : []),
  ]);
  return renderTable([[...heads, ...(wide ? ['BYTES OUT', 'BYTES IN', 'MIGRATION'] : [])], ...rows]);
}
