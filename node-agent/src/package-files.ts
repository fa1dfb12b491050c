/**
 * What lies beside this package's modules and is loaded at run time. Modules are in `dist/` (tests run them from `src/`); a
 * bundle of them is in the `dist/` of a folder with the same files (scripts/bundle.mjs). Either way the package is one above.
 */
const file = (path: string): string => new URL(`../${path}`, import.meta.url).pathname;

export const packageFiles = {
  /** name and version */
  manifest: file('package.json'),
  addon: file('native/build/Release/serval.node'),
  /** the programs at pods' devices; sal_entry.bpf.o is beside it */
  podObject: file('build/sal_pod.bpf.o'),
  connectObject: file('build/sal_connect.bpf.o'),
} as const;
