/** Asks the agent of a node what only it knows: runs this same program in the agent's pod, which speaks to its socket there. */
import { ServalError } from '@serval/api';
import { podsOf } from './components.js';
import type { Cluster } from './cluster.js';

export interface AgentRelay {
  /** Nodes that have an agent's pod that runs. */
  nodes(): Promise<string[]>;
  /** What it answers, as JSON. @throws ServalError where no agent runs there, or it does not answer */
  ask<Answer>(node: string, words: readonly string[]): Promise<Answer>;
}

const socket = '/run/serval/agent.sock';
const program = '/usr/local/bin/kubectl-serval';
const container = 'agent';

export class ExecRelay implements AgentRelay {
  constructor(private readonly cluster: Cluster) {}

  async nodes(): Promise<string[]> {
    const pods = await podsOf(this.cluster, 'agent');
    const names = pods.filter(runs).flatMap(({ spec }) => spec?.nodeName ?? []);
    return [...new Set(names)].sort();
  }

  async ask<Answer>(node: string, words: readonly string[]): Promise<Answer> {
    const pods = await podsOf(this.cluster, 'agent', node);
    const pod = pods.find(runs);
    if (pod === undefined) throw noAgent(node, pods.length > 0);
    const { name, namespace = 'default' } = pod.metadata;
    const { code, out, error } = await this.cluster.exec({
      ...{ namespace, pod: name, container },
      command: [program, ...words, '--socket', socket, '-o', 'json'],
    });
    const answer = parsed(out);
    // `status` of an agent that is not ready ends with 1, and has an answer all the same.
    if (answer !== undefined) return answer as Answer;
    throw new ServalError('ERR_BAD_ANSWER', {
      subject: `agent of node ${node}`,
      reason: error.trim() === '' ? `it ended with ${code} and said nothing` : error.trim(),
      remedy: `See its log: kubectl -n ${namespace} logs ${name}`,
    });
  }
}

function runs({ metadata, status }: { metadata: object; status?: { phase?: string } }): boolean {
  return status?.phase === 'Running' && !('deletionTimestamp' in metadata);
}

function noAgent(node: string, isThere: boolean): ServalError {
  return new ServalError('ERR_NOT_FOUND', {
    subject: `node ${node}`,
    reason: isThere ? "its agent's pod does not run" : 'no agent runs there',
    remedy: isThere
      ? 'See why: kubectl get pods -A -o wide -l app.kubernetes.io/component=agent'
      : 'See whether the node exists, and whether the chart was installed with agent.enabled and a nodeSelector that takes it in',
  });
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
