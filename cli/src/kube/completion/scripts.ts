/** Pure: what shells read to complete our words. They ask `kubectl-serval __complete` for each. */

export const shells = ['bash', 'zsh', 'fish', 'kubectl'] as const;
export type Shell = (typeof shells)[number];

/** Each answer is `word<TAB>description`; the last line, `:4`, is for kubectl and says that no files are meant. */
const bash = `# bash completion for kubectl-serval: source <(kubectl-serval completion bash)
_kubectl_serval() {
  local current="\${COMP_WORDS[COMP_CWORD]}" line
  COMPREPLY=()
  while IFS= read -r line; do
    [[ $line == :* ]] && continue
    line="\${line%%$'\\t'*}"
    [[ $line == "$current"* ]] && COMPREPLY+=("$line")
  done < <("\${COMP_WORDS[0]}" __complete "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
  return 0
}
complete -o default -F _kubectl_serval kubectl-serval
`;

const zsh = `#compdef kubectl-serval
# zsh completion for kubectl-serval: source <(kubectl-serval completion zsh)
_kubectl_serval() {
  local line word
  local -a found
  while IFS= read -r line; do
    [[ $line == :* ]] && continue
    word="\${line%%$'\\t'*}"
    if [[ $line == *$'\\t'* ]]; then
      found+=("\${word//:/\\\\:}:\${line#*$'\\t'}")
    else
      found+=("\${word//:/\\\\:}")
    fi
  done < <("\${words[1]}" __complete "\${(@)words[2,CURRENT]}" 2>/dev/null)
  if (( $#found )); then _describe 'kubectl-serval' found; else _files; fi
}
compdef _kubectl_serval kubectl-serval
`;

const fish = `# fish completion for kubectl-serval: kubectl-serval completion fish | source
function __kubectl_serval_complete
  set -l words (commandline --tokenize --cut-at-cursor --current-process)
  set -l current (commandline --current-token --cut-at-cursor)
  $words[1] __complete $words[2..-1] "$current" 2>/dev/null | string match --invert ':*'
end
complete --command kubectl-serval --arguments '(__kubectl_serval_complete)'
`;

/** kubectl (1.26 and later) runs it for \`kubectl serval <TAB>\`. */
const kubectl = `#!/bin/sh
# Completion of \`kubectl serval\`: put this, executable, as kubectl_complete-serval on the PATH beside kubectl-serval.
exec kubectl-serval __complete "$@"
`;

export const scripts: Readonly<Record<Shell, string>> = { bash, zsh, fish, kubectl };
