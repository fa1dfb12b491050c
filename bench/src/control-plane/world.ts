/** A control plane with nodes, pods and services in it; pods and slices are the real controllers' affair. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { KubeClient } from '@serval/kube-runtime/kubernetes';
import { ControlPlane, count, inParallel, installCrds, OperatorProcess } from '@serval/e2e';
import type { Progress } from '../bench.js';
import {
  namespace,
  node,
  pod,
  podName,
  podStatus,
  servalNode,
  service,
  serviceName,
  type Sizes,
} from './objects.js';

const run = promisify(execFile);
const bundler = new URL('../../../scripts/bundle.mjs', import.meta.url).pathname;

const core = `/api/v1/namespaces/${namespace}`;
const group = '/apis/serval.io/v1alpha1';
export const servalServices = `${group}/namespaces/${namespace}/servalservices`;
/** Requests at a time. */
const atOnce = 48;
const tellEvery = 1_000;

/** Nobody keeps these nodes alive: what would take their pods away is left out. */
const controllers = '--controllers=*,-node-lifecycle-controller,-taint-eviction-controller';

export class World {
  private constructor(
    readonly plane: ControlPlane,
    readonly client: KubeClient,
    readonly kubeconfig: string,
    readonly sizes: Sizes,
    private readonly progress: Progress,
    /** the operator as it ships: unbundled it would have 50 MB more */
    private readonly program: string,
  ) {}

  static async start(sizes: Sizes, progress: Progress): Promise<World> {
    const plane = await ControlPlane.start({ controllerManagerOptions: [controllers], progress });
    const kubeconfig = plane.kubeconfigFile(plane.admin());
    const client = KubeClient.load('serval-bench', kubeconfig);
    await installCrds(client);
    const out = join(plane.folder, 'bundles');
    await run(process.execPath, [bundler, '--only', 'serval-operator', '--out', out]);
    const program = join(out, 'serval-operator/dist/main.js');
    return new World(plane, client, kubeconfig, sizes, progress, program);
  }

  async stop(): Promise<void> {
    await this.client.close();
    await this.plane.stop();
  }

  operator(name: string): Promise<OperatorProcess> {
    const { kubeconfig, program } = this;
    return OperatorProcess.start({ kubeconfig, name, program, more: ['--log-level', 'error'] });
  }

  async makeNodes(): Promise<void> {
    await this.many('nodes', count(this.sizes.nodes), async (number) => {
      await this.post('/api/v1/nodes', node(number));
      await this.post(`${group}/servalnodes`, servalNode(number));
    });
  }

  /** One with an address, which an agent may serve. */
  async makeNode(name: string, podCIDRs: readonly string[], address: string): Promise<void> {
    await this.post('/api/v1/nodes', { metadata: { name }, spec: { podCIDR: podCIDRs[0], podCIDRs } });
    await this.client.request({
      method: 'PATCH',
      path: `/api/v1/nodes/${name}/status`,
      contentType: 'application/merge-patch+json',
      body: { status: { addresses: [{ type: 'InternalIP', address }] } },
    });
  }

  async makePods(): Promise<void> {
    await this.many('pods', count(this.sizes.pods), (number) => this.makePod(number));
  }

  /** Ready. */
  async makePod(number: number): Promise<void> {
    await this.post(`${core}/pods`, pod(number, this.sizes));
    await this.setReady(number, true);
  }

  async setReady(number: number, isReady: boolean): Promise<void> {
    await this.client.request({
      method: 'PATCH',
      path: `${core}/pods/${podName(number)}/status`,
      contentType: 'application/strategic-merge-patch+json',
      body: podStatus(number, isReady),
    });
  }

  /** With a while to end, as the kubelet gives it; or at once. */
  async deletePod(number: number, graceSeconds: number): Promise<void> {
    const body = { kind: 'DeleteOptions', apiVersion: 'v1', gracePeriodSeconds: graceSeconds };
    await this.client.request({ method: 'DELETE', path: `${core}/pods/${podName(number)}`, body });
  }

  async makeServices(from: number, to: number): Promise<void> {
    const numbers = count(to - from).map((number) => from + number);
    await this.many('ServalServices', numbers, (number) =>
      this.post(servalServices, service(number, this.sizes)),
    );
  }

  /** Resolves when their Services are gone too. */
  async deleteServices(from: number, to: number): Promise<void> {
    const numbers = count(to - from).map((number) => from + number);
    await this.many('deletions', numbers, async (number) => {
      const name = serviceName(number);
      await this.client.request({ method: 'DELETE', path: `${servalServices}/${name}` });
      // The garbage collector would too, later.
      await this.client
        .request({ method: 'DELETE', path: `${core}/services/${name}` })
        .catch(() => undefined);
    });
  }

  private post(path: string, body: object): Promise<unknown> {
    return this.client.request({ method: 'POST', path, body, timeoutMs: 60_000 });
  }

  private async many(
    what: string,
    numbers: readonly number[],
    work: (number: number) => Promise<unknown>,
  ): Promise<void> {
    let done = 0;
    await inParallel(numbers, atOnce, async (number) => {
      await work(number);
      if (++done % tellEvery === 0 || done === numbers.length) this.progress(`${done} ${what}`);
    });
  }
}
