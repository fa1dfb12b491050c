/** What the chart tells Prometheus and Grafana, and the hook of `helm test`: as Helm renders them, without a cluster. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { chart, Helm } from './helm.js';
import type { Thing } from './kinds.js';
import { loopback } from './ports.js';

const root = new URL('../../../', import.meta.url);
const textOf = (file: string): string => readFileSync(new URL(file, root), 'utf8');

interface Alert {
  alert: string;
  expr: string;
  for: string;
  labels: { severity: string };
  annotations: { summary: string; runbook_url: string };
}
interface Rule extends Thing {
  spec: { groups: Array<{ rules: Alert[] }> };
}
interface TestPod extends Thing {
  spec: { containers: Array<{ command: string[] }> };
}

/** Names of metrics, those of a histogram's parts by the histogram's. */
const metricsIn = (text: string): string[] => [
  ...new Set(
    (text.match(/\bserval_[a-z_]+/g) ?? []).map((name) =>
      name.replace(/_seconds_(bucket|sum|count)$/, '_seconds'),
    ),
  ),
];

describe("the chart's monitoring", () => {
  let folder: string;
  let things: Thing[];

  const render = (...values: string[]): Thing[] => {
    const set = values.flatMap((value) => ['--set', value]);
    const { code, out, error } = Helm.find().ask(['template', 'serval', chart, '-n', 'sys', ...set], folder);
    if (code !== 0) throw new Error(error);
    return parseAllDocuments(out).map((document) => document.toJS() as Thing);
  };
  const find = <Kind extends Thing>(kind: string, name: string): Kind => {
    const found = things.find((thing) => thing.kind === kind && thing.metadata.name === name);
    if (found === undefined) throw new Error(`the chart makes no ${kind} ${name}`);
    return found as Kind;
  };

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'serval-chart-'));
    things = render(
      'agent.enabled=true',
      'agent.metrics.address=::',
      ...['serviceMonitor', 'podMonitor', 'prometheusRule', 'dashboard'].map(
        (name) => `monitoring.${name}.enabled=true`,
      ),
    );
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('has a runbook for every alert, and none without an alert', () => {
    const rules = find<Rule>('PrometheusRule', 'serval').spec.groups.flatMap((group) => group.rules);
    expect(rules.length).toBeGreaterThan(10);
    const runbooks = readdirSync(new URL('docs/runbooks/', root));
    expect(runbooks.sort()).toEqual(rules.map(({ alert }) => `${alert}.md`).sort());
    for (const { alert, annotations, labels } of rules) {
      expect(annotations.runbook_url).toBe(`https://serval.io/docs/runbooks/${alert}.md`);
      expect(textOf(`docs/runbooks/${alert}.md`)).toMatch(`# ${alert}\n`);
      expect(annotations.summary).not.toMatch(/\[\[|\]\]/);
      expect(['warning', 'critical']).toContain(labels.severity);
    }
  });

  it('asks for metrics that there are', () => {
    const known = textOf('node-agent/src/agent/metrics.ts') + textOf('operator/src/metrics.ts');
    const dashboard = find<Thing & { data: Record<string, string> }>('ConfigMap', 'serval-dashboard');
    const expressions = [
      JSON.stringify(find<Rule>('PrometheusRule', 'serval').spec),
      dashboard.data['serval.json'] ?? '',
    ];
    const asked = metricsIn(expressions.join('\n'));
    expect(asked.length).toBeGreaterThan(15);
    const isKnown = (name: string): boolean =>
      [name, name.replace('serval_operator_', ''), name.replace('serval_', '')].some((form) =>
        known.includes(`'${form}'`),
      );
    expect(asked.filter((name) => !isKnown(name))).toEqual([]);
  });

  it('finds what it scrapes by labels and ports that are there', () => {
    interface Monitor extends Thing {
      spec: {
        selector: { matchLabels: Record<string, string> };
        endpoints?: Array<{ port: string }>;
        podMetricsEndpoints?: Array<{ port: string }>;
      };
    }
    interface Labelled extends Thing {
      metadata: Thing['metadata'] & { labels: object };
    }
    const service = find<Labelled & { spec: { ports: Array<{ name: string }> } }>(
      'Service',
      'serval-operator',
    );
    const operator = find<Monitor>('ServiceMonitor', 'serval-operator').spec;
    expect(service.metadata.labels).toMatchObject(operator.selector.matchLabels);
    expect(service.spec.ports.map(({ name }) => name)).toContain(operator.endpoints?.[0]?.port);
    const agents = find<Monitor>('PodMonitor', 'serval-agent').spec;
    const pods = find<
      Thing & {
        spec: {
          template: {
            metadata: { labels: object };
            spec: { containers: Array<{ ports: Array<{ name: string }> }> };
          };
        };
      }
    >('DaemonSet', 'serval-agent').spec.template;
    expect(pods.metadata.labels).toMatchObject(agents.selector.matchLabels);
    const ports = pods.spec.containers.flatMap((container) => container.ports.map(({ name }) => name));
    expect(ports).toContain(agents.podMetricsEndpoints?.[0]?.port);
  });

  it.each([
    ['says yes when the operator is ready, although not at once', [503, 200], 0, /: 200 ready/],
    ['says no when it is not', [503], 1, /503 ready[\s\S]*kubectl -n sys logs deployment\/serval-operator/],
  ])('helm test %s', async (_, answers, code, words) => {
    let asked = 0;
    const server = createServer(({ url }, response) => {
      const status = url === '/readyz' ? (answers[Math.min(asked++, answers.length - 1)] ?? 0) : 404;
      response.writeHead(status).end('ready');
    });
    await once(server.listen(0, loopback), 'listening');
    try {
      const [container] = find<TestPod>('Pod', 'serval-test-ready').spec.containers;
      const [, flag = '', script = '', url = ''] = container?.command ?? [];
      expect(url).toBe('http://serval-operator.sys.svc:8080/readyz');
      const here = `http://${loopback}:${(server.address() as AddressInfo).port}${new URL(url).pathname}`;
      const child = spawn(process.execPath, [flag, script, here, '2'], { env: {} });
      let told = '';
      child.stdout.setEncoding('utf8').on('data', (text: string) => (told += text));
      expect(await once(child, 'close')).toEqual([code, null]);
      expect(told).toMatch(words);
    } finally {
      server.close();
    }
  });
});
