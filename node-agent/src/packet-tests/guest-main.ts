/**
 * The table cases and the fuzzer as a plain program, for a machine that has nothing but Node and this bundle (a guest
 * with an older kernel). One line a case, a summary, exit code 1 where anything failed.
 *
 * usage: node guest-main.mjs ADDON OBJECT
 *   ADDON    the native addon (serval.node), or else by SERVAL_ADDON
 *   OBJECT   the compiled programs (sal_pod.bpf.o), or else by SERVAL_BPF_OBJECT
 *   SERVAL_FUZZ_PACKETS (here default 20000), SERVAL_FUZZ_SEED
 */
import { emptyClasses, fuzz, fuzzOptions, fuzzSummary } from './fuzz.js';
import { Harness, type Variant } from './harness.js';
import { longCases, runLongCases } from './long-packets.js';
import { runCases, type CaseResult } from './runner.js';

/** Fewer make no claim that every rare class was hit. */
const enoughForEveryClass = 20_000;

async function main(addon: string | undefined, object: string | undefined): Promise<boolean> {
  if (addon !== undefined) process.env['SERVAL_ADDON'] = addon;
  const harness = await Harness.open(object);
  try {
    const results = [...runCases(harness), ...(await longResults(harness)), fuzzResult(harness)];
    for (const result of results) print(result);
    const failed = results.filter(({ failures }) => failures.length > 0).length;
    const lacking = results.filter(({ lacks }) => lacks !== undefined).length;
    console.log(
      `${results.length - failed - lacking} passed, ${failed} failed, ${lacking} not possible on this kernel`,
    );
    return failed === 0;
  } finally {
    harness.dispose();
  }
}

async function longResults(harness: Harness): Promise<CaseResult[]> {
  const { variant } = harness.variants().find(({ lacks }) => lacks === undefined) as { variant: Variant };
  const failures = await runLongCases(harness, variant);
  return longCases.map(({ name }) => ({
    variant: 'through a device',
    name,
    failures: failures.get(name) ?? [],
  }));
}

function fuzzResult(harness: Harness): CaseResult {
  const options = fuzzOptions({ SERVAL_FUZZ_PACKETS: String(enoughForEveryClass), ...process.env });
  const report = fuzz(harness, options);
  console.log(fuzzSummary(report));
  const missing =
    options.packets >= enoughForEveryClass ? emptyClasses(report).map((name) => `never hit: ${name}`) : [];
  return { variant: 'fuzz', name: `${report.packets} packets`, failures: [...report.failures, ...missing] };
}

function print({ variant, name, failures, lacks }: CaseResult): void {
  const verdict = lacks !== undefined ? `not possible (${lacks})` : failures.length === 0 ? 'ok' : 'FAILED';
  console.log(`${verdict}: ${variant}: ${name}`);
  for (const failure of failures) console.log(`     ${failure}`);
}

const isPassed = await main(process.argv[2], process.argv[3]).catch((error: unknown) => {
  console.log(error);
  return false;
});
process.exitCode = isPassed ? 0 : 1;
