/** kubectl-serval as it ships, on a real API server; the test plays the operator and the agents. */
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { KubeClient } from '@serval/kube-runtime/kubernetes';
import { parse } from 'yaml';
import { requireRoot } from '../lab/processes.js';
import { CliProgram, type Ran } from './cli-program.js';
import { CliWorld } from './cli-world.js';
import { ControlPlane } from './control-plane.js';
import { installCrds } from './crds.js';
import { loopback } from './ports.js';

beforeAll(() => requireRoot());
jest.setTimeout(120_000);

const namespace = 'serval-system';

describe('kubectl-serval', () => {
  let plane: ControlPlane;
  let client: KubeClient;
  let world: CliWorld;
  let cli: CliProgram;
  let limited: string;

  beforeAll(async () => {
    plane = await ControlPlane.start({ progress: console.log });
    const kubeconfig = plane.kubeconfigFile(plane.admin());
    client = KubeClient.load('serval-test', kubeconfig);
    world = new CliWorld(client);
    cli = CliProgram.make(kubeconfig);
    limited = plane.kubeconfigFile(await plane.issueUser('limited'));
    await world.makeNode('n1', '6.1.0-28-amd64');
    await world.makeNode('n2', '6.12.0');
  });
  afterAll(async () => {
    cli?.remove();
    await client?.close();
    await plane?.stop();
  });

  const run = (...words: string[]): Promise<Ran> => cli.run(words);

  describe('before anything is installed', () => {
    it('runs alone: nothing is beside it', async () => {
      expect(readdirSync(cli.folder).sort()).toEqual(['kubectl-serval', 'kubectl_complete-serval']);
      const help = await run('--help');
      expect(help).toMatchObject({
        code: 0,
        err: '',
        out: expect.stringMatching(/bugreport[^]*Exit codes:/),
      });
      expect((await run('--version')).out).toMatch(/^\d+\.\d+\.\d+\n$/);
    });

    it('says what keeps it from being installed, as an administrator nothing but a label', async () => {
      const { code, out, err } = await run('check', '--pre');
      expect([code, err]).toEqual([0, '']);
      expect(out).toMatch(/^ok {4}API server: v1\.\d+/m);
      expect(out).toMatch(/^ok {4}permissions to install: whoever asks may do everything$/m);
      expect(out).toMatch(/^ok {4}CRDs: none/m);
      expect(out).toMatch(
        /^WARN {2}namespace serval-system: it is not there yet[^]*-> kubectl label namespace/m,
      );
      expect(out).toMatch(/^ok {4}priority class system-node-critical/m);
      expect(out).toMatch(/^ok {4}kernel of n1: 6\.1: .*clsact/m);
      expect(out).toMatch(/^ok {4}kernel of n2: 6\.12: .*TCX$/m);
      expect(out).toMatch(/^ok {4}container runtime of n1, n2: containerd/m);
      expect(out).toMatch(/^ok {4}cgroups of n1, n2: version 2/m);
      expect(out).toMatch(/^WARN {2}network plugin: none/m);
    });

    it('says to others which rights they lack', async () => {
      const { code, out } = await cli.run(['check', '--pre', '-o', 'json'], limited);
      expect(code).toBe(1);
      const { ok, findings } = JSON.parse(out) as { ok: boolean; findings: Array<Record<string, string>> };
      expect(ok).toBe(false);
      const failed = findings.filter(({ result }) => result === 'fail').map(({ name }) => name);
      expect(failed).toContain('permissions to install: customresourcedefinitions.apiextensions.k8s.io');
      expect(failed).toContain('permissions to install: secrets');
      const nodes = findings.find(({ name }) => name === 'nodes');
      expect(nodes).toMatchObject({
        result: 'warn',
        why: expect.stringMatching(/could not be looked at: nodes is forbidden/),
      });
    });

    it('refuses a cluster that keeps agents out', async () => {
      const label = 'pod-security.kubernetes.io/enforce';
      await world.make('/api/v1/namespaces', {
        metadata: { name: namespace, labels: { [label]: 'baseline' } },
      });
      const before = await run('check', '--pre');
      expect([before.code, before.out]).toEqual([
        1,
        expect.stringMatching(/^FAIL {2}namespace serval-system: Pod Security "baseline"/m),
      ]);
      await world.patch(`/api/v1/namespaces/${namespace}`, {
        metadata: { labels: { [label]: 'privileged' } },
      });
      expect((await run('check', '--pre')).code).toBe(0);
      expect((await run('check', '--pre', '-n', 'default')).out).toMatch(
        /^WARN {2}namespace default: no label/m,
      );
    });

    it('knows the network plugin by its DaemonSet', async () => {
      const path = '/apis/apps/v1/namespaces/kube-system/daemonsets';
      const template = {
        metadata: { labels: { a: 'b' } },
        spec: { containers: [{ name: 'a', image: 'a' }] },
      };
      const spec = { selector: { matchLabels: { a: 'b' } }, template };
      await world.make(path, { metadata: { name: 'cilium' }, spec });
      const data = { 'kube-proxy-replacement': 'true' };
      await world.make('/api/v1/namespaces/kube-system/configmaps', {
        metadata: { name: 'cilium-config' },
        data,
      });
      const on = await run('check', '--pre');
      expect(on.out).toMatch(
        /^WARN {2}network plugin Cilium: its socket load balancer is on and hooks the same calls/m,
      );
      await world.patch('/api/v1/namespaces/kube-system/configmaps/cilium-config', {
        data: { 'bpf-lb-sock-hostns-only': 'true' },
      });
      expect((await run('check', '--pre')).out).toMatch(/^ok {4}network plugin Cilium: .*leaves pods alone/m);
      await client.request({ method: 'DELETE', path: `${path}/cilium` });
    });

    it('says that the CRDs are not there', async () => {
      const { code, out, err } = await run('migrations');
      expect([code, out, err]).toEqual([1, '', expect.stringMatching(/whether the CRDs are installed/)]);
      expect((await run('check')).out).toMatch(
        /^FAIL {2}CRD servalmigrations\.serval\.io: it is not installed$/m,
      );
    });
  });

  describe('with CRDs', () => {
    beforeAll(async () => {
      await installCrds(client);
      await world.makePod('redis-0', 'n1');
      await world.makeServalNode('n1', 'True');
      await world.makeServalNode('n2', 'True');
      expect((await run('migrate', 'redis-0', '--name', 'fails', '--no-wait')).code).toBe(0);
    });

    it('shows services, and their replicas', async () => {
      const path = '/apis/serval.io/v1alpha1/namespaces/default/servalservices';
      const spec = { selector: { app: 'cart' }, ports: [{ port: 80 }] };
      await world.make(path, {
        apiVersion: 'serval.io/v1alpha1',
        kind: 'ServalService',
        metadata: { name: 'cart' },
        spec,
      });
      expect((await run('services')).out).toMatch(
        /^default +cart +- +80\/tcp +0\/0 +- +waiting[^]*PROBLEM {2}default\/cart: the operator has not looked at it yet/m,
      );
      const lastTransitionTime = new Date().toISOString();
      const ready = {
        type: 'Ready',
        status: 'True',
        reason: 'Serving',
        message: '1 of 2 replicas',
        lastTransitionTime,
      };
      const zones = [{ zone: 'a', replicas: 2, readyReplicas: 1 }];
      await world.patch(`${path}/cart/status`, {
        status: {
          observedGeneration: 1,
          virtualIPs: ['10.96.0.9'],
          replicas: 2,
          readyReplicas: 1,
          zones,
          conditions: [ready],
        },
      });
      await world.make('/apis/discovery.k8s.io/v1/namespaces/default/endpointslices', {
        metadata: { name: 'cart-1', labels: { 'kubernetes.io/service-name': 'cart' } },
        addressType: 'IPv4',
        endpoints: [
          { addresses: ['10.1.0.2'], nodeName: 'n2', zone: 'a', conditions: { ready: false } },
          { addresses: ['10.1.0.1'], nodeName: 'n1', zone: 'a', targetRef: { kind: 'Pod', name: 'cart-x' } },
        ],
        ports: [{ port: 8080 }],
      });
      expect((await run('services')).out).toMatch(
        /^default +cart +10\.96\.0\.9 +80\/tcp +1\/2 +a 1\/2 +Serving +\d+s\n$/m,
      );
      const detail = await run('services', 'cart');
      expect(detail.out).toMatch(/^choice +locality Prefer, balance LeastLoad/m);
      expect(detail.out).toMatch(
        /^10\.1\.0\.1:8080 +n1 +a +ready +pod\/cart-x\n10\.1\.0\.2:8080 +n2 +a +not ready +-\n$/m,
      );
      expect(JSON.parse((await run('services', 'cart', '-o', 'json')).out)).toMatchObject({
        endpointSlices: [{ metadata: { name: 'cart-1' } }],
      });
    });

    describe('the installation', () => {
      it('has nobody to ask for flows before agents run', async () => {
        expect(await run('flows')).toMatchObject({
          code: 1,
          out: expect.stringMatching(/^No agents run in this cluster/),
        });
        expect(await run('flows', '--pod', 'redis-0')).toMatchObject({
          code: 1,
          err: expect.stringMatching(/node n1: no agent runs there/),
        });
      });

      it('is not healthy without an operator, and is with one', async () => {
        const before = await run('status');
        expect([before.code, before.out]).toEqual([
          1,
          expect.stringMatching(/^PROBLEM {2}no operator has ever led here/m),
        ]);
        await world.makePod('serval-operator-1', 'n1', 'operator', namespace);
        await world.lead(namespace, 'serval-operator-1-ab');
        const after = await run('status');
        expect([after.code, after.err]).toEqual([0, '']);
        expect(after.out).toMatch(/^n1 +yes +0\.1\.0 +6\.1\.0 +\d+s +datapath, not criu$/m);
        expect(after.out).toMatch(/^operator +serval-operator-1-ab leads, 1 of 1 pods ready$/m);
        await world.readyServalNode('n2', 'False');
        const unwell = await run('status', '-o', 'json');
        expect([unwell.code, JSON.parse(unwell.out)]).toMatchObject([
          1,
          { healthy: false, problems: ['node n2 is not ready: the data plane is not loaded'] },
        ]);
      });

      it('is checked: workloads, versions, nodes, certificates, services', async () => {
        await world.makePod('serval-agent-1', 'n1', 'agent', namespace);
        await world.makeWorkloads(namespace);
        // Their controllers have seen that no node fits.
        const { out } = await world.until('the controllers have looked', async () => {
          const ran = await run('check');
          return /^FAIL {2}operator \(serval-system\/serval-operator\): 0 of 2/m.test(ran.out) &&
            /^WARN {2}agents .*none are wanted/m.test(ran.out)
            ? ran
            : undefined;
        });
        expect(out).toMatch(/^ok {4}CRD servalnodes\.serval\.io: it is there, and of this version$/m);
        expect(out).toMatch(/^ok {4}leader: serval-operator-1-ab leads$/m);
        expect(out).toMatch(/^ok {4}versions: operator and agents are of one version: 0\.1\.0$/m);
        expect(out).toMatch(/^ok {4}services: all 1 ServalServices have replicas$/m);
        expect(out).toMatch(/^ok {4}certificates: none are asked for/m);
      });

      it('tells an older CRD from its own', async () => {
        const path = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions/servalnodes.serval.io';
        const crd = await client.request<{
          spec: { versions: Array<{ schema: { openAPIV3Schema: Schema } }> };
        }>({ path });
        const status = crd.spec.versions[0]?.schema.openAPIV3Schema.properties?.['status'];
        delete status?.properties?.['lastSeen'];
        await client.request({ method: 'PUT', path, body: crd });
        expect((await run('check')).out).toMatch(
          /^FAIL {2}CRD servalnodes\.serval\.io: it is of an older version: it lacks status\.lastSeen$/m,
        );
        expect((await run('check', '--pre')).out).toMatch(/^FAIL {2}CRD servalnodes.*Helm did not make it/m);
        await installCrds(client);
      });
    });

    describe('a bug report', () => {
      it('has what there is, says what, and never a Secret', async () => {
        await world.make('/api/v1/namespaces/serval-system/secrets', {
          metadata: { name: 's' },
          stringData: { key: 'hush-hush' },
        });
        const { code, out } = await run('bugreport', '-o', 'report.tar.gz');
        expect(code).toBe(0);
        const folder = join(cli.folder, 'report');
        mkdirSync(folder);
        execFileSync('tar', ['xzf', join(cli.folder, 'report.tar.gz'), '-C', folder, '--strip-components=1']);
        const read = (name: string): string => readFileSync(join(folder, name), 'utf8');
        expect(parse(read('resources/servalmigrations.yaml'))).toEqual(
          expect.arrayContaining([expect.objectContaining({ kind: 'ServalMigration' })]),
        );
        expect(parse(read('resources/nodes.yaml'))).toHaveLength(2);
        expect(read('check.txt')).toMatch(/CRD servalnodes/);
        expect(read('README.txt')).toMatch(
          /No Secrets were read, and nothing was blacked out[^]*resources\/servalmigrations\.yaml/,
        );
        // There are no kubelets here, so neither logs nor agents can be had.
        const errors = read('errors.txt');
        expect(errors).toMatch(/^logs\/serval-operator-1-operator\.log: /m);
        expect(errors).toMatch(/^agents\/n1\/flows\.yaml: /m);
        expect(out).toMatch(/^NOT COLLECTED {2}logs\/serval-operator-1-operator\.log: /m);
        const everything = execFileSync('tar', ['xzOf', join(cli.folder, 'report.tar.gz')], {
          encoding: 'utf8',
        });
        expect(everything).toMatch(/redis-0/);
        expect(everything).not.toMatch(/hush/);
      });

      it('is made also by who may read hardly anything', async () => {
        const { code, out } = await cli.run(['bugreport', '-o', 'little.tar.gz'], limited);
        expect(out).toMatch(/^NOT COLLECTED {2}logs of the operator: .*forbidden/m);
        expect([code, out]).toEqual([
          0,
          expect.stringMatching(/^NOT COLLECTED {2}resources\/servalnodes\.yaml: .*forbidden/m),
        ]);
      });
    });

    describe('completion in bash', () => {
      const complete = (...words: string[]): string[] => {
        const line = words.map((word) => `'${word}'`).join(' ');
        const script = `source <(kubectl-serval completion bash); COMP_WORDS=(kubectl-serval ${line}); COMP_CWORD=${words.length}; _kubectl_serval; printf '%s\\n' "\${COMPREPLY[@]}"`;
        const options = { env: cli.environment(), encoding: 'utf8' } as const;
        return execFileSync('bash', ['-c', script], options)
          .split('\n')
          .filter((word) => word !== '');
      };

      it('knows commands, options and their values', () => {
        expect(complete('mi')).toEqual(['migrate', 'migrations']);
        expect(complete('check', '--p')).toEqual(['--pre']);
        expect(complete('migrate', 'redis-0', '--mover', '')).toEqual(['criu', 'external']);
        expect(complete('completion', '')).toEqual(['bash', 'zsh', 'fish', 'kubectl']);
      });

      it('knows names from the cluster', () => {
        expect(complete('migrate', '')).toEqual(['redis-0']);
        expect(complete('migrate', 'redis-0', '--to', 'n')).toEqual(['n1', 'n2']);
        expect(complete('-n', 'serval-system', 'migrate', 'serval-agent')).toEqual(['serval-agent-1']);
        expect(complete('abort', 'fa')).toEqual(['fails']);
        expect(complete('services', '')).toEqual(['cart']);
        expect(complete('status', '-n', 'serval')).toEqual(['serval-system']);
        expect(complete('status', '--context', '')).toEqual(['serval']);
      });

      it('is registered, and answers kubectl in its own way', () => {
        const script = 'source <(kubectl-serval completion bash); complete -p kubectl-serval';
        expect(execFileSync('bash', ['-c', script], { env: cli.environment(), encoding: 'utf8' })).toMatch(
          /-F _kubectl_serval kubectl-serval/,
        );
        const told = execFileSync(join(cli.folder, 'kubectl_complete-serval'), ['services', ''], {
          env: cli.environment(),
          encoding: 'utf8',
        });
        expect(told).toBe('cart\n:4\n');
      });

      it('is not waited for where a server takes connections and says nothing', async () => {
        const server = createServer();
        await new Promise<void>((resolve) => server.listen(0, loopback, resolve));
        const { port } = server.address() as AddressInfo;
        const mute = plane.kubeconfigFile({ ...plane.admin(), server: `https://${loopback}:${port}` });
        const began = performance.now();
        const ran = await cli.run(['__complete', 'migrate', ''], mute);
        server.close();
        expect(ran).toEqual({ code: 0, out: ':4\n', err: '' });
        // A connection is given up after 10 s.
        expect(performance.now() - began).toBeLessThan(9_000);
      });

      it('finds nothing, and says nothing, where nobody answers', () => {
        const env = cli.environment('/nowhere');
        expect(execFileSync(cli.file, ['__complete', 'migrate', ''], { env, encoding: 'utf8' })).toBe(':4\n');
      });
    });
  });
});

interface Schema {
  properties?: Record<string, Schema>;
}
