/**
 * kubectl itself on a cluster with the chart in it: it explains our kinds, shows, refuses, finds its plugin; and with it the chart's
 * notes are followed word for word. That pods run is played.
 */
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { delimiter, dirname } from 'node:path';
import { KubeClient } from '@serval/kube-runtime/kubernetes';
import { requireRoot } from '../lab/processes.js';
import { kubernetesBinaries } from './binaries.js';
import { CliProgram, type Ran } from './cli-program.js';
import { ControlPlane } from './control-plane.js';
import { FakeKubelet } from './fake-kubelet.js';
import { chart, Helm } from './helm.js';
import { labelled } from './kinds.js';
import { MigrationScene } from './migration-scene.js';
import { within } from './within.js';

beforeAll(() => requireRoot());
jest.setTimeout(120_000);

const namespace = 'serval-system';
const kinds = ['servalservices', 'servalmigrations', 'servalnodes'];
const examples = new URL('../../../docs/examples', import.meta.url).pathname;

describe('kubectl', () => {
  let plane: ControlPlane;
  let admin: KubeClient;
  let kubelet: FakeKubelet;
  let scene: MigrationScene;
  let cli: CliProgram;
  let path: string;
  let notes: string;

  beforeAll(async () => {
    const { folder } = await kubernetesBinaries(['kubectl'], console.log);
    plane = await ControlPlane.start({
      progress: console.log,
      scheduler: true,
      controllerManagerOptions: ['--controllers=*,-node-lifecycle-controller'],
    });
    const kubeconfig = plane.kubeconfigFile(plane.admin());
    admin = KubeClient.load('serval-test', kubeconfig);
    const helm = Helm.find();
    cli = CliProgram.make(kubeconfig);
    path = [folder, dirname(helm.program), cli.environment()['PATH']].join(delimiter);
    kubelet = new FakeKubelet(admin, namespace);
    await kubelet.start();
    const { code, out, err } = await shell(
      `helm install serval ${chart} --namespace ${namespace} --create-namespace`,
    );
    if (code !== 0) throw new Error(err);
    notes = out;
    scene = new MigrationScene(admin, kubelet);
    // Served a moment after they are made.
    await within(10_000, 'nodes can be made', () => scene.addNodes('n1', 'n2').then(() => true));
  });
  afterAll(async () => {
    await scene?.stop();
    await kubelet?.stop();
    cli?.remove();
    await admin?.close();
    await plane?.stop();
  });

  async function shell(command: string): Promise<Ran> {
    const child = spawn('timeout', ['30', '/bin/sh', '-c', command], {
      cwd: cli.folder,
      env: { ...cli.environment(), PATH: path },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let [out, err] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text));
    const [code] = (await once(child, 'close')) as [number | null];
    return { code, out, err };
  }
  async function must(command: string): Promise<string> {
    const { code, out, err } = await shell(command);
    if (code !== 0) throw new Error(`${command}\nends with ${code}: ${err}${out}`);
    return out;
  }

  describe.each(kinds)('explains %s', (kind) => {
    it.each(['', '.spec', '.status'])('%s, with a description of each field', async (part) => {
      const text = await must(`kubectl explain ${kind}${part}`);
      const [, fields = ''] = text.split('\nFIELDS:\n');
      const entries = fields.split(/^ {2}(?=\S+\t<)/m).filter((entry) => entry.trim() !== '');
      expect(entries.length).toBeGreaterThan(1);
      expect(text).not.toMatch(/<empty>|<no description>/);
      for (const entry of entries) expect(entry).toMatch(/^\S+\t<.*\n(?:.*\n)* {4}\S/);
    });
  });

  it('takes the examples of the docs', async () => {
    const out = await must(`kubectl apply --dry-run=server --validate=strict -f ${examples}`);
    expect(out.trim().split('\n').length).toBeGreaterThan(2);
  });

  it('shows why an object is refused', async () => {
    const object = {
      apiVersion: 'serval.io/v1alpha1',
      kind: 'ServalMigration',
      metadata: { name: 'bad' },
      spec: { workload: { name: 'a' }, deadlineSeconds: -1 },
    };
    const { code, err } = await shell(`echo '${JSON.stringify(object)}' | kubectl apply -f -`);
    expect(code).toBe(1);
    expect(err).toMatch(/spec\.deadlineSeconds/);
  });

  it('has the plugin, and completes its words', async () => {
    const list = await shell('kubectl plugin list');
    expect(list).toMatchObject({ code: 0, err: '' });
    expect(list.out).toContain('/kubectl-serval');
    expect(await must('kubectl serval --help')).toMatch(/migrate/);
    const words = await must('kubectl __complete serval mi');
    expect(words).toMatch(/^migrate\b/m);
    expect(words).toMatch(/^migrations\b/m);
  });

  /** Its commands with the lines that belong to them, as they stand there. */
  function commandsOf(text: string): string[] {
    const lines = text.split('\n');
    return lines.flatMap((line, i) => {
      const [, command] = /^(?: *|.*: )((?:kubectl|helm) .*)$/.exec(line) ?? [];
      if (command === undefined) return [];
      if (!command.endsWith('<<END')) return [command];
      // Where its end is indented a shell goes on reading.
      const end = lines.indexOf('END', i);
      expect(end).toBeGreaterThan(i);
      return [lines.slice(i, end + 1).join('\n')];
    });
  }

  it("follows the chart's notes word for word", async () => {
    const commands = commandsOf(notes);
    const take = (words: RegExp): string => {
      const at = commands.findIndex((command) => words.test(command));
      const [command = ''] = commands.splice(at, at < 0 ? 0 : 1);
      expect(command).toMatch(words);
      return command;
    };
    // Its pod has to run, of the image; chart-monitoring runs what it does.
    take(/^helm test serval /);
    const last = [
      take(/^helm uninstall serval /),
      take(/delete secret\/serval-authority configmap\/serval-ca$/),
      take(/^kubectl delete crds /),
    ];
    const said: string[] = [];
    for (const command of commands) said.push(await must(command));
    expect(said.join('')).toMatch(
      /deployment "serval-operator" successfully rolled out[^]*daemon set "serval-agent" successfully rolled out/,
    );
    expect(said.join('')).toMatch(/^NAMESPACE +NAME +VIRTUAL IPS +PORTS +READY +REPLICAS +AVAILABLE/m);
    expect(said.join('')).toMatch(/^default +cart /m);
    expect(said.join('')).toMatch(/^n1 /m);
    const services = JSON.parse(await must('kubectl serval services -A -o json')) as Array<{
      metadata: { name: string };
    }>;
    expect(services.map(({ metadata }) => metadata.name)).toEqual(['cart']);

    // What the operator would have made.
    await must(`kubectl -n ${namespace} create secret generic serval-authority`);
    await must(`kubectl -n ${namespace} create configmap serval-ca`);
    for (const command of last) await must(command);
    await within(20_000, 'all is gone', async () => {
      const left = await labelled(admin, 'app.kubernetes.io/instance=serval');
      if (left.length === 0) return true;
      throw new Error(left.join(', '));
    });
  });
});
