/**
 * A process that stands for an agent in the survival tests: opens the data planes of two hosts, installs the flows that
 * the test watches, then keeps applying and removing others until it is killed. Arguments: one JSON object.
 */
import { EbpfDatapath, type FlowRule, type PodSpec } from '@serval/node-agent';

export interface AgentChildOptions {
  objectPath?: string;
  hosts: Array<{ bpffs: string; pod: PodSpec; rules: SerialRule[] }>;
}

/** JSON has no bigint. */
export type SerialRule = Omit<FlowRule, 'flowId' | 'migration'> & { flowId: string; migration: string };

export const churnMigration = 99n;
const churnFlows = 300;

function churn(round: number): FlowRule[] {
  return Array.from({ length: churnFlows }, (_, i) => {
    const remote = { address: '10.200.0.1', port: 1 + ((round * churnFlows + i) % 60000) };
    const identity = { local: { address: '10.201.0.1', port: 80 }, remote };
    const wire = { local: { address: '10.202.0.1', port: 80 }, remote };
    return {
      flowId: BigInt(1000 + i),
      migration: churnMigration,
      protocol: 'tcp',
      identity,
      wire,
      state: 'active',
    };
  });
}

async function main(options: AgentChildOptions): Promise<void> {
  const planes: Array<{ datapath: EbpfDatapath; pod: PodSpec }> = [];
  for (const { bpffs, pod, rules } of options.hosts) {
    const datapath = await EbpfDatapath.open({
      bpffs,
      slots: 4096,
      ...(options.objectPath === undefined ? {} : { objectPath: options.objectPath }),
    });
    await datapath.addPod(pod);
    const present = new Set((await datapath.flows(pod.name)).map((flow) => flow.flowId));
    const wanted = rules.map((rule) => ({
      ...rule,
      flowId: BigInt(rule.flowId),
      migration: BigInt(rule.migration),
    }));
    await datapath.apply(
      pod.name,
      wanted.filter((rule) => !present.has(rule.flowId)),
    );
    planes.push({ datapath, pod });
  }
  process.stdout.write('ready\n');
  for (let round = 0; ; round++)
    for (const { datapath, pod } of planes) {
      await datapath.apply(pod.name, churn(round));
      await datapath.remove(pod.name, { migration: churnMigration });
    }
}

await main(JSON.parse(process.argv[2] ?? '') as AgentChildOptions);
