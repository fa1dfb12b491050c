/** A cluster in a lab: a real control plane, an agent in Kubernetes mode on every host, and somebody who runs the pods. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ServalError } from '@serval/api';
import { KubeClient } from '@serval/kube-runtime/kubernetes';
import {
  accountKubeconfig,
  chart,
  ControlPlane,
  Helm,
  makeRuntimeClass,
  OperatorProcess,
  type ControlPlaneOptions,
} from '../cluster/index.js';
import type { Host, Lab } from '../lab/index.js';
import type { AgentProcess } from './agent-process.js';
import { ApiRoad } from './api-road.js';
import { labAgent } from './lab-agent.js';
import { LabKubelet } from './kubelet.js';

/** Where the chart is installed. */
export const systemNamespace = 'serval-system';

export interface KubeFleetOptions {
  controlPlane?: ControlPlaneOptions;
}

/** The first time an agent waits for its certificate, and so for the operator that signs it. */
const firstStartMs = 60_000;

/** Nobody here says that nodes live: the kubelets' leases would. */
const patientManager = '--node-monitor-grace-period=3600s';

export class KubeFleet {
  readonly agents = new Map<string, AgentProcess>();
  private readonly operators: OperatorProcess[] = [];
  imagesDir = '';
  private road: ApiRoad | undefined;
  private runner: LabKubelet | undefined;

  private constructor(
    readonly lab: Lab,
    readonly plane: ControlPlane,
    readonly admin: KubeClient,
    private readonly home: string,
  ) {}

  /** @throws ServalError where something does not start; nothing is left behind then */
  static async start(lab: Lab, options: KubeFleetOptions = {}): Promise<KubeFleet> {
    const { controllerManagerOptions = [], ...controlPlane } = options.controlPlane ?? {};
    const plane = await ControlPlane.start({
      ...controlPlane,
      scheduler: true,
      controllerManagerOptions: [patientManager, ...controllerManagerOptions],
    });
    const admin = KubeClient.load('serval-test', plane.kubeconfigFile(plane.admin()));
    const home = mkdtempSync(join(tmpdir(), `serval-kube-${lab.id}-`));
    const fleet = new KubeFleet(lab, plane, admin, home);
    try {
      fleet.installChart();
      await makeRuntimeClass(admin);
      await fleet.make();
      await Promise.all([...fleet.agents.values()].map((agent) => agent.start(firstStartMs)));
      return fleet;
    } catch (error) {
      await fleet.remove();
      throw error;
    }
  }

  get kubelet(): LabKubelet {
    return this.runner ?? absent('kubelet');
  }

  get api(): ApiRoad {
    return this.road ?? absent('road to the API server');
  }

  agent(host: string): AgentProcess {
    return this.agents.get(host) ?? absent(`agent of ${host}`);
  }

  /** Ends everything and removes its files. Logs stay where SERVAL_KEEP_LOGS is set. */
  async remove(): Promise<void> {
    await Promise.allSettled([
      ...[...this.agents.values()].map((agent) => agent.stop()),
      ...this.operators.map((operator) => operator.end()),
    ]);
    await this.runner?.stop();
    await this.road?.remove();
    await this.admin.close();
    await this.plane.stop();
    if (process.env['SERVAL_KEEP_LOGS'] === undefined) rmSync(this.home, { recursive: true, force: true });
  }

  /** Agents have the rights that it gives them, and no others. */
  private installChart(): void {
    const where = ['--namespace', systemNamespace, '--create-namespace'];
    const { code, error } = Helm.find().ask(
      ['install', 'serval', chart, ...where],
      this.plane.folder,
      this.plane.kubeconfigFile(this.plane.admin()),
    );
    if (code === 0) return;
    throw new ServalError('ERR_BAD_INPUT', {
      subject: 'helm install',
      reason: error,
      remedy: 'Mend charts/serval',
    });
  }

  /** One more operator, with the rights that the chart gives it. */
  async startOperator(name: string): Promise<OperatorProcess> {
    const [host] = this.lab.hosts;
    const kubeconfig = await this.account('serval-operator', host?.name ?? '');
    const operator = await OperatorProcess.start({
      ...{ kubeconfig, name },
      more: [
        ...['--lease-namespace', systemNamespace],
        ...['--agent-account', `${systemNamespace}:serval-agent`],
      ],
    });
    this.operators.push(operator);
    return operator;
  }

  /** All of them, without a word. */
  async killOperators(): Promise<void> {
    await Promise.all(this.operators.splice(0).map((operator) => operator.end('SIGKILL')));
  }

  /** A kubeconfig with the token of a service account of the chart's, bound to a pod, on this node. */
  account(name: string, node: string): Promise<string> {
    return accountKubeconfig(this.plane, this.admin, { namespace: systemNamespace, name, node });
  }

  private async make(): Promise<void> {
    const { lab, plane, admin, home } = this;
    this.imagesDir = await lab.mount('tmpfs', 'images');
    this.road = await ApiRoad.build(lab, plane.admin().server, join(home, 'api.sock'));
    for (const host of lab.hosts) await this.declareNode(host);
    this.runner = await LabKubelet.start(lab, admin);
    // Somebody has to sign the agents' certificates.
    await this.startOperator('operator-1');
    for (const host of lab.hosts) {
      const kubeconfig = await this.account('serval-agent', host.name);
      const config = {
        kubernetes: { kubeconfig, certificates: { namespace: systemNamespace } },
        // They are read whole by who compares data planes.
        services: { choices: 1024, replicas: 1024 },
      };
      const agent = await labAgent(lab, host, { home, config });
      this.agents.set(host.name, agent);
    }
  }

  private async declareNode({ name, site, address4, address6, podSubnet4, podSubnet6 }: Host): Promise<void> {
    await this.admin.request({
      method: 'POST',
      path: '/api/v1/nodes',
      body: {
        metadata: { name, labels: { 'topology.kubernetes.io/zone': site } },
        spec: { podCIDR: podSubnet4, podCIDRs: [podSubnet4, podSubnet6] },
      },
    });
    await this.admin.request({
      method: 'PATCH',
      path: `/api/v1/nodes/${name}/status`,
      contentType: 'application/merge-patch+json',
      body: {
        status: {
          addresses: [address4, address6].map((address) => ({ type: 'InternalIP', address })),
          capacity: { cpu: '64', memory: '256Gi', pods: '250' },
          allocatable: { cpu: '64', memory: '256Gi', pods: '250' },
          conditions: [{ type: 'Ready', status: 'True', reason: 'KubeletReady', message: 'it is a test' }],
        },
      },
    });
  }
}

function absent(what: string): never {
  throw new ServalError('ERR_NOT_FOUND', {
    subject: what,
    reason: 'there is none',
    remedy: 'Name a host of the lab, after the start',
  });
}
