import { describe, expect, it } from '@jest/globals';
import { countRequests, requestsSince } from './request-counts.js';

const line = (verb: string, resource: string, subresource: string, code: number, count: string): string =>
  `apiserver_request_total{code="${code}",component="apiserver",dry_run="",group="",resource="${resource}",` +
  `scope="resource",subresource="${subresource}",verb="${verb}",version="v1"} ${count}`;

const metrics = [
  '# HELP apiserver_request_total [STABLE] Counter of apiserver requests broken out for each verb',
  '# TYPE apiserver_request_total counter',
  line('GET', 'pods', '', 200, '3'),
  line('GET', 'pods', '', 404, '2'),
  line('PATCH', 'pods', 'status', 200, '1.2e+06'),
  line('GET', '', '/readyz', 200, '7'),
  'apiserver_request_total_of_something_else{verb="GET",resource="pods"} 9',
].join('\n');

describe('counts of requests', () => {
  it('are by verb and resource, over all answers, without what is no resource', () => {
    expect(countRequests(metrics)).toEqual({ 'GET pods': 5, 'PATCH pods/status': 1_200_000 });
  });

  it('differ by what came since', () => {
    const before = { 'GET pods': 5, 'LIST nodes': 1 };
    expect(requestsSince(before, { 'GET pods': 7, 'LIST nodes': 1, 'POST pods': 2 })).toEqual({
      'GET pods': 2,
      'POST pods': 2,
    });
  });
});
